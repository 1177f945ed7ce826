"""Missing values: straight lines between what is there, and the first and last value outside."""

from __future__ import annotations

import numpy as np

from convarium.data.series.series import Floats


def filled(values: Floats) -> Floats:
    """A series without gaps; a channel without any value stays NaN.

    Args:
        values: `(C, T)`, NaN where a value is missing.

    >>> filled(np.array([[np.nan, 1, np.nan, 3, np.nan]], np.float32)).tolist()
    [[1.0, 1.0, 2.0, 3.0, 3.0]]
    """
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    found, steps = values.copy(), np.arange(values.shape[1])
    for curve, gap in zip(found, gaps, strict=True):
        if gap.any() and not gap.all():
            curve[gap] = np.interp(steps[gap], steps[~gap], curve[~gap])
    return found
