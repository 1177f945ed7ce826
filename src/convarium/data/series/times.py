"""Time stamps: numbers, or dates and times, in order and each once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError

Stamps = NDArray[np.int64] | NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH: Final = re.compile(r"\d{4}-\d{2}")  # ISO 8601 has it, which datetime does not read
_BEYOND: Final = re.compile(r"[.,]\d{6}(\d{1,3})")  # digits of nanoseconds, which datetime drops


def times_of(cells: Sequence[str], what: str) -> Stamps:
    """Time stamps as numbers that rise with time; dates as nanoseconds since 1970 in UTC.

    Whole numbers and dates are int64, since those of nanoseconds are more than float64 tells apart.
    A date without a time zone is taken to be in UTC, a month for its first day.

    Args:
        cells: as they stand in a file.
        what: names their place, for errors.

    Raises:
        DataError: a cell is neither a number nor a date as ISO 8601 has it.

    >>> times_of(["2", "0.5"], "a").tolist(), times_of(["1970-01-02", "1970-01-01 12:00"], "b")
    ([2.0, 0.5], array([86400000000000, 43200000000000]))
    """
    try:
        return np.array([int(cell) for cell in cells], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        found = np.array([float(cell) for cell in cells], np.float64)
    except ValueError:
        return _dates(cells, what)
    if not np.isfinite(found).all():
        cell = cells[int(np.argmin(np.isfinite(found)))]
        raise DataError(_problem(cell, what))
    return found


def in_time(
    times: Stamps, whose: NDArray[np.int64], names: Sequence[str], what: str
) -> tuple[NDArray[np.int64], int]:
    """The order that brings series and their steps in order, and how many series were not so.

    Args:
        times: of each step.
        whose: number of the series of each step.
        names: of the series.
        what: names their place, for errors.

    Raises:
        DataError: a series has one time stamp twice.
    """
    order = np.lexsort((times, whose)).astype(np.int64)
    same = whose[order][1:] == whose[order][:-1]
    twice = np.flatnonzero(same & (times[order][1:] == times[order][:-1]))
    if len(twice):
        name = names[int(whose[order][twice[0]])]
        raise DataError(
            f"{what} has {len(twice)} time stamps twice in one series, the first in {name}; keep "
            "one row of each, or name the column that tells the series apart with --series-column."
        )
    before = np.argsort(whose, kind="stable")
    moved = np.unique(whose[order][order != before])
    return order, len(moved)


def _dates(cells: Sequence[str], what: str) -> Stamps:
    """Cells that are not all numbers as dates.

    Raises:
        DataError: a cell is no date; the one that is named is neither date nor number, or else of
            the form that fewer have.
    """
    try:
        dates = [_nanoseconds(cell) for cell in cells]
    except ValueError:
        raise DataError(_odd_one(cells, what)) from None
    inside = max(map(abs, dates), default=0) < 2**63  # years 1678 to 2262
    return np.array(dates, np.int64) if inside else np.array(dates, np.float64)


def _odd_one(cells: Sequence[str], what: str) -> str:
    """What is wrong with cells that are neither all numbers nor all dates."""
    numbers, dates = ([c for c in cells if _is(c, read)] for read in (_finite, _nanoseconds))
    known = {*numbers, *dates}
    for cell in cells:
        if cell not in known:
            return _problem(cell, what)
    few, many, kind = dates, numbers, "numbers"
    if len(numbers) <= len(dates):
        few, many, kind = numbers, dates, "dates"
    usual = {*many}
    odd = next(cell for cell in few if cell not in usual)
    return (
        f"{what} has the time stamp {odd!r} beside {kind} such as {many[0]!r}; give all of them "
        "as numbers, or all as dates."
    )


def _is(cell: str, read: Callable[[str], float]) -> bool:
    """Whether a cell can be read so."""
    try:
        read(cell)
    except ValueError:
        return False
    return True


def _finite(cell: str) -> float:
    """A number that is one.

    Raises:
        ValueError: it is none.
    """
    found = float(cell)
    if not math.isfinite(found):
        raise ValueError(cell)
    return found


def _nanoseconds(cell: str) -> int:
    found = datetime.fromisoformat(f"{cell}-01" if _MONTH.fullmatch(cell) else cell)
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH
    beyond = _BEYOND.search(cell)
    return since // timedelta(microseconds=1) * 1000 + int(beyond[1].ljust(3, "0") if beyond else 0)


def _problem(cell: str, what: str) -> str:
    return (
        f"{what} has the time stamp {cell!r}, neither a number nor a date such as "
        "2026-01-31 08:15; correct it, or leave the column out."
    )
