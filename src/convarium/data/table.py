"""Tables of path and label: CSV, TSV and Parquet."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset, Skipped
from convarium.data.folder import PARTS
from convarium.data.names import Names
from convarium.data.samples import FileSamples
from convarium.errors import DataError, did_you_mean

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
_PATH = ("path", "file", "image", "filename", "file_name", "image_path", "filepath")
_LABEL = ("label", "class", "target", "category", "class_name")
_SPLIT = ("split",)


class Columns(NamedTuple):
    """The names of the columns in use; None where the table has none."""

    path: str
    label: str
    group: str | None
    split: str | None


def open_table(
    file: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> Dataset:
    """A data set from a table with one row an image.

    Image paths are relative to the table's folder. Without a name, the columns are found by their
    usual names: path, file or image; label, class or target. A column `split` with train,
    validation and test gives the parts; an empty cell there leaves the row free. Rows without a
    path or a label are skipped and listed.

    Raises:
        DataError: the table cannot be read, or a column is not there.
    """
    header = _header(file)
    columns = Columns(
        _column(file, header, path_column, _PATH, "an image path", "--path-column"),
        _column(file, header, label_column, _LABEL, "a label", "--label-column"),
        _column(file, header, group_column, (), "a group", "") if group_column else None,
        next((name for name in header if name.lower() in _SPLIT), None),
    )
    rows = _Rows(file, columns)
    names = Names.of(rows)
    if not names:
        raise DataError(f"{file} has no row with a path and a label; give one row for each image.")
    classes, targets = _numbered(rows.labels, rows.label_words)
    return Dataset(
        FileSamples(str(file.parent.resolve()), names),
        source=str(file),
        classes=classes,
        targets=targets,
        groups=np.frombuffer(rows.groups, np.int64) if columns.group else None,
        given=np.frombuffer(rows.parts, np.int8) if columns.split else None,
        skipped=rows.skipped,
    )


def number_classes(words: Sequence[str]) -> list[str]:
    """Class names in order: as numbers where all are whole numbers, else by letters.

    >>> number_classes(["10", "9"]), number_classes(["b", "a10", "a9"])
    (['9', '10'], ['a10', 'a9', 'b'])
    """
    try:
        return sorted(words, key=int)
    except ValueError:
        return sorted(words)


class _Rows:
    """Iterates over the image paths and collects the other columns beside them."""

    def __init__(self, file: Path, columns: Columns) -> None:
        self.file, self.columns = file, columns
        self.labels, self.groups, self.parts = array("q"), array("q"), array("b")
        self.label_words: dict[str, int] = {}
        self.group_words: dict[str, int] = {}
        self.skipped: list[Skipped] = []

    def __iter__(self) -> Iterator[str]:
        names = self.columns
        for number, row in enumerate(_read_rows(self.file, names), start=1):
            path, label = row.get(names.path, ""), row.get(names.label, "")
            if not path or not label:
                missing = "label" if path else "path"
                self.skipped.append(Skipped(path or f"row {number}", f"the row has no {missing}"))
                continue
            self.labels.append(self.label_words.setdefault(label, len(self.label_words)))
            if names.group is not None:
                self.groups.append(self._group(row.get(names.group, ""), number))
            if names.split is not None:
                self.parts.append(self._part(row.get(names.split, ""), number))
            yield path

    def _group(self, word: str, number: int) -> int:
        """Number of a group; a row without one is a group of its own."""
        key = word or f"\0{number}"
        return self.group_words.setdefault(key, len(self.group_words))

    def _part(self, word: str, number: int) -> int:
        part = PARTS.get(word.lower(), None if word else -1)
        if part is None:
            raise DataError(
                f"Row {number} of {self.file} has {word!r} in the column {self.columns.split!r}; "
                "allowed are train, validation, test and nothing."
            )
        return part


def _header(file: Path) -> list[str]:
    if file.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(file).names)
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot read {file} as Parquet: {error}.") from error
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


def _column(
    file: Path,
    header: Sequence[str],
    wanted: str | None,
    usual: Sequence[str],
    what: str,
    flag: str,
) -> str:
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
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            yield from _parquet_rows(file, [name for name in columns if name is not None])
        else:
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


def _parquet_rows(file: Path, columns: list[str]) -> Iterator[Mapping[str, str]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(batch_size=4096, columns=columns):
        values = [batch.column(name).to_pylist() for name in columns]
        for row in zip(*values, strict=True):
            texts = ("" if value is None else str(value).strip() for value in row)
            yield dict(zip(columns, texts, strict=True))


def _numbered(labels: array[int], words: Mapping[str, int]) -> tuple[list[str], NDArray[np.int64]]:
    """Class names in order, and the labels numbered by it."""
    classes = number_classes(list(words))
    place = np.empty(len(classes), np.int64)
    for number, word in enumerate(classes):
        place[words[word]] = number
    return classes, place[np.frombuffer(labels, np.int64)]
