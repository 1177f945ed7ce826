"""What torch takes beside arguments and results of a convolution, on a processor.

oneDNN works on copies whose channels are filled up to blocks, or on the columns of one sample where
it has no kernel: which, was found out for 32 bits on a processor with AVX-512. A transposed
convolution is the gradient of another one: what it makes is that one's source.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.memory.convolution_sizes import VOLUME, WIDE, Sizes
from convarium.measure.memory.keeps import bytes_of
from convarium.measure.memory.layouts import Steps, in_order, steps_of
from convarium.measure.memory.ledger import SAMPLES, Line, Rooms

_BLOCK: Final = 16  # channels of a block
_HALF: Final = 8
_QUARTER: Final = 4
_FEW: Final = 3  # channels of which no copy is made for the gradient of the weight
_CACHED: Final = 0.92  # of a core's second cache, that columns take at a time, in equal parts
_CACHE: Final = 2**20  # bytes of such a cache, where the system does not tell
_TAPS: Final = 120  # positions of a window for each channel, beyond which steps have no kernel
_LONG: Final = 2000  # positions of a series, whose last one is left over by steps of 2
_NARROW: Final = 64  # channels, up to which such a series is added up apart
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
        parts = max(math.ceil(self.slices / (_CACHED * _second_cache())), 1)
        parts = parts if self.rank < VOLUME else 1
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
        return (self.wide and some and self.rank == VOLUME) or self.shallow

    def last_passed(self, back: bool) -> int:
        """Bytes beside what is made of maps with channels last: the weight, and a sample for steps.

        Args:
            back: from the target to the source, else straight.
        """
        weight, sample = bytes_of(self.weight), 0
        if self.depthwise:
            filled = self.rank == VOLUME if back else self.rank == VOLUME and self.dilated
            return self._full if filled or (back and self.dilated) else weight
        if self.groups > 1:
            return weight if self.even(_QUARTER) else self._full
        if back and self.strided:
            sample = _blocked(self.target) // max(self.target.shape[0], 1)
        channels = self.before if back else self.after
        return weight * _up(channels) // channels + sample

    def last_weights(self) -> int:
        """The same beside the weight's gradient, which is made in blocks, and by channels."""
        weight, volume = bytes_of(self.weight), self.rank == VOLUME
        if (volume and self.dilated) or self.shallow:
            return self.slices + (_REDUCED + 1) * weight
        if self.depthwise:
            filled = volume or self.dilated or max(self.window) > WIDE
        else:
            filled = self.groups == 1 or not self.even(_BLOCK)
        if self.groups == 1 and self.before < _BLOCK:
            return weight + weight * _up(self.after) // self.after
        return weight + (self._full if filled else weight)

    @cached_property
    def _full(self) -> int:
        """Bytes of the weight with both channels filled up."""
        blocks = _up(self.before) * _up(self.after)
        return bytes_of(self.weight) * blocks // (self.before * self.after)


def room_forward(operation: Operation, batch: int) -> Rooms:
    """Bytes beside the result while a convolution runs; not all of them at once.

    Args:
        operation: a convolution.
        batch: samples that the network is given.
    """
    own = Convolution(operation)
    copies = own.back() if own.transposed else own.straight()
    biased = own.transposed and operation.arguments["bias"] is not None
    if biased and (own.groups > 1 or own.rank == 1 or not own.strided):
        copies = replace(copies, target=copies.target + copies.source)  # before it is added

    def lines(case: _Case) -> list[Line]:
        if not case.library:
            return own.alone_forward()
        if case.last:
            again = bytes_of(own.result) * (biased and own.groups > 1)
            return [(own.last_passed(own.transposed), again)]
        return _made(own, copies, own.transposed, case.threads)

    return _each(own, batch, None, lines)


def room_backward(operation: Operation, wanted: Collection[int], steps: Steps, batch: int) -> Rooms:
    """Bytes beside the gradients: while the input's is worked out, and while the weight's is.

    Args:
        operation: a convolution.
        wanted: 0 if its input has a gradient, 1 if its weight has, by their places.
        steps: of the gradient that comes in.
        batch: samples that the network is given.
    """
    own = Convolution(operation)
    weight, learns = bytes_of(own.weight), 1 in wanted

    def lines(case: _Case) -> list[Line]:
        found: list[Line]
        if case.last and case.library:
            passed = own.last_passed(not own.transposed) - learns * weight
            found = [(passed, 0)] if 0 in wanted else []
            return [*found, (own.last_weights(), 0)] if learns else found
        found = []
        if 0 in wanted:
            back = own.straight() if own.transposed else own.back()
            made = _made(own, back, not own.transposed, case.threads)
            passes = [(stays - learns * weight, grows) for stays, grows in made]
            found += passes if case.library else own.alone_backward(0)
        if learns and case.library:
            copies = own.weights()
            both = copies.weight + case.threads * copies.columns, copies.source + copies.target
            found += [both, (weight + copies.weight, 0)]
        elif learns:
            found += own.alone_backward(1)
        return found

    return _each(own, batch, steps, lines)


class _Case(NamedTuple):
    """What decides on the kernel that a convolution gets; `ordered` bytes are copied before."""

    library: bool
    last: bool
    threads: int
    ordered: int


def _each(
    own: Convolution, batch: int, steps: Steps | None, lines: Callable[[_Case], list[Line]]
) -> Rooms:
    """The lines for each number of samples."""
    found: dict[_Case, list[Line]] = {}
    cases = [_case(own, own.input.shape[0] * samples // batch, steps) for samples in SAMPLES]
    for case in cases:
        if case not in found:
            found[case] = [(stays, grows + case.ordered) for stays, grows in lines(case)]
    return tuple(found[case] for case in cases)


def _case(own: Convolution, samples: int, steps: Steps | None) -> _Case:
    """The case for some samples; `steps` are those of the gradient that comes in, if one does."""
    library = own.library(samples)
    last, one = own.last(library), samples == 1
    ends = [(own.input, steps_of(own.input))]
    if steps is not None:
        ends.append((own.result, steps))
    copied = (bytes_of(x) for x, order in ends if not in_order(tuple(x.shape), order, last, one))
    threads = min(torch.get_num_threads(), max(samples * own.groups, 1))
    return _Case(library, last, threads, sum(copied))


def _made(own: Convolution, copies: Copies, back: bool, threads: int) -> list[Line]:
    """Beside what is made: first the copies, then the result in order."""
    made = bytes_of(own.source if back else own.target)
    of_made = copies.source if back else copies.target
    both = copies.source + copies.target - made
    return [(copies.weight + threads * copies.columns, both), (0, of_made + copies.again)]


@functools.cache
def _second_cache() -> int:
    """Bytes of a core's second cache."""
    try:
        told = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        return int(told.removesuffix("K")) * 2**10
    except (OSError, ValueError):
        return _CACHE


def _up(channels: int, block: int = _BLOCK) -> int:
    return -(-channels // block) * block


def _blocked(x: Value | Tensor, block: int = _BLOCK) -> int:
    return bytes_of(x) // x.shape[1] * _up(x.shape[1], block)
