"""What it costs a form that large JPEGs are decoded at a reduced scale before it.

Only samples that do come smaller count: all others have the answers that they had.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import Tensor, nn

from convarium.deploy.accuracy import Drop, Labelled, Right, drop, right_answers
from convarium.deploy.picture_files import PictureFiles
from convarium.deploy.verification import reference

Forward = Callable[[Tensor], Tensor]


class ReducedFiles:
    """Files and labelled samples, whole and at a reduced scale; each thing is computed once.

    Args:
        network: in float32.
        pictures: to compare outputs on.
        smaller: labelled samples that come smaller: read whole, and at a reduced scale.
        points: of accuracy that may be lost.
    """

    def __init__(
        self,
        network: nn.Module,
        pictures: PictureFiles,
        smaller: tuple[Labelled, Labelled] | None,
        points: float,
    ) -> None:
        self.network, self.pictures, self.points = network, pictures, points
        self.smaller = smaller
        self._after: Right | None = None

    @property
    def reason(self) -> str | None:
        """Why no form needs to be tried so; None where one may be."""
        if not self.pictures.shrink:
            return "no JPEG has four times the sides that are needed"
        return "there is no labelled data" if self.smaller is None else None

    @functools.cached_property
    def less(self) -> Tensor:
        """(N, C, H, W): the files at a reduced scale."""
        return next(self.pictures.batches(len(self.pictures.files), 1, reduced=True))

    @functools.cached_property
    def expected(self) -> Tensor:
        """(N, ...): the network's own outputs for the whole files."""
        return reference(self.network, next(self.pictures.batches(len(self.pictures.files), 1)))

    @functools.cached_property
    def before(self) -> Right:
        """Which of the samples that come smaller the network answers rightly, read whole."""
        whole, _ = self.smaller or ((), ())
        return right_answers(lambda x: reference(self.network, x), whole)

    def lost(self, forward: Forward, *, equal: bool) -> Drop:
        """What a form loses; all that equal the network give the same answers.

        Raises:
            DataError: no sample comes smaller, or one cannot be read.
        """
        _, less = self.smaller or ((), ())
        after = self._after if equal else None
        if after is None:
            after = right_answers(forward, less)
        if equal:
            self._after = after
        return drop(self.before, after, self.points)
