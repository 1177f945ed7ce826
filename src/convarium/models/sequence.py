"""What networks for sequences promise besides: they read sequences of unequal lengths.

    x (B, C, T), mask (B, T) -> zeros in the padding -> stages -> (B, F, T') -> neck -> head

The mask says which steps are real; real ones come first. What a network gives for a padded sequence
is what it gives for the sequence alone, in training too, where norms take their statistics over
real steps. A sequence shorter than the strides need counts as if zeros followed it up to there.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from convarium.errors import ShapeError
from convarium.layers import coarser, hidden
from convarium.models.contract import Classifier

OneAxis = Literal[1]


class SequenceClassifier(Classifier):
    """A classifier of sequences; each stage takes a map and its mask.

    Shape:
        forward: (B, C, T), mask (B, T) or None -> (B, num_classes)
    """

    def features(self, x: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """One map per stage, from fine to coarse, with zeros in the padding."""
        return [y for y, _ in self._maps(x, mask)]

    def forward_features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last map, with zeros in the padding."""
        y: Tensor = self.final(self._maps(x, mask)[-1][0])
        return y

    def embed(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Everything before the last linear layer.

        Shape:
            (B, C, T), (B, T) -> (B, num_features)
        """
        y, left = self._maps(x, mask)[-1]
        z: Tensor = self.neck(self.final(y), left)
        return z

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, num_classes); the embedding when there is no head."""
        y: Tensor = self.head(self.embed(x, mask))
        return y

    @property
    def shortest_read(self) -> int:
        """Steps that a shorter sequence is read as, with zeros behind it."""
        return self.smallest_input

    def check(self, x: Tensor) -> Tensor:
        """Return `x` if type, rank and channels fit, with zeros behind it where it is too short."""
        given: Any = x
        fits = isinstance(given, Tensor) and given.ndim == 3
        return super().check(self._lengthened(x) if fits else x)

    def _lengthened(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        return pad(x, (0, self.smallest_input - length)) if 0 < length < self.smallest_input else x

    def real(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The checked input with zeros in the padding, and the mask of what counts.

        Raises:
            ShapeError: the mask is no (B, T) of true and false, or padding stands in front.
        """
        if mask is None:
            return self.check(x), None
        check_mask(self, x, mask)
        y = self.check(x)
        mask = self._lengthened(mask)
        steps = torch.arange(mask.shape[1], device=mask.device)
        return hidden(y, mask), mask | (steps < self.smallest_input)

    def _maps(self, x: Tensor, mask: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
        """The map of each stage with its mask."""
        x, mask = self.real(x, mask)
        x, before = self.stem(x), 1
        maps = []
        for stage in self.stages:
            x = self.get_submodule(stage.name)(x, mask)
            mask = coarser(mask, stage.reduction // before)
            before = stage.reduction
            maps.append((x, mask))
        return maps


def check_mask(network: Classifier, x: Any, mask: Any) -> None:
    """Refuse a mask that is no (B, T) of true and false, or has padding in front of real steps.

    A compiled or exported network does not look at the numbers.

    Raises:
        ShapeError: so.
    """
    name = network.name or type(network).__name__
    shape = (x.shape[0], x.shape[-1]) if isinstance(x, Tensor) and x.ndim > 1 else ()
    fits = isinstance(mask, Tensor) and mask.dtype == torch.bool and tuple(mask.shape) == shape
    if shape and not fits:
        found = f"{tuple(mask.shape)} of {mask.dtype}" if isinstance(mask, Tensor) else repr(mask)
        raise ShapeError(
            f"{name} takes a mask (B, T) of torch.bool, here {shape}, not {found}: True where a "
            "step is real."
        )
    if torch.compiler.is_compiling() or not shape or mask.is_meta:
        return
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise ShapeError(
            f"{name} takes a mask whose real steps come first, and here padding stands in front of "
            "one; put it behind."
        )


def check_ids(network: Classifier, ids: Tensor, vocabulary: int) -> None:
    """Refuse ids of tokens that a network has no vector of.

    A compiled or exported network does not look at the numbers, nor does one on a GPU, which would
    have to wait for them.

    Raises:
        ShapeError: so.
    """
    if torch.compiler.is_compiling() or not ids.is_cpu or not ids.numel():
        return
    low, high = (int(end) for end in ids.aminmax())
    if low < 0 or high >= vocabulary:
        raise ShapeError(
            f"{network.name or type(network).__name__} knows the ids 0 to {vocabulary - 1}, and "
            f"here is {low if low < 0 else high}; create it with the vocabulary of the tokenizer."
        )
