"""Time stamps: numbers, or dates and times, in order and each once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError

Stamps = NDArray[np.int64] | NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEYOND: Final = re.compile(r"[.,]\d{6}(\d{1,3})")  # digits of nanoseconds, which datetime drops


def times_of(cells: Sequence[str], what: str) -> Stamps:
    """Time stamps as numbers that rise with time; dates as nanoseconds since 1970 in UTC.

    Whole numbers and dates are int64, since those of nanoseconds are more than float64 tells apart.
    A date without a time zone is taken to be in UTC.

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
        _check_one_form(cells, what)
        dates = [_nanoseconds(cell, what) for cell in cells]
        inside = max(map(abs, dates), default=0) < 2**63  # years 1678 to 2262
        return np.array(dates, np.int64) if inside else np.array(dates, np.float64)
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


def _check_one_form(cells: Sequence[str], what: str) -> None:
    """Refuse a cell that is no number where others are, by that cell's own name."""
    if not any(map(_is_number, cells)):
        return
    other = next(cell for cell in cells if not _is_number(cell))
    number = next(cell for cell in cells if _is_number(cell))
    raise DataError(
        f"{what} has the time stamp {other!r} beside numbers such as {number!r}; give all of them "
        "as numbers, or all as dates."
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _nanoseconds(cell: str, what: str) -> int:
    try:
        found = datetime.fromisoformat(cell)
    except ValueError as error:
        raise DataError(_problem(cell, what)) from error
    since = (found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH
    beyond = _BEYOND.search(cell)
    return since // timedelta(microseconds=1) * 1000 + int(beyond[1].ljust(3, "0") if beyond else 0)


def _problem(cell: str, what: str) -> str:
    return (
        f"{what} has the time stamp {cell!r}, neither a number nor a date such as "
        "2026-01-31 08:15; correct it, or leave the column out."
    )
