"""A regular grid of latitudes and longitudes: its cells, their areas, the circle they may close.

A cell reaches half the way to its neighbours, and the outermost rows to the poles at most. On a
sphere the area of a row of cells is proportional to the difference of the sines of its ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError

Floats = NDArray[np.float64]

_UNEVEN = 0.01  # of a step: what steps may differ by, as float32 and rounded degrees do
_ROUNDED = 1e-3  # degrees: what a longitude may lie west of a start and count as there
_WHOLE = 360.0


@dataclass(frozen=True, eq=False)
class Grid:
    """The middles of the cells of a regular grid.

    Args:
        latitude: degrees north, rising or falling, (H,).
        longitude: degrees east, rising, (W,).

    Raises:
        DataError: coordinates that are no numbers, or not at equal distances.

    Example:
        >>> grid = Grid(np.array([-45.0, 45.0]), np.array([0.0, 120.0, 240.0]))
        >>> grid.shape, grid.wraps, grid.areas.tolist()
        ((2, 3), True, [1.0, 1.0])
    """

    latitude: Floats
    longitude: Floats

    def __post_init__(self) -> None:
        for name, values in (("latitude", self.latitude), ("longitude", self.longitude)):
            check_axis(name, values)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.latitude), len(self.longitude)

    @property
    def wraps(self) -> bool:
        """Whether the columns go all the way around."""
        width = abs(step_of(self.longitude)) * len(self.longitude)
        return abs(width - _WHOLE) < _UNEVEN * abs(step_of(self.longitude))

    def eastward(self, start: float) -> tuple[Floats, int]:
        """The longitudes counted from a start on, and the column that comes first.

        A circle begins at the first column at the start or east of it. Other columns stay in their
        order, and all are counted by so many turns that the last is the first time not west of it.

        Example:
            >>> grid = Grid(np.zeros(1), np.array([0.0, 90.0, 180.0, 270.0]))
            >>> longitudes, first = grid.eastward(-100.0)
            >>> longitudes.tolist(), first
            ([-90.0, 0.0, 90.0, 180.0], 3)
        """
        if not self.wraps:
            return self.longitude - _WHOLE * _turns(self.longitude[-1:], start), 0
        counted = counted_from(self.longitude, start)
        first = int(counted.argmin())
        return np.roll(counted, -first), first

    @property
    def areas(self) -> Floats:
        """The area of a cell of each row, with a mean of 1, (H,)."""
        edges = np.clip(edges_of(self.latitude), -90.0, 90.0)
        found = np.abs(np.diff(np.sin(np.deg2rad(edges))))
        areas: Floats = found / found.mean()
        return areas

    def same(self, other: Grid) -> bool:
        """Whether another grid has the same cells, to a thousandth of a degree."""
        return self.shape == other.shape and all(
            np.allclose(one, two, atol=1e-3)
            for one, two in (
                (self.latitude, other.latitude),
                (self.longitude, other.longitude),
            )
        )

    def cut(self, rows: slice, columns: slice) -> Grid:
        """Some rows and columns."""
        return Grid(self.latitude[rows], self.longitude[columns])

    def coarse(self, factor: Sequence[int]) -> Grid:
        """The grid of blocks of cells; a rest that fills no block is left out."""
        return Grid(_block(self.latitude, factor[0]), _block(self.longitude, factor[1]))


def counted_from(longitude: Floats, start: float) -> Floats:
    """Longitudes by whole turns less, so that each lies at the start or less than a turn east."""
    return longitude - _WHOLE * _turns(longitude, start)


def _turns(longitude: Floats, start: float) -> Floats:
    """Whole turns by which each lies east of a start."""
    found: Floats = np.floor((longitude - start + _ROUNDED) / _WHOLE)
    return found


def check_axis(name: str, values: Floats) -> None:
    """Refuse coordinates that are no numbers or do not lie at equal distances.

    Raises:
        DataError: they do not.
    """
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise DataError(f"The {name} must be numbers along one axis, not of shape {values.shape}.")
    steps = np.diff(values)
    if len(steps) and not steps.any():
        raise DataError(f"The {name} is {values[0]:g} everywhere; give each cell its own.")
    if len(steps) and np.abs(steps - steps.mean()).max() > _UNEVEN * abs(steps.mean()):
        raise DataError(
            f"The {name} has steps from {steps.min():g} to {steps.max():g}; bring the fields to a "
            "regular grid first (for example with xarray's interp)."
        )


def step_of(values: Floats) -> float:
    """Degrees from a cell to the next; a grid of one cell has no step and counts as 1."""
    return float(values[-1] - values[0]) / (len(values) - 1) if len(values) > 1 else 1.0


def edges_of(values: Floats) -> Floats:
    """Where cells end, (n + 1,).

    Example:
        >>> edges_of(np.array([10.0, 20.0])).tolist()
        [5.0, 15.0, 25.0]
    """
    half = step_of(values) / 2
    return np.append(values - half, values[-1] + half)


def _block(values: Floats, n: int) -> Floats:
    whole = len(values) // n * n
    found: Floats = values[:whole].reshape(-1, n).mean(1)
    return found
