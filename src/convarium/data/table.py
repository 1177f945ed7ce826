"""Tables of path and label: CSV, TSV and Parquet."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from convarium.data.classes import may_be_mirrored
from convarium.data.dataset import Dataset
from convarium.data.given import part_number
from convarium.data.kinds import file_samples
from convarium.data.labels import cells_of
from convarium.data.names import Names
from convarium.data.skipping import SkipList, Skipped
from convarium.data.table_rows import SUFFIXES as SUFFIXES
from convarium.data.table_rows import Columns, header_of, read_rows
from convarium.errors import DataError, did_you_mean

PATH_NAMES = ("path", "file", "image", "filename", "file_name", "image_path", "filepath", "volume")
_LABEL = ("label", "class", "target", "category", "class_name")
_LABELS = ("labels", "classes", "targets", "tags", "value")  # of other tasks, besides
_MOST_REFUSED = 0.1
_SPLIT = ("split",)
_PATH_FLAG = "--path-column, or a column of texts with --text"


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
        column_named(file, header, path_column, PATH_NAMES, "an image path", _PATH_FLAG),
        label_columns_of(file, header, label_columns, task),
        column_named(file, header, group_column, (), "a group", "") if group_column else None,
        next((name for name in header if name.lower() in _SPLIT), None),
    )
    check_once(file, header, columns)
    rows = Rows(file, columns, task)
    names = Names.of(rows)
    check_refused(file, rows, len(names))
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
    """Iterates over the image paths and collects the other columns beside them.

    Args:
        file: the table.
        columns: in use.
        task: what the labels are; None is classification.
        separator: of several labels in one cell, where it is given.
    """

    lacking = "the row has no path"

    def __init__(
        self, file: Path, columns: Columns, task: str | None, separator: str | None = None
    ) -> None:
        self.file, self.columns = file, columns
        self.cells = cells_of(task, columns.labels, separator)
        self.groups, self.parts = array("q"), array("b")
        self.group_words: dict[str, int] = {}
        self.skipped = SkipList()
        self.more: dict[str, list[str]] = {name: [] for name in columns.more}

    def __iter__(self) -> Iterator[str]:
        names = self.columns
        for number, row in enumerate(read_rows(self.file, names), start=1):
            path, problem = self.sample(row), self.lacking
            if path:
                problem = self.cells.add([row.get(name, "") for name in names.labels]) or ""
            if problem:
                self.skipped.append(Skipped(self.named(path, row, number), problem))
                continue
            self.taken(path, row, number)
            if names.group is not None:
                self.groups.append(self._group(row.get(names.group, ""), number))
            if names.split is not None:
                self.parts.append(self._part(row.get(names.split, ""), number))
            for name, words in self.more.items():
                words.append(row.get(name, ""))
            yield path

    def sample(self, row: Mapping[str, str]) -> str:
        """What a row names; nothing where it lacks it."""
        return row.get(self.columns.path, "")

    def named(self, sample: str, row: Mapping[str, str], number: int) -> str:
        """What a row is called where it is left out."""
        return sample or f"row {number}"

    def taken(self, sample: str, row: Mapping[str, str], number: int) -> None:
        """Told of each row that is not left out."""

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


def check_once(file: Path, header: Sequence[str], columns: Columns) -> None:
    """Refuse a table that has a column in use twice.

    Raises:
        DataError: so.
    """
    for name in columns.names:
        if header.count(name) > 1:
            raise DataError(
                f"{file} has {header.count(name)} columns named {name!r}; rename all but one."
            )


def check_refused(file: Path, rows: Rows, taken: int) -> None:
    """Refuse a table of which more than a tenth of the rows have no label of the task.

    Raises:
        DataError: so.
    """
    refused = rows.cells.refused
    if refused > _MOST_REFUSED * (refused + taken):
        first = next(item for item in rows.skipped if not item.reason.startswith("the row"))
        raise DataError(
            f"{refused} of {refused + taken} rows of {file} have no usable label ({first.name}: "
            f"{first.reason}); correct them, or name another column or --task."
        )


def label_columns_of(
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
