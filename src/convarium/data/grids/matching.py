"""Coarse fields of a model beside fine observations: the cells and the times that both have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import Fields
from convarium.data.grids.grid import Floats, edges_of, step_of
from convarium.errors import DataError

_OFF = 0.02  # of a fine step: what an edge may lie off another


def match_fields(coarse: Fields, fine: Fields) -> tuple[Fields, Fields, tuple[int, int]]:
    """Both fields cut to the cells that both cover, and the fine cells per coarse one.

    Latitudes that fall in one and rise in the other are turned around in the coarse fields.

    Raises:
        DataError: a coarse cell is no whole number of fine ones, edges do not meet, or the grids
            have nothing in common.
    """
    if step_of(coarse.grid.latitude) * step_of(fine.grid.latitude) < 0:
        coarse = coarse.cut(slice(None, None, -1))
    places, factor = [], []
    for name in ("latitude", "longitude"):
        found, n = _match_axis(name, getattr(coarse.grid, name), getattr(fine.grid, name))
        places.append(found)
        factor.append(n)
    rows, columns = places
    return coarse.cut(rows[0], columns[0]), fine.cut(rows[1], columns[1]), (factor[0], factor[1])


def match_times(coarse: Fields, fine: Fields) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the times that both have, in the order of the fine fields.

    Dates are the same where year, month and day are; of monthly fields, where year and month are.

    Raises:
        DataError: none is the same.
    """
    for depth in (3, 2):
        ours, theirs = (_dates(fields.times, depth) for fields in (fine, coarse))
        places = {date: i for i, date in enumerate(theirs)}
        unique = len(places) == len(theirs) and len(set(ours)) == len(ours)
        both = [(places[date], i) for i, date in enumerate(ours) if date in places]
        if both and unique:
            found = np.array(both, np.int64)
            return found[:, 0], found[:, 1]
    raise DataError(
        f"The coarse fields ({_span(coarse)}) and the fine ones ({_span(fine)}) have no time in "
        "common; give fields of the same period."
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


def _dates(times: NDArray[Any], depth: int) -> list[Any]:
    """Year, month and day of each time, or its number where there are no dates."""
    if times.dtype.kind == "M":
        unit = "D" if depth == 3 else "M"
        return list(times.astype(f"datetime64[{unit}]").astype(str))
    if not len(times) or not hasattr(times.flat[0], "year"):
        return list(times.tolist())
    parts = ((t.year, t.month, t.day)[:depth] for t in times.flat)
    return ["-".join(f"{n:02d}" for n in date) for date in parts]


def _span(fields: Fields) -> str:
    return f"{fields.times[0]} to {fields.times[-1]}" if len(fields) else "no times"
