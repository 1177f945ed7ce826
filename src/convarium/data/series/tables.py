"""Tables of series: long, a row a time step, and wide, a row a series.

long     time, series, label, x, y      rows of one series belong together, in the order of time
wide     label, t0, t1, t2, ...         each column of numbers is a time step; one channel
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium.data import table
from convarium.data.given import part_number
from convarium.data.series.reading import Found, SeriesColumns
from convarium.data.series.series import Floats, floats_of
from convarium.data.series.times import Stamps, in_time, times_of
from convarium.data.skipping import Skipped
from convarium.data.table_rows import Columns, header_of, read_rows
from convarium.errors import DataError

_TIMES: Final = ("time", "timestamp", "datetime", "date", "step")
_SERIES: Final = ("series", "series_id", "sequence", "recording")
_INDEX: Final = ("", "__index_level_0__")  # what pandas calls an index that has no name
_LEFT_OUT: Final = "a column without a name, as pandas writes an index, was left out"
_IDS: Final = ("id", "name", *_SERIES)
_LABELS: Final = ("label", "class", "target", "category", "class_name", "labels", "value")
_WORDS: Final = {
    **dict.fromkeys(("", "?", "na", "nan", "null", "none"), math.nan),
    "true": 1.0,
    "false": 0.0,
}


def read_table(file: Path, said: SeriesColumns, task: str | None, *, labels: bool) -> Found:
    """The series of a table.

    Long, where a column of time, series or values is named, or columns with usual names of both
    time and series are there; else wide.

    Args:
        file: CSV, TSV or Parquet.
        said: the columns that are named.
        task: what the labels are.
        labels: whether they are asked for; without, a column with a usual name is left out.

    Raises:
        DataError: the table cannot be read, a column is not there, or a value is no number.
    """
    header = header_of(file)
    usual = _named(header, _TIMES) and _named(header, _SERIES)
    if said.long or usual:
        return _Long(file, header, said, task, labels).found()
    return _wide(file, header, said, task, labels)


def other_columns(file: Path, said: SeriesColumns) -> tuple[str, ...]:
    """The columns of a long table that are not of time and series."""
    header = header_of(file)
    time, series = said.time or _named(header, _TIMES), said.series or _named(header, _SERIES)
    return tuple(name for name in header if name not in (time, series, *_INDEX))


def part_column(file: Path) -> str | None:
    """The column of a table that says in which part a series is."""
    return _named(header_of(file), ("split",))


class _Long:
    """Rows of time steps, gathered column by column."""

    def __init__(
        self, file: Path, header: list[str], said: SeriesColumns, task: str | None, labels: bool
    ) -> None:
        self.file = file
        own = {"time": said.time, "series": said.series}
        own |= {"group": said.group} if labels else {}
        for word, name in own.items():
            if name is not None:
                table.column_named(file, header, name, (), f"a {word}", "")
        self.time = said.time or _named(header, _TIMES)
        self.series = said.series or _named(header, _SERIES)
        self.group = said.group if labels else None
        self.labels = _label_columns(file, header, said, task, labels)
        self.split = _named(header, ("split",)) if labels else None
        ignored = () if labels else _ignored(header, said)
        used = {self.time, self.series, self.group, self.split, *self.labels, *ignored}
        self.named = bool(said.values)
        for name in said.values:
            table.column_named(file, header, name, (), "values", "--value-column")
        self.values = said.values or tuple(name for name in header if name not in (*used, *_INDEX))
        self.notes = [_LEFT_OUT] if {*_INDEX} & {*header} - {*self.values} else []
        if not self.values:
            raise DataError(
                f"{file} has no column of values beside {', '.join(sorted(filter(None, used)))}; "
                "name one with --value-column."
            )
        self._whose, self._numbers = array("q"), array("d")
        self._stamps: list[str] = []
        self._names: dict[str, int] = {}
        self._cells: list[tuple[str, ...]] = []
        self._words: dict[int, tuple[str, str]] = {}
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def found(self) -> Found:
        """The series, in the order in which they first stand in the table."""
        self._read()
        if not self._names:
            raise DataError(f"{self.file} has no row; give one for each time step.")
        names = list(self._names)
        whose = np.frombuffer(self._whose, np.int64)
        order, unsorted = np.argsort(whose, kind="stable"), 0
        times: Stamps = np.empty(0)
        if self.time is not None:
            times = times_of(self._stamps, f"The column {self.time!r} of {self.file}")
            what = f"The column {self.time!r} of {self.file}"
            order, unsorted = in_time(times, whose, names, what)
        matrix = np.frombuffer(self._numbers, np.float64).reshape(-1, len(self.values))
        rows = np.split(order, np.flatnonzero(np.diff(whose[order])) + 1)
        if unsorted:
            count = "its rows were" if len(names) == 1 else f"{unsorted} series were"
            self.notes.append(f"{count} not in the order of {self.time!r}, and were sorted")
        parts = [self._words[k][1] for k in range(len(names))]
        return Found(
            series=[floats_of(np.ascontiguousarray(matrix[own].T)) for own in rows],
            names=names,
            channels=self.values,
            cells=[self._of_series(own) for own in rows] if self.labels else [],
            label_columns=self.labels,
            groups=[self._words[k][0] for k in range(len(names))] if self.group else None,
            given=[_part(self.file, self.split, word) for word in parts] if self.split else None,
            notes=self.notes,
            columns=self._columns(),
            times=[times[own] for own in rows] if self.time is not None else [],
        )

    def _columns(self) -> dict[str, str | int | list[str]]:
        said: dict[str, str | int | list[str] | None] = {
            "time_column": self.time,
            "series_column": self.series,
            "value_column": list(self.values),
            "label_column": list(self.labels),
            "group_column": self.group,
        }
        return {name: value for name, value in said.items() if value}

    def _of_series(self, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """The label cells of each step, or of all of them where they are the same."""
        own = [self._cells[row] for row in rows.tolist()]
        return own[:1] if all(each is own[0] for each in own) else own

    def _read(self) -> None:
        more = filter(None, (self.time, self.series, *self.values[1:]))
        columns = Columns(self.values[0], self.labels, self.group, self.split, tuple(more))
        table.check_once(self.file, header_of(self.file), columns)
        for number, row in enumerate(read_rows(self.file, _as_labels(columns)), start=1):
            name = row.get(self.series, "") if self.series else self.file.stem
            series = self._names.setdefault(name or "(no name)", len(self._names))
            self._whose.append(series)
            self._numbers.extend(_number(self, row, name, number) for name in self.values)
            if self.time is not None:
                self._stamps.append(row.get(self.time, ""))
            cells = tuple(row.get(name, "") for name in self.labels)
            self._cells.append(self._known.setdefault(cells, cells))
            self._once(series, name, row)

    def _once(self, series: int, name: str, row: Mapping[str, str]) -> None:
        """Group and part, which a series has once."""
        group, split = self.group, self.split
        own = (row.get(group, "") if group else "", row.get(split, "") if split else "")
        if self._words.setdefault(series, own) != own:
            column = self.group if self._words[series][0] != own[0] else self.split
            raise DataError(
                f"The series {name!r} of {self.file} has several words in the column {column!r}; "
                "give each series one."
            )


def _number(long: _Long, row: Mapping[str, str], name: str, number: int) -> float:
    cell = row.get(name, "")
    try:
        return _value(cell)
    except ValueError as error:
        remedy = "correct it"
        if not long.named:
            apart = "" if long.series else ", or the one that tells series apart by --series-column"
            remedy = f"name the columns of values with --value-column{apart}"
        raise DataError(
            f"Row {number} of {long.file} has {cell[:40]!r} in the column {name!r}, which is no "
            f"number; {remedy}."
        ) from error


def _value(cell: str) -> float:
    """A number, a truth as 1 or 0, or NaN where it is missing; ValueError for another word."""
    try:
        return float(cell)
    except ValueError:
        found = _WORDS.get(cell.lower())
        if found is None:
            raise
        return found


def _wide(
    file: Path, header: list[str], said: SeriesColumns, task: str | None, labels: bool
) -> Found:
    """A row a series; empty cells at its end make it shorter."""
    own = _label_columns(file, header, said, task, labels)
    group = said.group if labels else None
    if group is not None:
        table.column_named(file, header, group, (), "a group", "")
    split = _named(header, ("split",)) if labels else None
    name = next((each for each in header if each.lower() in _IDS and each not in own), None)
    ignored = () if labels else _ignored(header, said)
    used = {name, split, group, *own, *ignored}
    steps = [each for each in header if each not in (*used, *_INDEX)]
    if not steps:
        raise DataError(f"{file} has no column of values beside {', '.join(header) or 'none'}.")
    if len(set(steps)) < len(steps):
        raise DataError(f"{file} has two columns of one name; give each time step its own.")
    found = Found([], [], label_columns=own, columns=_wide_columns(own, group))
    found.notes += [_LEFT_OUT] if {*_INDEX} & {*header} else []
    groups, parts = [], []
    more = tuple(filter(None, (name, *steps[1:])))
    columns = Columns(steps[0], own, group, split, more)
    for number, row in enumerate(read_rows(file, _as_labels(columns)), start=1):
        called = (row.get(name, "") if name else "") or f"row {number}"
        values = _row_values(file, row, steps, number)
        if not values.size:
            found.skipped.append(Skipped(called, "the row has no value"))
            continue
        found.series.append(values)
        found.names.append(called)
        found.cells.append([tuple(row.get(each, "") for each in own)])
        groups.append(row.get(group, "") if group else "")
        parts.append(row.get(split, "") if split else "")
    if not found.series:
        raise DataError(f"{file} has no row with values; give one for each series.")
    found.groups = groups if group else None
    found.given = [_part(file, split, word) for word in parts] if split else None
    return found


def _wide_columns(labels: tuple[str, ...], group: str | None) -> dict[str, str | int | list[str]]:
    own: dict[str, str | int | list[str]] = {"label_column": list(labels)} if labels else {}
    return own if group is None else {**own, "group_column": group}


def _row_values(file: Path, row: Mapping[str, str], steps: Sequence[str], number: int) -> Floats:
    cells = [row.get(step, "") for step in steps]
    while cells and not cells[-1]:
        cells.pop()
    try:
        found = [_value(each) for each in cells]
    except ValueError as error:
        raise DataError(
            f"Row {number} of {file} has a value that is no number ({error}); a wide table has "
            "numbers beside label, group and id, and a long one is read by --time-column or "
            "--series-column."
        ) from error
    return floats_of(np.array([found], np.float64))


def _label_columns(
    file: Path, header: Sequence[str], said: SeriesColumns, task: str | None, labels: bool
) -> tuple[str, ...]:
    return table.label_columns_of(file, header, said.labels, task) if labels else ()


def _ignored(header: Sequence[str], said: SeriesColumns) -> list[str]:
    """What a table for prediction may have besides, and is not looked at."""
    more = (*said.labels, said.group, _named(header, _LABELS[:5]), _named(header, ("split",)))
    return [name for name in more if name is not None]


def _named(header: Sequence[str], usual: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(header)}
    return next((by_lower[name] for name in usual if name in by_lower), None)


def _as_labels(columns: Columns) -> Columns:
    """The same columns, none of which must hold texts, as paths must."""
    return columns._replace(path="", labels=(columns.path, *columns.labels))


def _part(file: Path, column: str | None, word: str) -> int:
    part = part_number(word) if word else -1
    if part is None:
        raise DataError(
            f"{file} has {word!r} in the column {column!r}; allowed are train, validation, test "
            "and nothing."
        )
    return part
