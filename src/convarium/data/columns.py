"""Further columns of a table: one word for each sample of a data set that came from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from convarium.data import table
from convarium.data.dataset import Dataset
from convarium.data.table_rows import Columns, header_of
from convarium.errors import DataError, OptionError


def column_words(dataset: Dataset, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What stands in columns that the data set itself does not need, such as sites or cameras.

    Args:
        dataset: as `open_dataset` read it from a CSV, TSV or Parquet table.
        names: of the columns.

    Returns:
        For each column one word a sample, in the order of the samples; empty cells are empty words.

    Raises:
        OptionError: the data set is from no table.
        DataError: the table has no such column, or was changed since.
    """
    file = Path(dataset.source)
    if file.suffix.lower() not in table.SUFFIXES or "path_column" not in dataset.columns:
        raise OptionError(
            f"A column ({names[0]!r}) needs a CSV, TSV or Parquet table of files, and "
            f"{dataset.source} is none; give one with a row for each sample."
        )
    header = header_of(file)
    found = tuple(table.column_named(file, header, name, (), "", "") for name in names)
    labels = dataset.columns["label_column"]
    columns = Columns(
        path=str(dataset.columns["path_column"]),
        labels=tuple(labels) if isinstance(labels, list) else (str(labels),),
        group=None,
        split=None,
        more=tuple(dict.fromkeys(found)),
    )
    rows = table.Rows(file, columns, dataset.task)
    deque(rows, maxlen=0)
    if any(len(words) != len(dataset) for words in rows.more.values()):
        raise DataError(f"{file} has other rows than when it was opened; open it again.")
    return {name: tuple(words) for name, words in rows.more.items()}
