"""Inputs that grow while a network learns: small pictures teach it first, and cost less.

References:
    Howard (2018), "Training Imagenet in 3 hours for $25", fast.ai; Tan, Le (2021),
    "EfficientNetV2", arXiv:2104.00298, section 4 (progressive learning).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import Tensor
from torch.nn import functional

SIZES: Final = 4  # of a run, each for an equal part of the steps
_STEP: Final = 4  # pixels


def sides_at(
    step: int, total: int, sides: Sequence[int], *, start: float, smallest: int
) -> tuple[int, ...]:
    """The sides of the inputs of a step: `start` of the whole, growing in four parts of a run.

    n (start + (1 - start) floor(4 t / T) / 3), rounded to a multiple of 4, and not below what the
    network needs.

    Args:
        step: number of the step t, from 0.
        total: number of all steps T.
        sides: of the whole inputs, n.
        start: share of each side at the beginning.
        smallest: side that the network needs.

    >>> [sides_at(t, 8, (28, 28), start=0.5, smallest=8) for t in (0, 2, 4, 6)]
    [(16, 16), (20, 20), (24, 24), (28, 28)]
    """
    part = min(SIZES * step // total, SIZES - 1)
    if part == SIZES - 1 or step == total - 1 or start == 1:
        return tuple(sides)
    share = start + (1 - start) * part / (SIZES - 1)
    return tuple(min(n, max(smallest, _STEP * round(share * n / _STEP))) for n in sides)


def mean_area(start: float | None, axes: int) -> float:
    """The mean number of positions of an input over a run, as a share of those of the whole one.

    Args:
        start: share of each side at the beginning; None where inputs do not grow.
        axes: along which they grow.

    >>> mean_area(None, 2), round(mean_area(0.4, 1), 3)
    (1.0, 0.7)
    """
    if start is None:
        return 1.0
    shares = [start + (1 - start) * part / (SIZES - 1) for part in range(SIZES)]
    return sum(share**axes for share in shares) / SIZES


def resized(inputs: Tensor, sides: Sequence[int]) -> Tensor:
    """Images of other sides, with antialiasing.

    Shape:
        (B, C, H, W) -> (B, C, *sides)
    """
    if tuple(inputs.shape[2:]) == tuple(sides):
        return inputs
    small: Tensor = functional.interpolate(
        inputs, size=[*sides], mode="bilinear", antialias=True, align_corners=False
    )
    return small
