"""Coarse fields of a model beside fine observations: the cells and the times that both have."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import Fields, days_apart
from convarium.data.grids.grid import Floats, edges_of, step_of
from convarium.errors import DataError

_OFF = 0.02  # of a fine step: what an edge may lie off another
_OFTEN = 1.5  # how much more often one of both may come
_YEAR, _MONTH, _DAY, _MOMENT = 1, 2, 3, 7  # parts of a date, down to microseconds


def match_fields(coarse: Fields, fine: Fields) -> tuple[Fields, Fields, tuple[int, int]]:
    """Both fields cut to the cells that both cover, and the fine cells per coarse one.

    Latitudes that fall in one and rise in the other are turned around in the coarse fields.
    Longitudes may be counted from elsewhere: a circle of fine cells begins where the coarse ones
    do, and else the coarse cells are counted from the first fine one.

    Raises:
        DataError: a coarse cell is no whole number of fine ones, edges do not meet, or the grids
            have nothing in common.
    """
    if step_of(coarse.grid.latitude) * step_of(fine.grid.latitude) < 0:
        coarse = coarse.cut(slice(None, None, -1))
    one, other = coarse.grid.longitude, fine.grid.longitude
    if fine.grid.wraps:
        fine = fine.turned(edges_of(one)[0] + step_of(other) / 2)
    else:
        coarse = coarse.turned(edges_of(other)[0] + step_of(one) / 2)
    places, factor = [], []
    for name in ("latitude", "longitude"):
        found, n = _match_axis(name, getattr(coarse.grid, name), getattr(fine.grid, name))
        places.append(found)
        factor.append(n)
    rows, columns = places
    return coarse.cut(rows[0], columns[0]), fine.cut(rows[1], columns[1]), (factor[0], factor[1])


def match_times(coarse: Fields, fine: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the times that both have, in the order of the fine fields.

    How much of a date counts follows from how often there are fields: where no year of either
    has two, those of a year are the same, on whatever day they are stamped; where no month has
    two, those of a month; where no day has, those of a day; else those of a moment. Times that are
    numbers must be the same.

    Raises:
        DataError: none is the same, a time is there twice, or one of both comes more often.
    """
    several = min(len(coarse), len(fine)) > 1  # of a single field nobody knows that it is a year's
    for digits in (_YEAR, _MONTH, _DAY, _MOMENT)[not several :]:
        ours, theirs = ([_date(t)[:digits] for t in f.times.flat] for f in (fine, coarse))
        if len(set(ours)) == len(ours) and len(set(theirs)) == len(theirs):
            break
    else:
        raise DataError(
            f"A time is there twice in the coarse fields ({_span(coarse)}) or in the fine ones "
            f"({_span(fine)}); give each once."
        )
    _check_steps(coarse, fine, whole=digits == _MOMENT)
    places = {date: i for i, date in enumerate(theirs)}
    both = [(places[date], i) for i, date in enumerate(ours) if date in places]
    if both:
        found = np.array(both, np.int64)
        return found[:, 0], found[:, 1]
    raise DataError(
        f"The coarse fields ({_span(coarse)}) and the fine ones ({_span(fine)}) have no time in "
        "common; give fields of the same period."
    )


def _check_steps(coarse: Fields, fine: Fields, *, whole: bool) -> None:
    """Refuse days beside means of months, of which one would stand for the other.

    Moments within a day, of which the other has some, are the same where the whole stamps are.
    """
    ours, theirs = (days_apart(np.asarray(each.times)) for each in (fine, coarse))
    if ours is None or theirs is None or not ours or not theirs:
        return
    moments = whole and max(ours, theirs) <= 1
    if not moments and max(ours / theirs, theirs / ours) > _OFTEN:
        raise DataError(
            f"The coarse fields come every {theirs:.3g} days and the fine ones every {ours:.3g}; "
            "bring both to means over the same spans first."
        )


def _match_axis(name: str, coarse: Floats, fine: Floats) -> tuple[tuple[slice, slice], int]:
    """The cells of both along one axis, and the fine cells per coarse one."""
    ratio = step_of(coarse) / step_of(fine)
    n = round(ratio)
    if n < 1 or abs(ratio - n) > _OFF:
        raise DataError(
            f"A coarse cell is {ratio:.3g} fine ones wide in {name}; interpolate the coarse fields "
            "to a grid whose cells are a whole number of fine ones."
        )
    edges, finer = edges_of(coarse), edges_of(fine)
    starts = (edges[:-1] - finer[0]) / step_of(fine)
    whole = np.rint(starts)
    inside = (whole >= 0) & (whole + n <= len(fine))
    if not inside.any():
        raise DataError(f"The coarse and the fine fields have no {name} in common.")
    if np.abs(starts - whole)[inside].max() > _OFF:
        raise DataError(
            f"Coarse cells begin within fine ones in {name} (by {np.abs(starts - whole).max():.2g} "
            "of a cell); interpolate the coarse fields to cells that begin where fine ones do."
        )
    first, last = np.flatnonzero(inside)[[0, -1]]
    begin = int(whole[first])
    cells = slice(int(first), int(last) + 1)
    return (cells, slice(begin, begin + n * (int(last) - int(first) + 1))), n


def _date(time: Any) -> tuple[Any, ...]:
    """The parts of a date, from the year on; of a number, the number."""
    if isinstance(time, np.datetime64):
        whole = np.datetime_as_string(time, unit="us")
        return tuple(int(part) for part in re.split(r"[-T:.]", whole))
    if not hasattr(time, "year"):
        return (time,)
    clock = (time.hour, time.minute, time.second, time.microsecond)
    return (time.year, time.month, time.day, *clock)


def _span(fields: Fields) -> str:
    return f"{fields.times[0]} to {fields.times[-1]}" if len(fields) else "no times"
