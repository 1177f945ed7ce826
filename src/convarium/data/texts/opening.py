"""Texts from tables, files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convarium.data import folder, table
from convarium.data.dataset import Dataset
from convarium.data.skipping import SkipList
from convarium.data.table_rows import Columns, header_of
from convarium.data.texts.samples import TextFiles, Texts
from convarium.errors import DataError, OptionError

TEXT_NAMES = ("text", "description", "content", "body", "document", "review", "sentence")
_ID_NAMES = ("id", "item_id", "doc_id", "document_id")


def open_texts(
    source: str | Path,
    *,
    text_column: Sequence[str] = (),
    label_columns: Sequence[str] = (),
    group_column: str | None = None,
    task: str | None = None,
    separator: str | None = None,
) -> Dataset:
    """Labelled texts: a table with a row a text, or a folder of class folders with .txt files.

    Args:
        source: a CSV, TSV or Parquet table, or a folder.
        text_column: columns of the text, which are joined in their order; without, the one with a
            usual name such as text or description.
        label_columns: likewise of the labels.
        group_column: of groups that a split keeps together.
        task: what the labels are; None is classification.
        separator: of several labels in one cell; None takes `;` and `|`.

    Raises:
        DataError: it cannot be read or used, or a column is not there.
        OptionError: columns of a folder.
    """
    path = Path(source)
    if path.is_dir():
        named = next(iter([*text_column, *label_columns, *filter(None, [group_column])]), None)
        if named is not None or separator is not None:
            raise OptionError(
                f"A column ({named or separator!r}) belongs to a table, and {path} is a folder."
            )
        return folder.open_folder(path, "texts")
    if not path.is_file() or path.suffix.lower() not in table.SUFFIXES:
        raise DataError(
            f"{path} is no table and no folder of texts; give a .csv, .tsv or .parquet file, or a "
            "folder of class folders with .txt files."
        )
    return _from_table(path, text_column, label_columns, group_column, task, separator)


def text_inputs(
    inputs: Sequence[str | Path], kind: str, columns: Mapping[str, Any] | None = None
) -> Dataset:
    """Unlabelled texts from tables, and from .txt files, folders of them and patterns.

    Args:
        inputs: what is to be read: tables, or files; not both.
        kind: "texts".
        columns: `text_column` and `id_column` of tables, where they are given.

    Raises:
        DataError: nothing is there, no text is found, or tables and files are mixed.
    """
    given = dict(columns or {})
    paths = [Path(item) for item in inputs]
    tables = [path.suffix.lower() in table.SUFFIXES and path.is_file() for path in paths]
    if all(tables):
        return _from_tables(paths, given.get("text_column") or (), given.get("id_column"))
    if any(tables):
        raise DataError(
            f"{paths[tables.index(True)]} is a table, and other inputs are none; give either "
            "tables or files of texts."
        )
    from convarium.data.opening import listed_inputs

    names, skipped = listed_inputs(inputs, kind)
    return Dataset(
        TextFiles(os.getcwd(), names), source=", ".join(map(str, inputs[:3])), skipped=skipped
    )


class _TextRows(table.Rows):
    """Iterates over the texts of rows, and keeps their names.

    Args:
        columns: the first text column as the path, the others and that of the ids among the rest.
        texts: the text columns.
        id_column: of the texts' names; None numbers the rows.
    """

    lacking = "the row has no text"

    def __init__(
        self,
        file: Path,
        columns: Columns,
        texts: Sequence[str],
        id_column: str | None,
        task: str | None = None,
        separator: str | None = None,
    ) -> None:
        super().__init__(file, columns, task, separator)
        self._texts, self._id = texts, id_column
        self.names: list[str] = []

    def sample(self, row: Mapping[str, str]) -> str:
        """The text columns, with a line end between them."""
        return "\n".join(filter(None, (row.get(name, "") for name in self._texts)))

    def named(self, sample: str, row: Mapping[str, str], number: int) -> str:
        """The row's id, or its number."""
        return (row.get(self._id, "") if self._id else "") or f"row {number}"

    def taken(self, sample: str, row: Mapping[str, str], number: int) -> None:
        """Its name is kept."""
        self.names.append(self.named(sample, row, number))


def _columns(
    file: Path,
    text_column: Sequence[str],
    labels: Sequence[str],
    group: str | None,
    id_column: str | None,
    split: bool,
) -> tuple[Columns, tuple[str, ...], str | None]:
    """The columns in use, those of the text, and that of the ids."""
    header = header_of(file)
    texts = tuple(
        table.column_named(file, header, name, TEXT_NAMES, "a text", "--text")
        for name in text_column or (None,)
    )
    twice = next((name for name in texts if name in labels), None)
    if twice is not None:
        raise DataError(
            f"The column {twice!r} of {file} is asked for both as a text and as a label; name "
            "another one with --text or --label."
        )
    used = {*texts, *labels, group}
    by_lower = {name.lower(): name for name in reversed(header) if name not in used}
    if id_column is None:
        id_column = next((by_lower[name] for name in _ID_NAMES if name in by_lower), None)
    else:
        table.column_named(file, header, id_column, (), "an id", "--id")
    if group is not None:
        table.column_named(file, header, group, (), "a group", "")
    part = next((name for name in header if split and name.lower() == "split"), None)
    more = (*texts[1:], *([id_column] if id_column else []))
    columns = Columns(texts[0], tuple(labels), group, part, more)
    table.check_once(file, header, columns)
    return columns, texts, id_column


def _from_table(
    file: Path,
    text_column: Sequence[str],
    label_columns: Sequence[str],
    group: str | None,
    task: str | None,
    separator: str | None,
) -> Dataset:
    labels = table.label_columns_of(file, header_of(file), label_columns, task)
    columns, texts, id_column = _columns(file, text_column, labels, group, None, True)
    rows = _TextRows(file, columns, texts, id_column, task, separator)
    found = Texts(rows)
    table.check_refused(file, rows, len(found))
    if not len(found):
        raise DataError(f"{file} has no row with a text and a label; give one row for each text.")
    cells = rows.cells.labels()
    named: dict[str, str | list[str]] = {
        "text_column": list(texts),
        "label_column": list(columns.labels),
    }
    named |= {} if group is None else {"group_column": group}
    named |= {} if separator is None else {"separator": separator}
    return Dataset(
        found.called(rows.names),
        source=str(file),
        task=task or "classification",
        classes=cells.classes,
        targets=cells.targets,
        units=cells.units,
        groups=np.frombuffer(rows.groups, np.int64) if group else None,
        given=np.frombuffer(rows.parts, np.int8) if columns.split else None,
        skipped=rows.skipped,
        mirrored=False,
        columns=named,
    )


def _from_tables(
    files: Sequence[Path], text_column: Sequence[str], id_column: str | None
) -> Dataset:
    """The texts of all rows of some tables; rows without one are listed."""
    names, skipped = list[str](), SkipList()

    def texts() -> Iterator[str]:
        for file in files:
            columns, own, ids = _columns(file, text_column, (), None, id_column, False)
            rows = _TextRows(file, columns, own, ids)
            yield from rows
            names.extend(rows.names)
            skipped.extend(rows.skipped)

    found = Texts(texts())
    if not len(found):
        first = f" ({skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise DataError(
            f"No row of {', '.join(map(str, files[:3]))} has a text{first}; name its column with "
            "--text."
        )
    source = ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
    return Dataset(found.called(names), source=source, skipped=skipped)
