"""Where the positions of a map lie in the input, and which of them the border reaches.

Position i reads the inputs [j i + a, j i + b] along each axis. Where all positions of an axis were
put together, as behind a global pool, the axis has no places any more.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium.measure.rules.reach import Reach
from convarium.measure.rules.states import State

Mask = NDArray[np.bool_]


class NoCounterpartError(Exception):
    """Why a transformation of the input has none on a map."""


@dataclass(frozen=True)
class Places:
    """Where the positions of a map lie.

    Attributes:
        reaches: what they read along each axis of the input.
        dims: the dimension of the map along which they lie; None where all are put together.
        lengths: number of positions along each axis.
        size: of the input.
    """

    reaches: tuple[Reach, ...]
    dims: tuple[int | None, ...]
    lengths: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def together(self) -> bool:
        """Whether no axis has places any more."""
        return all(dim is None for dim in self.dims)

    def inside(self, by: Sequence[int], steps: Sequence[int]) -> Mask:
        """The positions that read nothing beyond the border, and nothing that a shift brought in.

        Args:
            by: a shift of the input, along each axis.
            steps: the positions by which it moves the map.

        Raises:
            NoCounterpartError: along an axis every position reads all of the input.
        """
        if None in self.dims:
            raise NoCounterpartError("the border reaches every position")
        lines = []
        for axis, (reach, side) in enumerate(zip(self.reaches, self.size, strict=True)):
            here, t = np.arange(self.lengths[axis], dtype=np.int64), by[axis]
            low, high = reach.at(here)
            from_map = (here >= steps[axis]) & (here < self.lengths[axis] + steps[axis])
            lines.append(from_map & (low >= max(0, t)) & (high <= side - 1 + min(0, t)))
        mask: Mask = functools.reduce(np.logical_and.outer, lines)
        return mask


def places(state: State, shape: Sequence[int], size: tuple[int, ...]) -> Places:
    """The places of a map of one sample.

    Raises:
        NoCounterpartError: they cannot be followed, or do not lie along dimensions of their own.
    """
    if state.unknown:
        raise NoCounterpartError(f"its places cannot be followed: {state.unknown}")
    dims = tuple(None if reach.whole else reach.dim for reach in state.reaches)
    used = [dim for dim in dims if dim is not None]
    if len(set(used)) < len(used) or 0 in used:
        raise NoCounterpartError("its places do not lie along dimensions of their own")
    lengths = tuple(1 if dim is None else shape[dim] for dim in dims)
    return Places(state.reaches, dims, lengths, size)
