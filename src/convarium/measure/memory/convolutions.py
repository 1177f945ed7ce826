"""What torch takes beside arguments and results of a convolution, on a processor.

oneDNN works on copies whose channels are filled up to blocks, or on the columns of one sample where
it has no kernel: which, was found out for 32 bits on a processor with AVX-512. A transposed
convolution is the gradient of another one: what it makes is that one's source.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.memory.convolution_sizes import PLANE, VOLUME, WIDE, Sizes
from convarium.measure.memory.keeps import bytes_of
from convarium.measure.memory.ledger import Line

_BLOCK: Final = 16  # channels of a block
_HALF: Final = 8
_QUARTER: Final = 4
_FEW: Final = 3  # channels of which no copy is made for the gradient of the weight
_CACHE: Final = 960_000  # bytes of columns at a time, in equal parts
_TAPS: Final = 120  # positions of a window for each channel, beyond which steps have no kernel
_LONG: Final = 2000  # positions of a series, whose last one is left over by steps of 2
_NARROW: Final = 64  # channels, up to which such a series is added up apart
_COPIES: Final = 256  # of a depthwise weight
_REDUCED: Final = 4  # of a weight, before they are added up


@dataclass(frozen=True)
class Copies:
    """Bytes of the copies of source, target and weight, of columns, and of the result once more."""

    source: int = 0
    target: int = 0
    weight: int = 0
    columns: int = 0
    again: int = 0


class Convolution(Sizes):
    """A convolution with what oneDNN takes for each of its three passes."""

    @cached_property
    def filled(self) -> int:
        """Bytes of the weight for channels last: groups are filled up, if no kernel takes them."""
        weight = bytes_of(self.weight)
        if self.groups == 1 or (self.depthwise and not self.gaps):
            return weight
        return weight * _up(self.before) * _up(self.after) // (self.before * self.after)

    @cached_property
    def picked(self) -> int:
        """Bytes of the positions of one sample that a stride leaves, where it is one."""
        kept = math.prod(self.target.shape[2:]) / math.prod(self.source.shape[2:])
        return round(self.strided * kept * _blocked(self.source) / max(self.source.shape[0], 1))

    def straight(self) -> Copies:
        """From the source to the target."""
        source, target, weight = map(bytes_of, (self.source, self.target, self.weight))
        if self.groups == 1:
            copied = self.before >= _BLOCK or self.pointwise
            filled = weight * _up(self.after) // self.after
            both = copied * _blocked(self.source), _blocked(self.target)
            return Copies(*both, filled, self.pointwise * self.picked)
        if self.depthwise and self.rank < VOLUME:
            return Copies(_blocked(self.source), _blocked(self.target), weight)
        if self.depthwise and not self.dilated:
            return Copies(source, target, weight, again=target)
        if self.even(_QUARTER):
            return Copies(source, target, weight)
        parts = max(-(-self.slices // _CACHE), 1) if self.rank < VOLUME else 1
        return Copies(0, target, columns=self.slices // parts)

    def back(self) -> Copies:
        """From the target to the source, as the gradient goes."""
        source, target, weight = map(bytes_of, (self.source, self.target, self.weight))
        if self._back_by_columns():
            return Copies(source, 0, columns=self.slices)
        if self.depthwise:
            return Copies(_blocked(self.source), _blocked(self.target), weight)
        grouped = self.groups > 1 and self.after <= _BLOCK and self.even(_QUARTER)
        taps = math.prod(self.window) / self.before
        if self.strided and not grouped and taps <= _TAPS:
            filled = weight * _up(self.before) // self.before
            length = self.source.shape[2]
            rest = self.rank == 1 and length % 2 and length > _LONG and self.before <= _NARROW
            sample = (target + 2 * bool(rest) * source) // max(self.target.shape[0], 1)
            return Copies(source, target, filled, sample, again=source)
        if self.groups > 1:
            return Copies(source, target, weight)
        filled = weight * _up(self.before) // self.before * _up(self.after) // self.after
        return Copies(_blocked(self.source), _blocked(self.target), filled)

    def _back_by_columns(self) -> bool:
        """Whether the source's gradient has no kernel of its own."""
        if self.depthwise:
            return self.rank == VOLUME or self.gaps
        whole = self.groups == 1 or self.even(_QUARTER)
        many = self.strided and self.after > _HALF
        return (self.strided and self.gaps) or not (whole or many)

    def weights(self) -> Copies:
        """From both to the weight's gradient."""
        if self._weights_by_columns():
            return Copies(columns=self.slices + _REDUCED * bytes_of(self.weight))
        plain = self.groups == 1 and not self.pointwise
        few = plain and self.before <= _FEW
        block = _HALF if plain and _FEW < self.before < _BLOCK else _BLOCK
        both = (not few) * _blocked(self.source, block), _blocked(self.target, block)
        more = bytes_of(self.weight) * (_up(self.after) - self.after) // self.after
        return Copies(*both, more, self.pointwise * self.picked)

    def _weights_by_columns(self) -> bool:
        """Whether the weight's gradient has no kernel of its own."""
        if self.depthwise:
            return self.rank == VOLUME or self.dilated or not 1 < max(self.window) <= WIDE
        some = _FEW < self.before < _BLOCK
        if self.groups > 1:
            uneven = not self.even(_BLOCK if self.rank == VOLUME else _HALF)
            return uneven or (self.dilated and self.rank == VOLUME)
        if self.dilated and (some or self.rank == VOLUME or (self.strided and self.rank > 1)):
            return True
        return (self.wide and some and self.rank == VOLUME) or self.beyond


def room_forward(operation: Operation, turned: Collection[int]) -> list[Line]:
    """Bytes beside the result while a convolution runs; not all of them at once.

    Args:
        operation: a convolution.
        turned: numbers of the values whose dimensions were exchanged.
    """
    own = Convolution(operation)
    last = own.turned(turned)
    if last and own.rank > 1 and own.library:
        return [(own.filled, 0)]
    ordered = bytes_of(own.input) if last and (own.library or own.rank != PLANE) else 0
    copies = own.back() if own.transposed else own.straight()
    if own.transposed and operation.arguments["bias"] is not None:
        copies = replace(copies, target=copies.target + copies.source)  # before it is added
    found = _either(own, own.alone_forward(), _made(own, copies, own.transposed))
    return [(stays, grows + ordered) for stays, grows in found]


def room_backward(
    operation: Operation, wanted: Collection[int], last: bool, turned: Collection[int]
) -> list[Line]:
    """Bytes beside the gradients: while the input's is worked out, and while the weight's is.

    Maps with their channels last, as a permutation before a norm leaves them, are not copied, but a
    depthwise convolution with a wide window adds up many copies of its weight.

    Args:
        operation: a convolution.
        wanted: 0 if its input has a gradient, 1 if its weight has, by their places.
        last: whether the gradient that comes in has its dimensions exchanged.
        turned: numbers of the values that have.
    """
    own = Convolution(operation)
    inside = own.turned(turned)
    weight, learns = bytes_of(own.weight), 1 in wanted
    if inside and own.rank > 1 and (own.library or own.rank == PLANE):
        many = own.depthwise and min(own.window) > WIDE and learns
        return [(weight * _COPIES if many else own.filled, (not last) * bytes_of(own.result))]
    found: list[Line] = []
    if 0 in wanted:
        back = own.straight() if own.transposed else own.back()
        made = _made(own, back, not own.transposed)
        passes = [(stays - learns * weight, grows) for stays, grows in made]
        found += _either(own, own.alone_backward(0), passes)
    if learns:
        copies = own.weights()
        both = copies.weight + own.threads * copies.columns, copies.source + copies.target
        found += _either(own, own.alone_backward(1), [both, (weight + copies.weight, 0)])
    ordered = inside * bytes_of(own.input) + last * bytes_of(own.result)
    return [(stays, grows + ordered) for stays, grows in found]


def _either(own: Convolution, alone: int, copied: list[Line]) -> list[Line]:
    """Of torch's own kernel or of oneDNN; where one sample decides, of this for all but one."""
    if own.library:
        return copied
    if not own.later:
        return [(0, alone)]
    return [(alone, 0), *((stays - grows, grows) for stays, grows in copied)]


def _made(own: Convolution, copies: Copies, back: bool) -> list[Line]:
    """Beside what is made: first the copies, then the result in order."""
    made = bytes_of(own.source if back else own.target)
    of_made = copies.source if back else copies.target
    both = copies.source + copies.target - made
    return [(copies.weight + own.threads * copies.columns, both), (0, of_made + copies.again)]


def _up(channels: int, block: int = _BLOCK) -> int:
    return -(-channels // block) * block


def _blocked(x: Value | Tensor, block: int = _BLOCK) -> int:
    return bytes_of(x) // x.shape[1] * _up(x.shape[1], block)
