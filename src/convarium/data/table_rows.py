"""Rows of CSV, TSV and Parquet tables: their columns, and one mapping of texts a row."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convarium.errors import DataError

_PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", *_PARQUET)
_LONGEST_CELL = 2**30  # characters


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
        raise _unread(file, error) from error


def _delimiter(file: Path) -> str:
    """Of tab, semicolon and comma the one that the first line has most often."""
    with open(file, encoding="utf-8-sig") as lines:
        first = lines.readline()
    return max(",;\t", key=first.count)


def read_rows(file: Path, columns: Columns) -> Iterator[Mapping[str, str]]:
    """One mapping from column to stripped text a row, read piece by piece.

    Raises:
        DataError: the file cannot be read, or a row has more cells than there are columns.
    """
    if file.suffix.lower() in _PARQUET:
        yield from _parquet_rows(file, columns)
        return
    try:
        with _long_cells():
            yield from _csv_rows(file)
    except (OSError, UnicodeError, csv.Error) as error:
        raise _unread(file, error) from error


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Inside, a cell may hold a whole document."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _unread(file: Path, error: Exception) -> DataError:
    remedy = "; save it as UTF-8" if isinstance(error, UnicodeError) else ""
    return DataError(f"Cannot read {file} as a table in UTF-8: {error}{remedy}.")


def _csv_rows(file: Path) -> Iterator[Mapping[str, str]]:
    with open(file, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=_delimiter(file))
        header = [name.strip() for name in next(reader, [])]
        for number, row in enumerate(filter(None, reader), start=1):
            if any(map(str.strip, row[len(header) :])):
                raise DataError(
                    f"Row {number} of {file} has {len(row)} cells, and the table {len(header)} "
                    f"columns; put a cell that holds {_delimiter(file)!r} into double quotes."
                )
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
                texts = ("" if _lacks(value) else str(value).strip() for value in row)
                yield dict(zip(names, texts, strict=True))
    except (OSError, ValueError, pa.lib.ArrowException) as error:
        raise DataError(f"Cannot read {file} as Parquet: {_in_one_line(error)}.") from error


def _lacks(value: object) -> bool:
    """Whether a cell is empty, or a number that is none."""
    return value is None or value != value


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
