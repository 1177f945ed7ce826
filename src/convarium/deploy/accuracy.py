"""How many right answers a faster form of a network costs, told from the same labelled samples.

right before, right after: pairs -> difference with Newcombe's 95 % interval -> upper end < limit?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.errors import DataError
from convarium.intervals import Interval, newcombe_pairs

Forward = Callable[[Tensor], Tensor]
Labelled = Iterable[tuple[Tensor, Tensor]]
Right = NDArray[np.bool_]

#: Points of accuracy that a faster form may cost.
POINTS = 0.5


@dataclass(frozen=True)
class Drop:
    """The accuracy that a form of a network loses against another one.

    Attributes:
        n: labelled samples that both answered.
        before, after: accuracy of each, in %.
        interval: 95 % interval of the loss, in points; negative is a gain.
        points: the loss allowed.
    """

    n: int
    before: float
    after: float
    interval: Interval
    points: float

    @property
    def shown(self) -> bool:
        """Whether the samples show that the loss is smaller than what is allowed."""
        return self.interval.high < self.points

    @property
    def loss(self) -> float:
        """Points that were lost on these samples."""
        return self.before - self.after

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return {**asdict(self), "shown": self.shown}

    def sentence(self) -> str:
        """The result as a part of a sentence."""
        told = (
            f"accuracy {self.before:.2f} % -> {self.after:.2f} % on {self.n} samples; the loss is "
            f"{self.interval.low:.2f} to {self.interval.high:.2f} points, {self.points:g} allowed"
        )
        if self.shown:
            return told
        return told + (": too much" if self.loss >= self.points else f": not shown at n = {self.n}")


def drop(before: Right, after: Right, points: float = POINTS) -> Drop:
    """Compare two forms by which samples each answers rightly, `(N,)`.

    Raises:
        DataError: they have not answered the same number of samples.

    >>> same = np.arange(2000) < 1800
    >>> drop(same, same).shown, drop(same[:100], same[:100]).shown
    (True, False)
    """
    if len(before) != len(after):
        raise DataError(
            f"Accuracy is compared on the same samples, and there are {len(before)} and "
            f"{len(after)}; check that all can be read."
        )
    low, high = newcombe_pairs(before, after)
    share = [100 * float(right.mean()) for right in (before, after)]
    return Drop(len(before), share[0], share[1], Interval(100 * low, 100 * high), points)


def right_answers(forward: Forward, labelled: Labelled) -> Right:
    """Which samples get their own class as the largest output.

    Args:
        forward: maps inputs to outputs (N, K).
        labelled: batches of inputs and class numbers (N,).

    Raises:
        DataError: there is no sample.
    """
    found = []
    with torch.no_grad():
        for x, target in labelled:
            found.append((forward(x).argmax(1).cpu() == target.cpu()).numpy())
    if not found:
        raise DataError("Accuracy cannot be measured without labelled samples; give some.")
    right: Right = np.concatenate(found)
    return right
