"""The sizes of a convolution, and what it takes where torch has it itself.

Torch's own kernels, that one small sample, single positions on one thread, and types other than 32
bits come to, have the columns of the window's positions in memory: those of all samples, or of one
if it is dilated. All else goes to oneDNN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.memory.keeps import bytes_of, results_of
from convarium.measure.memory.layouts import channels_last, steps_of
from convarium.measure.memory.ledger import Line

PLANE: Final = 2  # dimensions
VOLUME: Final = 3
WIDE: Final = 3  # a window beyond which some kernels are others
_LARGE: Final = 20480  # numbers of one sample, beyond which it goes to oneDNN; not along the width
_MANY: Final = 16  # samples
_SHORT: Final = (torch.bfloat16, torch.float16)
_ONEDNN: Final[bool] = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


class Sizes:
    """A convolution; of a transposed one, that which it turns around: its result is the source.

    Args:
        operation: a convolution.
    """

    def __init__(self, operation: Operation) -> None:
        given = operation.arguments
        self.transposed: bool = given["transposed"]
        self.input: Value | Tensor = given["input"]
        self.weight: Value | Tensor = given["weight"]
        self.result = results_of(operation)[0]
        ends = self.input, self.result
        self.source: Value | Tensor = ends[self.transposed]
        self.target: Value | Tensor = ends[not self.transposed]
        self.window = tuple(map(int, self.weight.shape[2:]))
        self.rank, self.groups = len(self.window), int(given["groups"])
        self.before = self.source.shape[1] // self.groups
        self.after = self.target.shape[1] // self.groups
        self.depthwise = self.before == self.after == 1 < self.groups
        self._steps(given["stride"], given["dilation"], given["padding"])

    def _steps(
        self, stride: Sequence[int], dilation: Sequence[int], padding: Sequence[int]
    ) -> None:
        sizes = self.source.shape[2:]
        self.strided, self.gaps, self.wide = (max(n) > 1 for n in (stride, dilation, self.window))
        self.moved = self.wide or self.strided or self.gaps or max(padding) > 0
        self.dilated = self.gaps and self.wide
        reach = (self.window[0] - 1) * dilation[0]
        volume = self.rank == VOLUME and 0 < padding[0] <= reach + 1 - sizes[0]
        plane = self.rank == PLANE and self.dilated and sizes[0] <= reach
        self.shallow = volume or plane  # the window reaches beyond the first axis
        whole = all(size % step == 0 for size, step in zip(sizes, stride, strict=False))
        steps = whole and self.rank < VOLUME
        self.pointwise = self.groups == 1 and not self.wide and (steps or not self.strided)
        self.volume = self.rank == VOLUME and not self.gaps and not self.transposed

    def library(self, samples: int) -> bool:
        """Whether torch leaves it to oneDNN."""
        if self.input.dtype not in (torch.float32, *_SHORT) or not _ONEDNN:
            return False
        window = (1, *self.window)[-2:]
        helps = self.strided or self.gaps or max(window) > 1 or samples >= _MANY
        large = math.prod(self.input.shape[1:4]) > _LARGE or min(window) > WIDE
        kept = self.groups > 1 or samples > 1 or large
        some = (helps or torch.get_num_threads() > 1) and kept
        return some or self.input.dtype in _SHORT

    def last(self, library: bool) -> bool:
        """Whether it works with channels last."""
        takes = self.rank == PLANE or (self.rank == VOLUME and library)
        return takes and self.channels_last

    @cached_property
    def channels_last(self) -> bool:
        """Whether its input or weight has them."""
        ends = self.input, self.weight
        return any(channels_last(tuple(x.shape), steps_of(x)) for x in ends)

    @cached_property
    def columns(self) -> int:
        """Bytes of the windows of one sample, in one group."""
        numbers = self.before * math.prod(self.window) * math.prod(self.target.shape[2:])
        return numbers * self.input.dtype.itemsize

    @cached_property
    def slices(self) -> int:
        """The same for what oneDNN has at once, of a volume one slice."""
        return self.columns // (self.target.shape[2] if self.rank == VOLUME else 1)

    def even(self, channels: int) -> bool:
        """Whether groups have multiples of some channels."""
        return self.before % channels == 0 and self.after % channels == 0

    def alone_forward(self) -> list[Line]:
        """In torch's own kernels: columns, and what groups give before they are put together."""
        apart = 0
        if self.groups > 1 and not self.volume:
            apart = max(bytes_of(self.result), self.shares)
        copied = self.moved or self.transposed or (self.volume and self.groups > 1)
        stays, grows = self.windows if copied else (0, 0)
        if self.transposed and self.rank == VOLUME:  # a copy of the input is gone before
            given, made = bytes_of(self.input), bytes_of(self.result)
            if given >= made:
                return [(stays, apart + grows + given - made)]
            return [(0, apart + given), (stays, apart + grows)]
        return [(stays, apart + grows)]

    def alone_backward(self, place: int) -> list[Line]:
        """The same for the gradient in a place."""
        stays, grows = self.windows
        if self.volume:
            copied = place == 0 or self.moved or self.groups > 1
            return [(copied * stays, copied * grows)]
        apart = max(bytes_of(self.input) * (place == 0), self.shares) if self.groups > 1 else 0
        over = place == 0 and not self.gaps and not self.transposed  # columns are its gradient's
        copied = self.moved and not over
        return [(copied * stays, apart + copied * grows)]

    @cached_property
    def shares(self) -> int:
        """Bytes of one group of input and result."""
        return (bytes_of(self.input) + bytes_of(self.result)) // self.groups

    @cached_property
    def windows(self) -> Line:
        """Bytes of the columns that torch's own kernels have at once."""
        if self.volume:
            return 0, self.columns * self.groups * self.input.shape[0]
        if self.gaps or (self.transposed and self.rank == VOLUME):  # of one sample
            return self.columns, 0
        return 0, self.columns * self.input.shape[0]
