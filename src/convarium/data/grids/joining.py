"""Fields of several files one behind the other, and times in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import Fields
from convarium.data.grids.units import same_units
from convarium.errors import DataError


def joined(files: Sequence[Fields]) -> Fields:
    """The times of all, in the order of the files.

    Raises:
        DataError: they have other variables, units, cells or calendars.
    """
    first, *others = files
    for each in others:
        units = all(
            same_units(each.units.get(name, ""), unit) for name, unit in first.units.items()
        )
        for what, same in (
            ("variables", each.names == first.names),
            ("units", units),
            ("cells", each.grid.same(first.grid)),
            ("calendar", each.calendar == first.calendar),
            ("origins of times", each.calendar or _origin(each) == _origin(first)),
        ):
            if not same:
                raise DataError(
                    f"The files have different {what} ({first.times[0]} and {each.times[0]} on); "
                    "give files that go together."
                )
    if not others:
        return first
    source: dict[str, Any] = {}
    for name in first.names:
        parts = [each.source[name] for each in files]
        whole = all(isinstance(part, np.ndarray) for part in parts)
        source[name] = np.concatenate(parts) if whole else _Behind(parts)
    return replace(
        first,
        source=source,
        times=_times(files),
        months=np.concatenate([each.months for each in files]),
        notes=tuple(dict.fromkeys(note for each in files for note in each.notes)),
    )


def _origin(fields: Fields) -> Any:
    """Where numbers of times are counted from, if the file says it."""
    return fields.axis.get("units")


def _times(files: Sequence[Fields]) -> NDArray[Any]:
    """The times of all; where each file only counts its fields, they are counted on."""
    counted = (
        not each.axis and np.array_equal(each.times, np.arange(len(each.times))) for each in files
    )
    if all(counted):
        return np.arange(sum(map(len, files)))
    return np.concatenate([each.times for each in files])


def in_order(fields: Fields) -> Fields:
    """The fields with rising times, and a note where they had to be sorted or come twice."""
    if all(a < b for a, b in pairwise(fields.times)):
        return fields
    order = np.argsort(fields.times, kind="stable")
    notes = []
    if not (order == np.arange(len(order))).all():
        notes.append("The times do not rise; they are sorted.")
        fields = fields.at(order)
    count = len(order) - len(set(fields.times.tolist()))
    if count:
        notes.append(f"{count} times are there again; all fields of a time are in one part.")
    return replace(fields, notes=(*fields.notes, *notes))


class _Behind:
    """Variables one behind the other in time, some of their times; read as an array."""

    def __init__(self, parts: Sequence[Any], order: NDArray[np.int64] | None = None) -> None:
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self._order = np.arange(self._ends[-1]) if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, key: Any) -> _Behind:
        if isinstance(key, tuple):  # rows and columns of all times
            return _Behind([part[key] for part in self._parts], self._order)
        return _Behind(self._parts, self._order[np.asarray(key, np.int64)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        ids = self._order
        which = np.searchsorted(self._ends, ids, side="right")
        found = np.empty((len(ids), *self._parts[0].shape[1:]), np.float32)
        for k in np.unique(which):
            begin = self._ends[k] - len(self._parts[k])
            found[which == k] = np.asarray(self._parts[k][ids[which == k] - begin], np.float32)
        return found.astype(dtype, copy=False)
