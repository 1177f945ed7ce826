"""From a paper's table to a network of another width or another output stride.

channels x multiplier -> a multiple of 8        strides past a limit -> dilation
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from convarium.errors import OptionError

OutputStride = Literal[32, 16, 8]


def positive(**values: float) -> None:
    """Refuse numbers that are not above 0 and at most 100: of more, nothing can be built.

    Raises:
        OptionError: one is not.
    """
    for name, value in values.items():
        if not 0.0 < value <= 100.0:
            raise OptionError(f"{name} (={value!r}) must be above 0 and at most 100.")


def round_to_eight(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and the next one where that is under 90 % of it.

    Example:
        >>> [round_to_eight(channels) for channels in (4, 11.2, 12, 24)]
        [8, 16, 16, 24]

    References:
        Sandler et al. 2018, arXiv:1801.04381: the reference code that came with the paper.
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


@dataclass(frozen=True)
class Step:
    """How a stage treats the size of its map.

    Attributes:
        stride: of the stage's first block.
        entry: dilation of the first block.
        dilation: of the other blocks.
        reduction: positions of the input per position of the stage's map, along each axis.
        halves: whether the first block has a stride in the published network; with one, it has no
            shortcut, also where the stride has become dilation.
    """

    stride: int
    entry: int
    dilation: int
    reduction: int
    halves: bool

    def at(self, block: int) -> tuple[int, int]:
        """Stride and dilation of one block, counted from 0."""
        return (1, self.dilation) if block else (self.stride, self.entry)


def steps(strides: Sequence[int], start: int, output_stride: int) -> list[Step]:
    """What becomes of the stages' strides when the last map is to keep more positions.

    A stride that would lead past `output_stride` becomes 1. Its block keeps the dilation of the
    blocks before it, and all later ones reach that much further: each sees what it saw before, so
    that every position of the undilated map is found in the dilated one, with the same values.

    Args:
        strides: of the stages.
        start: reduction of the stem.
        output_stride: upper limit of the reduction; 32, the published networks', is no limit.

    Raises:
        OptionError: there is nothing to dilate.

    Example:
        >>> [step.at(1) for step in steps([2, 2, 2], start=4, output_stride=8)]
        [(1, 1), (1, 2), (1, 4)]

    References:
        Chen et al. 2016, "DeepLab", arXiv:1606.00915, section 3.1.
    """
    whole = start * math.prod(strides)
    if output_stride != 32 and whole <= output_stride:
        raise OptionError(
            f"output_stride (={output_stride}) has no effect: with this stem the last map has "
            f"1/{whole} of the size; give a smaller one, or leave it out."
        )
    taken, reduction, dilation = [], start, 1
    for stride in strides:
        entry, kept = dilation, output_stride == 32 or reduction * stride <= output_stride
        reduction, dilation = (
            reduction * (stride if kept else 1),
            dilation * (1 if kept else stride),
        )
        taken.append(Step(stride if kept else 1, entry, dilation, reduction, stride > 1))
    return taken
