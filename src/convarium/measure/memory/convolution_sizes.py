"""The sizes of a convolution, and what it takes where torch has it itself.

Torch's own kernels, that small volumes, single positions on one thread, and types other than 32
bits come to, have the columns of the window's positions in memory: those of all samples, or of one
if it is dilated. All else goes to oneDNN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.memory.keeps import bytes_of, results_of

PLANE: Final = 2  # dimensions
VOLUME: Final = 3
WIDE: Final = 3  # a window beyond which some kernels are others
_LARGE: Final = 20480  # channels, depth and height of one volume, beyond which it goes to oneDNN
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
        spans = zip(self.window, dilation, sizes, strict=False)
        self.beyond = any((k - 1) * d >= size > k for k, d, size in spans)
        whole = all(size % step == 0 for size, step in zip(sizes, stride, strict=False))
        steps = whole and self.rank < VOLUME
        self.pointwise = self.groups == 1 and not self.wide and (steps or not self.strided)
        self.volume = self.rank == VOLUME and not self.gaps and not self.transposed

    @cached_property
    def library(self) -> bool:
        """Whether torch leaves it to oneDNN."""
        return self._left(self.input.shape[0])

    @cached_property
    def later(self) -> bool:
        """Whether it does with more samples."""
        return self._left(2)

    def _left(self, samples: int) -> bool:
        """The same of some samples.

        So that the peak grows with the batch, planes and series are taken as of 2 to 15.
        """
        if self.input.dtype not in (torch.float32, *_SHORT) or not _ONEDNN:
            return False
        helps = self.strided or self.gaps or max(self.window[-2:]) > 1
        kept = self.groups > 1 or self.rank < VOLUME or samples > 1
        large = math.prod(self.input.shape[:4]) > _LARGE or min(self.window[-2:]) > WIDE
        some = (helps or torch.get_num_threads() > 1) and (kept or large)
        return some or self.input.dtype in _SHORT

    @cached_property
    def threads(self) -> int:
        """Which have columns of their own, a sample or group each."""
        return min(torch.get_num_threads(), max(self.input.shape[0] * self.groups, 1))

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

    def turned(self, turned: Collection[int]) -> bool:
        """Whether the input's dimensions were exchanged."""
        x = self.input
        return isinstance(x, Value) and x.number in turned and x.shape[1] > 1

    def alone_forward(self) -> int:
        """In torch's own kernels: columns, and what groups give before they are put together."""
        apart = 0
        if self.groups > 1 and not self.volume:
            apart = max(bytes_of(self.result), self.shares)
        copied = self.moved or self.transposed or (self.volume and self.groups > 1)
        columns = copied * self.windows
        if self.transposed and self.rank == VOLUME:  # a copy of the input is gone before
            given, made = bytes_of(self.input), bytes_of(self.result)
            columns = max(given, columns) if given < made else given - made + columns
        return apart + columns

    def alone_backward(self, place: int) -> int:
        """The same for the gradient in a place."""
        if self.volume:
            return (place == 0 or self.moved or self.groups > 1) * self.windows
        apart = max(bytes_of(self.input) * (place == 0), self.shares) if self.groups > 1 else 0
        over = place == 0 and not self.gaps and not self.transposed  # columns are its gradient's
        return apart + (self.moved and not over) * self.windows

    @cached_property
    def shares(self) -> int:
        """Bytes of one group of input and result."""
        return (bytes_of(self.input) + bytes_of(self.result)) // self.groups

    @cached_property
    def windows(self) -> int:
        """Bytes of the columns that torch's own kernels have at once."""
        if self.volume:
            return self.columns * self.groups * self.input.shape[0]
        one = self.gaps or (self.transposed and self.rank == VOLUME)
        return self.columns * (1 if one else self.input.shape[0])
