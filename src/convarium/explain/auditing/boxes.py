"""Places of an input: boxes of positions, found in a map, described, and put elsewhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds

_NEARLY = 0.75  # of the mean heat of the box
AXES = {1: ("steps",), 2: ("rows", "columns"), 3: ("slices", "rows", "columns")}


@dataclass(frozen=True)
class Box:
    """A box of positions, one or more along each axis.

    Attributes:
        start: the first position along each axis.
        size: positions along each axis.
        whole: positions of the input along each axis.

    >>> Box((0, 4), (3, 2), (8, 8)).words
    'rows 0 to 2, columns 4 to 5'
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    whole: tuple[int, ...]

    @property
    def share(self) -> float:
        """Of all positions of the input."""
        return math.prod(self.size) / math.prod(self.whole)

    @property
    def words(self) -> str:
        """Where it lies, counted from 0, ends included."""
        pairs = zip(AXES[len(self.size)], self.start, self.size, strict=True)
        return ", ".join(f"{axis} {first} to {first + side - 1}" for axis, first, side in pairs)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The positions, for indexing."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))

    def mask(self) -> Tensor:
        """True inside, (*S)."""
        inside = torch.zeros(self.whole, dtype=torch.bool)
        inside[self.slices] = True
        return inside


def hot_box(heat: Tensor, share: float = 0.5) -> Box:
    """A box around the hottest position that holds at least this share of the heat.

    It grows by the strip, of one position along one axis, with the most heat a position; beyond the
    share only by strips that are nearly as hot as the box, so that it holds a spot wholly.

    Args:
        heat: (*S), 0 or more, with a sum above 0.
        share: of the sum.

    >>> hot_box(torch.tensor([0.0, 1, 3, 4, 0, 1])).words
    'steps 2 to 3'
    """
    whole = tuple(heat.shape)
    values: NDArray[np.float64] = heat.double().cpu().numpy()
    start = [int(i) for i in np.unravel_index(int(values.argmax()), whole)]
    stop = [i + 1 for i in start]
    wanted = share * values.sum() * (1 - 1e-9)
    while True:
        strips = [
            (values[_strip(start, stop, axis, at)].mean(), axis, at)
            for axis, side in enumerate(whole)
            for at in (start[axis] - 1, stop[axis])
            if 0 <= at < side
        ]
        inside = values[_between(start, stop)]
        hottest, axis, at = max(strips, key=lambda strip: strip[0], default=(0.0, 0, 0))
        if not strips or (inside.sum() >= wanted and hottest < _NEARLY * inside.mean()):
            break
        start[axis], stop[axis] = min(start[axis], at), max(stop[axis], at + 1)
    size = tuple(b - a for a, b in zip(start, stop, strict=True))
    return Box(tuple(start), size, whole)


def elsewhere(box: Box, count: int, *keys: int | str) -> list[Box]:
    """Boxes of the same size at random places, none of which touches the box where that can be.

    Where the box is too large for that, they overlap it as little as possible.

    Args:
        box: to keep away from.
        count: how many.
        keys: of the random stream.
    """
    room = [side - n + 1 for side, n in zip(box.whole, box.size, strict=True)]
    places = np.indices(room).reshape(len(room), -1).T
    apart = np.abs(places - np.array(box.start))
    size = np.array(box.size)
    overlap = np.maximum(size - apart, 0).prod(1)
    places = places[overlap == overlap.min()]
    drawn = seeds.uniform(np.arange(count), *keys, "elsewhere")
    rows = np.minimum((drawn * len(places)).astype(np.int64), len(places) - 1)
    return [Box(tuple(places[row].tolist()), box.size, box.whole) for row in rows]


def _between(start: list[int], stop: list[int]) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def _strip(start: list[int], stop: list[int], axis: int, at: int) -> tuple[slice, ...]:
    strip = list(_between(start, stop))
    strip[axis] = slice(at, at + 1)
    return tuple(strip)
