"""Whether fields are of a kind that is never below 0, as precipitation is."""

from __future__ import annotations

from typing import Final

import numpy as np

from convarium.data.grids.pairs import FieldPairs
from convarium.data.grids.units import same_units

_ASKED: Final = 64  # times that say it
_ZEROS: Final = 0.01  # of the cells, where nothing else says it
BELOW: Final = 0.01  # of a deviation: what a field that is never below 0 may be below it
_NOTHING: Final = 1e-6  # of the largest value: what packing and sums leave of a 0
_OF_RAIN: Final = ("mm d-1", "mm h-1", "mm s-1", "mm month-1", "kg m-2 s-1", "kg m-2 d-1")


def never_negative(pairs: FieldPairs) -> bool:
    """Whether each fine field is never below 0, and often 0 or in a unit of precipitation.

    Up to 64 of the earlier half of the times are asked; a millionth of the largest value is 0, and
    what lies below 0 by less than a hundredth of a deviation is what packing or regridding left.
    """
    ids = np.unique(np.linspace(0, (len(pairs) - 1) // 2, _ASKED).round().astype(np.int64))
    for name, own in zip(pairs.targets, pairs.read(ids)[1].swapaxes(0, 1), strict=True):
        nothing = _NOTHING * float(np.nanmax(np.abs(own), initial=0.0))
        rain = any(same_units(pairs.fine.units[name], unit) for unit in _OF_RAIN)
        often = rain or float((np.abs(own) <= nothing).mean()) > _ZEROS
        if not often or (own < -BELOW * np.nanstd(own)).any():
            return False
    return True
