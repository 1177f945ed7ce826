"""Shifts, mirror images and quarter turns: of an input, and of any map that was computed from it.

A shift of the input by t moves a map of stride j by t / j positions; a mirror image reverses it and
a quarter turn turns it. Along an axis without places there is nothing to move.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from convarium.errors import OptionError, ShapeError
from convarium.measure.arguments import one_of, shown, sizes
from convarium.measure.places import NoCounterpartError, Places

Transform = Literal["shift", "flip", "rotate"]


class Symmetry(abc.ABC):
    """A transformation of inputs, or what it does to a map."""

    #: Positions by which a shift moves along each axis; None for what is no shift.
    steps: tuple[int, ...] | None = None

    @property
    @abc.abstractmethod
    def amount(self) -> tuple[int, ...]:
        """How far: positions along each axis, the axis that is mirrored, or quarter turns."""

    @abc.abstractmethod
    def __call__(self, y: Tensor, dims: Sequence[int | None]) -> Tensor:
        """Transform `y`, whose places lie along `dims`; what leaves at one end enters at the other.

        Args:
            y: an input or a map.
            dims: one dimension of `y` for each axis; None for an axis without places.
        """

    def counterpart(self, places: Places, *, closed: bool) -> Symmetry:
        """What it does to a map; the same, where it is no shift.

        Args:
            places: of the map.
            closed: whether the ends of the map must meet where those of the input do.

        Raises:
            NoCounterpartError: nothing that would be exact.
        """
        return self


@dataclass(frozen=True)
class Shift(Symmetry):
    """Every position moves on by a whole number of positions along each axis."""

    steps: tuple[int, ...]

    @property
    def amount(self) -> tuple[int, ...]:
        """The steps."""
        return self.steps

    def __call__(self, y: Tensor, dims: Sequence[int | None]) -> Tensor:
        """Roll `y`."""
        pairs = [(n, dim) for n, dim in zip(self.steps, dims, strict=True) if dim is not None]
        return torch.roll(y, [n for n, _ in pairs], [dim for _, dim in pairs]) if pairs else y

    def counterpart(self, places: Places, *, closed: bool) -> Shift:
        """A shift by t / stride along each axis.

        Raises:
            NoCounterpartError: t / stride is not whole, or the ends of the map do not meet.
        """
        steps = []
        for axis, (t, dim) in enumerate(zip(self.steps, places.dims, strict=True)):
            reach, n, side = places.reaches[axis], places.lengths[axis], places.size[axis]
            if dim is None or t == 0:
                steps.append(0)
                continue
            if reach.jump == 0:
                raise NoCounterpartError("its positions are not evenly spaced")
            if closed and n * reach.stride != side:
                raise NoCounterpartError(
                    f"{n} positions at stride {reach.stride} do not close a circle of {side}"
                )
            if t % reach.jump:
                raise NoCounterpartError(
                    f"a shift of {t} is no multiple of the stride {reach.jump}"
                )
            steps.append(t // reach.jump * len(reach.lo))
        return Shift(tuple(steps))


@dataclass(frozen=True)
class Flip(Symmetry):
    """The mirror image along one axis."""

    axis: int

    @property
    def amount(self) -> tuple[int, ...]:
        """The axis."""
        return (self.axis,)

    def __call__(self, y: Tensor, dims: Sequence[int | None]) -> Tensor:
        """The mirror image of `y`."""
        dim = dims[self.axis]
        return y if dim is None else y.flip(dim)


@dataclass(frozen=True)
class Rotate(Symmetry):
    """Quarter turns in the plane of the last two axes, from the last but one towards the last."""

    turns: int

    @property
    def amount(self) -> tuple[int, ...]:
        """Quarter turns."""
        return (self.turns,)

    def __call__(self, y: Tensor, dims: Sequence[int | None]) -> Tensor:
        """`y`, turned."""
        plane = [dim for dim in dims[-2:] if dim is not None]
        return torch.rot90(y, self.turns, plane) if plane else y

    def counterpart(self, places: Places, *, closed: bool) -> Rotate:
        """The same turn.

        Raises:
            NoCounterpartError: one of the two axes has no places any more, or is longer.
        """
        high, wide = places.lengths[-2:]
        if [dim is None for dim in places.dims[-2:]].count(True) == 1:
            raise NoCounterpartError("one axis of the plane has no places any more")
        if self.turns % 2 and high != wide:
            raise NoCounterpartError(f"a map of {high} x {wide} positions is not square")
        return self


def named(transform: str, amount: Any, size: tuple[int, ...], default: Shift) -> Symmetry:
    """The transformation that two options name.

    Args:
        transform: "shift", "flip" or "rotate".
        amount: of it; None means `default`, the last axis, or one turn.
        size: spatial size of the input.
        default: the shift that None means.

    Raises:
        OptionError: there is none.
        ShapeError: a turn would change the shape of the input.
    """
    one_of(get_args(Transform), transform=transform)
    rank = len(size)
    if transform == "shift":
        return default if amount is None else Shift(_positions(amount, size))
    if transform == "flip":
        return Flip(_number(amount, rank - 1, 0, rank - 1, "an axis of S"))
    turns = _number(amount, 1, 1, 3, "quarter turns")
    if rank < 2 or (turns % 2 and size[-1] != size[-2]):
        raise ShapeError(
            f"x has the spatial size {size}; a rotation needs two axes or more, and by an odd "
            "number of quarter turns the last two must be equal."
        )
    return Rotate(turns)


def least_shift(maps: Iterable[Places], size: Sequence[int], *, closed: bool) -> Shift:
    """The least shift, along each axis, that is whole for as many maps as the size allows.

    Example:
        >>> from convarium.measure.rules.reach import identity, window
        >>> halved = window(identity(2), 4, 3, stride=2, padding=1)
        >>> least_shift([Places((halved,), (2,), (4,), (8,))], (8,), closed=True)
        Shift(steps=(2,))
    """
    maps, shift = list(maps), [1] * len(size)
    for axis, side in enumerate(size):
        reaches = [
            (each.reaches[axis], each.lengths[axis]) for each in maps if each.dims[axis] is not None
        ]
        jumps = {abs(r.jump) for r, n in reaches if not closed or n * r.stride == side}
        for jump in sorted(jumps - {0}):
            together = math.lcm(shift[axis], jump)
            shift[axis] = together if together < side else shift[axis]
    return Shift(tuple(0 if side == 1 else n for n, side in zip(shift, size, strict=True)))


def _number(amount: Any, default: int, low: int, high: int, meaning: str) -> int:
    """One whole number between its limits."""
    if amount is None:
        return default
    found = sizes([amount])
    if not found or not low <= found[0] <= high:
        raise OptionError(
            f"amount (={shown(amount)}) must be {meaning}, from {low} to {high}, or None."
        )
    return found[0]


def _positions(amount: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """A shift along each axis, shorter than the axis and not nothing."""
    steps = sizes(amount) or sizes([amount]) * len(size)
    fits = len(steps) == len(size) and any(steps)
    if not fits or any(abs(n) >= side for n, side in zip(steps, size, strict=True)):
        raise OptionError(
            f"amount (={shown(amount)}) must be one whole number of positions or {len(size)}, each "
            f"shorter than its axis of {size}, and not all 0."
        )
    return steps
