"""Cells that are kept for the test: a region of which nothing is learnt, at the times of the test.

What is coarse stays known everywhere: a network reads it around the region as it does elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.grids.fields import Values
from convarium.data.grids.grid import Grid, counted_from
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from convarium.data.grids.samples import GridSamples
    from convarium.data.grids.shifting import Shift


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Which fine cells count at which times.

    Args:
        cells: those that are held out, (H, W).
        times: numbers of the times at which they alone count; at others they do not.
    """

    cells: NDArray[np.bool_]
    times: NDArray[np.int64]

    def hide(self, y: Values, ids: NDArray[np.int64]) -> Values:
        """Fine fields (n, T, H, W) of some times with NaN where they do not count."""
        inside = np.isin(ids, self.times).reshape(-1, 1, 1, 1)
        return np.where(inside == self.cells, y, np.float32(np.nan))

    def moved(self, shift: Shift) -> HeldOut:
        """The same for blocks that begin elsewhere."""
        return HeldOut(np.ascontiguousarray(shift.of(self.cells)), self.times)


def held_out(dataset: Dataset, region: Sequence[float], times: NDArray[np.int64]) -> Dataset:
    """The data set with the blocks of a region that count at some times alone.

    Args:
        dataset: of fields.
        region: south, north, west and east in degrees; blocks whose middles lie within.
        times: numbers of these times.

    Raises:
        OptionError: the region is not four numbers.
        DataError: no block lies in it, or each.
    """
    samples = cast("GridSamples", dataset.samples)
    pairs = samples.pairs
    cells = _inside(pairs.fine.grid.coarse(pairs.factor), region)
    for axis, count in enumerate(pairs.factor):
        cells = cells.repeat(count, axis)
    own = copy.copy(samples)
    own.pairs = replace(pairs, held=HeldOut(cells, times))
    found = copy.copy(dataset)
    found.samples = own
    return found


def _inside(grid: Grid, region: Sequence[float]) -> NDArray[np.bool_]:
    """Which cells have their middles in a region."""
    if len(region) != 4:
        raise OptionError(f"held_out (={region}) must be south, north, west and east in degrees.")
    south, north, west, east = region
    rows = (grid.latitude >= south) & (grid.latitude <= north)
    columns = counted_from(grid.longitude, west) <= east + 360.0 * (west > east)
    found: NDArray[np.bool_] = rows[:, None] & columns
    if not found.any() or found.all():
        which = "every" if found.any() else "no"
        raise DataError(
            f"held_out (={list(region)}) has {which} block of {grid.latitude.min():g} to "
            f"{grid.latitude.max():g} degrees north and {grid.longitude.min():g} to "
            f"{grid.longitude.max():g} east; name a part of it."
        )
    return found
