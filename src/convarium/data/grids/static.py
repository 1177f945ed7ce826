"""Fields that never change, such as relief and land masks, brought to the grid of others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import Fields, Values
from convarium.data.grids.grid import Floats, Grid, counted_from, edges_of, step_of
from convarium.errors import DataError


def static_fields(source: Fields, grid: Grid) -> Values:
    """The mean, by area, of the cells whose middles lie in each cell of a grid.

    Args:
        source: fine fields; of several times the first counts. Missing cells do not.
        grid: the cells to bring them to. Longitudes may be counted from elsewhere.

    Shape:
        -> (C, H, W), C variables

    Raises:
        DataError: a cell of the grid has no known cell of the source in it.

    Example:
        >>> from convarium.data import fields_of_arrays
        >>> fine = Grid(np.arange(4.0), np.arange(6.0))
        >>> relief = fields_of_arrays({"rose": np.arange(24.0).reshape(1, 4, 6)}, fine)
        >>> static_fields(relief, fine.coarse((4, 3))).shape
        (1, 1, 2)
    """
    rows = _places(source.grid.latitude, edges_of(grid.latitude))
    edges = edges_of(grid.longitude)
    columns = _places(counted_from(source.grid.longitude, edges[0]), edges)
    height, width = grid.shape
    cells = rows[:, None] * width + columns
    inside = (rows[:, None] >= 0) & (columns >= 0)
    areas = np.broadcast_to(source.grid.areas[:, None], inside.shape)
    found = []
    for name, field in zip(source.names, source.read([0])[0], strict=True):
        counted = inside & ~np.isnan(field)
        weights = np.bincount(cells[counted], areas[counted], height * width)
        sums = np.bincount(cells[counted], (areas * field)[counted], height * width)
        if not weights.all():
            raise DataError(
                f"{name} is not known in {int((weights == 0).sum())} of the {weights.size} cells; "
                "take a field that is finer than the grid and covers it, and fill what is missing."
            )
        found.append((sums / weights).reshape(height, width))
    return np.stack(found).astype(np.float32)


def _places(middles: Floats, edges: Floats) -> NDArray[np.int64]:
    """The cell in which each lies; -1 outside of all."""
    step = step_of(edges)
    found = np.floor((middles - edges[0]) / step).astype(np.int64)
    found[middles == edges[-1]] = len(edges) - 2  # the last cell has both of its ends
    return np.where((found >= 0) & (found < len(edges) - 1), found, -1)
