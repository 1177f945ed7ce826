"""Which times and cells are looked at together: seasons, decades, bands of latitude, blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import days_apart

Array = NDArray[Any]
Groups = Mapping[str, tuple[NDArray[np.int64] | None, NDArray[np.bool_] | None]]

BLOCK = 12  # times that intervals keep together where there are no dates
_YEAR, _MONTH = 365.25, 30.0  # days
_TEN = 10  # of times that come once a year or less often
_SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
_BANDS = {"south": (-90.0, -30.0), "tropics": (-30.0, 30.0), "north": (30.0, 90.0)}


def season_groups(months: NDArray[np.int64]) -> Groups:
    """The times of each season that there are, by the months' first letters.

    Example:
        >>> found = season_groups(np.array([1, 2, 7]))
        >>> {name: times.tolist() for name, (times, _) in found.items()}
        {'DJF': [0, 1], 'JJA': [2]}
    """
    found = {name: np.flatnonzero(np.isin(months, given)) for name, given in _SEASONS.items()}
    return {name: (times, None) for name, times in found.items() if len(times)}


def decade_groups(times: Array) -> Groups:
    """The times of each decade, where dates span two of them or more.

    Example:
        >>> dates = np.array(["1999-06", "2001-06", "2002-06"], "datetime64[M]")
        >>> {name: ids.tolist() for name, (ids, _) in decade_groups(dates).items()}
        {'1990s': [0], '2000s': [1, 2]}
    """
    years = years_of(times)
    if years is None:
        return {}
    decades = years // 10 * 10
    named = {f"{decade}s": np.flatnonzero(decades == decade) for decade in np.unique(decades)}
    return {name: (ids, None) for name, ids in named.items()} if len(named) > 1 else {}


def years_of(times: Array) -> NDArray[np.int64] | None:
    """The years of dates, (n,); None where there are none."""
    if np.asarray(times).dtype.kind == "M":
        return times.astype("datetime64[Y]").astype(np.int64) + 1970
    if len(times) and hasattr(times[0], "year"):
        return np.array([time.year for time in times], np.int64)
    return None


def band_groups(latitude: Sequence[float] | Array, columns: int) -> Groups:
    """The cells of the tropics (to 30 degrees), and of the north and south beyond."""
    rows = np.asarray(latitude, np.float64).reshape(-1, 1)
    found = {name: (rows >= low) & (rows < high) for name, (low, high) in _BANDS.items()}
    return {
        name: (None, np.broadcast_to(inside, (len(rows), columns)))
        for name, inside in found.items()
        if inside.any()
    }


def block_of(times: Array) -> int:
    """How many times intervals keep together: a year of months, 30 days of what comes more often.

    Of years it is ten, and 12 of what has no dates.

    Example:
        >>> block_of(np.arange("2000-01", "2004-01", dtype="datetime64[M]"))
        12
        >>> block_of(np.arange("2000-01-01", "2000-03-01", dtype="datetime64[6h]"))
        120
    """
    days = days_apart(np.asarray(times))
    if days is None:
        return BLOCK
    if days > _YEAR / 2:
        return _TEN
    whole = _MONTH if days < _MONTH * 0.9 else _YEAR
    return max(1, round(whole / max(days, 1 / 1440)))
