"""Tables of path and label: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convarium.data.classes import may_be_mirrored
from convarium.data.dataset import Dataset
from convarium.data.given import part_number
from convarium.data.kinds import file_samples
from convarium.data.labels import cells_of
from convarium.data.names import Names
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError, did_you_mean

_PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", *_PARQUET)
PATH_NAMES = ("path", "file", "image", "filename", "file_name", "image_path", "filepath", "volume")
_LABEL = ("label", "class", "target", "category", "class_name")
_LABELS = ("labels", "classes", "targets", "tags", "value")  # of other tasks, besides
_MOST_REFUSED = 0.1
_SPLIT = ("split",)


class Columns(NamedTuple):
    """The names of the columns in use; None where the table has none."""

    path: str
    labels: tuple[str, ...]
    group: str | None
    split: str | None
    more: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(filter(None, (self.path, *self.labels, self.group, self.split, *self.more)))

    @property
    def keywords(self) -> dict[str, str | list[str]]:
        """The keywords of `open_dataset` that name them."""
        own: dict[str, str | list[str]] = {"path_column": self.path}
        own["label_column"] = list(self.labels)
        return own if self.group is None else {**own, "group_column": self.group}


def open_table(
    file: Path,
    *,
    path_column: str | None = None,
    label_columns: Sequence[str] = (),
    group_column: str | None = None,
    task: str | None = None,
    kind: str | None = None,
) -> Dataset:
    """A data set from a table with one row a sample.

    Image paths are relative to the table's folder. Without a name, the columns are found by their
    usual names: path, file or image; label, class or target. A column `split` with train,
    validation and test gives the parts; an empty cell there leaves the row free. Rows without a
    path or a label are skipped and listed; more than a tenth whose cells are no label of the task
    are an error.

    Raises:
        DataError: the table cannot be read, or a column is not there, is there twice, or holds
            something else than texts (labels and groups: or single values).
    """
    header = header_of(file)
    columns = Columns(
        column_named(file, header, path_column, PATH_NAMES, "an image path", "--path-column"),
        _label_columns(file, header, label_columns, task),
        column_named(file, header, group_column, (), "a group", "") if group_column else None,
        next((name for name in header if name.lower() in _SPLIT), None),
    )
    for name in columns.names:
        if header.count(name) > 1:
            raise DataError(
                f"{file} has {header.count(name)} columns named {name!r}; rename all but one."
            )
    rows = Rows(file, columns, task)
    names = Names.of(rows)
    _check_refused(file, rows, len(names))
    if not names:
        raise DataError(f"{file} has no row with a path and a label; give one row for each image.")
    found = rows.cells.labels()
    return Dataset(
        file_samples(str(file.parent.resolve()), names, kind),
        source=str(file),
        task=task or "classification",
        classes=found.classes,
        targets=found.targets,
        units=found.units,
        groups=np.frombuffer(rows.groups, np.int64) if columns.group else None,
        given=np.frombuffer(rows.parts, np.int8) if columns.split else None,
        skipped=rows.skipped,
        mirrored=task != "regression" and may_be_mirrored(found.classes),
        columns=columns.keywords,
    )


class Rows:
    """Iterates over the image paths and collects the other columns beside them."""

    def __init__(self, file: Path, columns: Columns, task: str | None) -> None:
        self.file, self.columns = file, columns
        self.cells = cells_of(task, columns.labels)
        self.groups, self.parts = array("q"), array("b")
        self.group_words: dict[str, int] = {}
        self.skipped = SkipList()
        self.more: dict[str, list[str]] = {name: [] for name in columns.more}

    def __iter__(self) -> Iterator[str]:
        names = self.columns
        for number, row in enumerate(_read_rows(self.file, names), start=1):
            path = row.get(names.path, "")
            problem = "the row has no path"
            if path:
                problem = self.cells.add([row.get(name, "") for name in names.labels]) or ""
            if problem:
                self.skipped.append(Skipped(path or f"row {number}", problem))
                continue
            if names.group is not None:
                self.groups.append(self._group(row.get(names.group, ""), number))
            if names.split is not None:
                self.parts.append(self._part(row.get(names.split, ""), number))
            for name, words in self.more.items():
                words.append(row.get(name, ""))
            yield path

    def _group(self, word: str, number: int) -> int:
        """Number of a group; a row without one is a group of its own."""
        key = word or f"\0{number}"
        return self.group_words.setdefault(key, len(self.group_words))

    def _part(self, word: str, number: int) -> int:
        part = part_number(word) if word else -1
        if part is None:
            raise DataError(
                f"Row {number} of {self.file} has {word!r} in the column {self.columns.split!r}; "
                "allowed are train, validation, test and nothing."
            )
        return part


def _check_refused(file: Path, rows: Rows, taken: int) -> None:
    refused = rows.cells.refused
    if refused > _MOST_REFUSED * (refused + taken):
        first = next(item for item in rows.skipped if not item.reason.startswith("the row"))
        raise DataError(
            f"{refused} of {refused + taken} rows of {file} have no usable label ({first.name}: "
            f"{first.reason}); correct them, or name another column or --task."
        )


def _label_columns(
    file: Path, header: Sequence[str], wanted: Sequence[str], task: str | None
) -> tuple[str, ...]:
    """The label columns that are named, or the one with a usual name."""
    usual = _LABEL if task in (None, "classification") else (*_LABEL, *_LABELS)
    found = [
        column_named(file, header, name, usual, "a label", "--label-column")
        for name in wanted or (None,)
    ]
    repeated = next((name for name in found if found.count(name) > 1), None)
    if repeated is not None:
        raise DataError(f"The label column {repeated!r} is named twice; name each once.")
    return tuple(found)


def header_of(file: Path) -> list[str]:
    """The names of a table's columns.

    Raises:
        DataError: the file cannot be read.
    """
    if file.suffix.lower() in _PARQUET:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(file).names)
        except (OSError, ValueError, pa.lib.ArrowException) as error:
            raise DataError(f"Cannot read {file} as Parquet: {_in_one_line(error)}.") from error
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            return [
                name.strip() for name in next(csv.reader(lines, delimiter=_delimiter(file)), [])
            ]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"Cannot read {file} as a table in UTF-8: {error}.") from error


def _delimiter(file: Path) -> str:
    """Of tab, semicolon and comma the one that the first line has most often."""
    with open(file, encoding="utf-8-sig") as lines:
        first = lines.readline()
    return max(",;\t", key=first.count)


def column_named(
    file: Path,
    header: Sequence[str],
    wanted: str | None,
    usual: Sequence[str],
    what: str,
    flag: str,
) -> str:
    """The column that is wanted, or the one with a usual name.

    Raises:
        DataError: the table has none.
    """
    if wanted is not None:
        if wanted in header:
            return wanted
        problem = f"{file} has no column {wanted!r}"
    else:
        by_lower = {name.lower(): name for name in reversed(header)}
        found = [by_lower[name] for name in usual if name in by_lower]
        if found:
            return found[0]
        problem = f"{file} has no column for {what} ({', '.join(usual[:3])}); name it with {flag}"
    hint = did_you_mean(wanted or usual[0], header)
    raise DataError(f"{problem}; its columns are: {', '.join(header) or 'none'}.{hint}")


def _read_rows(file: Path, columns: Columns) -> Iterator[Mapping[str, str]]:
    """One mapping from column to stripped text a row, read piece by piece."""
    if file.suffix.lower() in _PARQUET:
        yield from _parquet_rows(file, columns)
        return
    try:
        yield from _csv_rows(file)
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"Cannot read {file} as a table in UTF-8: {error}.") from error


def _csv_rows(file: Path) -> Iterator[Mapping[str, str]]:
    with open(file, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=_delimiter(file))
        header = [name.strip() for name in next(reader, [])]
        for row in reader:
            if row:
                yield dict(zip(header, map(str.strip, row), strict=False))


def _parquet_rows(file: Path, columns: Columns) -> Iterator[Mapping[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(dict.fromkeys(columns.names))
    try:
        table = pq.ParquetFile(file)
        _check_types(file, table.schema_arrow, columns)
        for batch in table.iter_batches(batch_size=4096, columns=names):
            values = [batch.column(name).to_pylist() for name in names]
            for row in zip(*values, strict=True):
                texts = ("" if value is None else str(value).strip() for value in row)
                yield dict(zip(names, texts, strict=True))
    except (OSError, ValueError, pa.lib.ArrowException) as error:
        raise DataError(f"Cannot read {file} as Parquet: {_in_one_line(error)}.") from error


def _check_types(file: Path, schema: Any, columns: Columns) -> None:
    """Paths must be texts; labels, groups and parts must be texts or other single values."""
    from pyarrow import types

    for name in columns.names:
        kind = schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        binary = types.is_binary(kind) or types.is_large_binary(kind)
        single = not (types.is_nested(kind) or binary or types.is_fixed_size_binary(kind))
        text = types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"
        if not single or (name == columns.path and not text):
            what = "texts" if name == columns.path else "texts or numbers"
            raise DataError(
                f"The column {name!r} of {file} has the type {kind}; it must hold {what}, so "
                "convert it or name another column."
            )


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
