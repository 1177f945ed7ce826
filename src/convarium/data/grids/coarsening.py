"""Coarse fields from fine ones: the exact mean of each block of cells, plain or by their areas.

x = sum over a block of w y / sum of w,    over the cells that are known
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import Values
from convarium.errors import DataError, OptionError


def coarsen(
    values: NDArray[Any],
    factor: Sequence[int],
    areas: NDArray[np.float64] | None = None,
    *,
    least_known: float = 0.5,
) -> Values:
    """The mean of each block, in double precision.

    Args:
        values: fine fields; missing cells are NaN.
        factor: rows and columns of a block.
        areas: of the cells of each row, (H,); None counts all alike.
        least_known: the share of a block's area that must be known, else it is missing.

    Shape:
        (..., H, W) -> (..., H / r, W / s)

    Raises:
        DataError: the factor does not divide the sizes.
        OptionError: the share is not above 0 and at most 1.

    Example:
        >>> coarsen(np.arange(8.0).reshape(2, 4), (2, 2)).tolist()
        [[2.5, 4.5]]
    """
    (*before, rows, columns), (r, s) = values.shape, factor
    if rows % r or columns % s:
        raise DataError(
            f"Blocks of {r} x {s} cells do not divide a field of {rows} x {columns}; cut it to "
            f"{rows // r * r} x {columns // s * s} cells, or choose another factor."
        )
    if not 0 < least_known <= 1:
        raise OptionError(f"least_known (={least_known}) must be above 0 and at most 1.")
    blocks = values.reshape(*before, rows // r, r, columns // s, s).astype(np.float64)
    weights = np.ones(rows) if areas is None else np.asarray(areas, np.float64)
    weights = weights.reshape(rows // r, r, 1, 1)
    known = ~np.isnan(blocks)
    total = np.broadcast_to(weights, blocks.shape[-4:]).sum((-3, -1))
    counted = (known * weights).sum((-3, -1))
    sums = (np.where(known, blocks, 0.0) * weights).sum((-3, -1))
    enough = counted >= least_known * total
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, sums / counted, np.nan).astype(np.float32)
