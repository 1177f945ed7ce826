"""The result of every heatmap method: raw signed values, and how to show them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from convarium.errors import OptionError, ShapeError

#: What can be said about the map of a sample. Of several that hold, the first is said.
STATUSES = (
    "not finite",
    "not connected",
    "no spatial extent",
    "zero gradient",
    "all negative",
    "fine",
)

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, eq=False)
class Attribution:
    """Heatmaps of a batch, as computed: signed, at the resolution of the layer.

    Attributes:
        values: (B, *S) float32; before the final ReLU, so what speaks against the class is there
            too. Zero where the status is "not connected".
        layer: dotted name of the layer that was read.
        target: the class explained, one per sample; None where the target was a callable.
        logit: (B,) the scores explained: logits, or what the callable returned.
        status: one word per sample.
            "fine"; "all negative": no position speaks for the class, so the shown map is empty;
            "zero gradient": the score does not change with the layer here (saturated);
            "no spatial extent": the layer has one position only, so there is nothing to locate;
            "not connected": the score was not computed from this layer, or under `no_grad`;
            "not finite": NaN or infinity in the map.
        input_size: spatial size of the input.
    """

    values: Tensor
    layer: str
    target: tuple[int, ...] | None
    logit: Tensor
    status: tuple[str, ...]
    input_size: tuple[int, ...]

    def display(self, size: Sequence[int] | int | None = None) -> Tensor:
        """Maps to look at: ReLU, linear upsampling, divided by the maximum of each sample.

        Args:
            size: spatial size of the result, one number for all axes; None means the input's.

        Shape: (B, *size), in [0, 1]; an empty map is all zeros.

        Raises:
            OptionError: a size with a wrong number of axes, below 1, or of no whole numbers.

        >>> maps = torch.tensor([[[-1.0, 2.0], [0.0, 4.0]]])
        >>> result = Attribution(maps, "conv", (3,), torch.ones(1), ("fine",), (2, 2))
        >>> result.display()
        tensor([[[0.0000, 0.5000], [0.0000, 1.0000]]])
        """
        rank = self.values.ndim - 1
        sides = self.input_size if size is None else _sides(size, rank)
        maps = self.values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).relu()
        maps = F.interpolate(
            maps.unsqueeze(1), size=sides, mode=_LINEAR[rank], align_corners=False
        ).squeeze(1)
        highest = maps.flatten(1).amax(1).reshape(-1, *[1] * rank)
        return torch.where(highest > 0, maps / highest, torch.zeros_like(maps)).clamp_(max=1)


def _sides(size: Sequence[int] | int, rank: int) -> tuple[int, ...]:
    """One whole number for each axis."""
    try:
        each = size if isinstance(size, Iterable) else (size,) * rank
        sides = tuple(operator.index(side) for side in each)
    except TypeError:
        sides = ()
    if len(sides) != rank or min(sides) < 1:
        raise OptionError(
            f"size (={size!r}) must have {rank} axes of 1 or more, as the maps have, "
            "or be one whole number for all."
        )
    return sides


def describe(
    values: Tensor, gradient: Tensor | None, activation_size: Sequence[int]
) -> tuple[str, ...]:
    """The status of each sample of a batch of maps.

    Args:
        values: (B, *S) the maps.
        gradient: (B, C, *S) of the score with respect to the layer; None: not connected.
        activation_size: S, the spatial size of the layer.
    """
    finite = values.isfinite().flatten(1).all(1).tolist()
    positive = (values > 0).flatten(1).any(1).tolist()
    moved = [False] * len(values)
    if gradient is not None:
        moved = (gradient != 0).flatten(1).any(1).tolist()
    point = all(length == 1 for length in activation_size)

    def status(row: int) -> str:
        facts = (
            not finite[row],
            gradient is None,
            point,
            not moved[row],
            not positive[row],
            True,
        )
        return STATUSES[facts.index(True)]

    return tuple(status(row) for row in range(len(values)))


def spatial_size(x: Tensor) -> tuple[int, ...]:
    """Spatial size of a batch: (B, C, *S) of numbers, or (B, T) of token ids.

    Raises:
        ShapeError: no sample, or no spatial axis.
    """
    tokens = not x.is_floating_point() and x.ndim == 2
    size = tuple(x.shape[1:] if tokens else x.shape[2:])
    if not 1 <= len(size) <= 3:
        raise ShapeError(
            f"x has shape {tuple(x.shape)}; it must be a batch (B, C, *S) with 1 to 3 spatial "
            "axes, or (B, T) token ids; give one sample its batch axis: x.unsqueeze(0)."
        )
    if 0 in x.shape:
        raise ShapeError(f"x has shape {tuple(x.shape)}; it must have at least one sample.")
    return size
