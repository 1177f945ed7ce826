"""Answers as tables: CSV or Parquet, chosen by the file's ending, written a block at a time."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convarium import files
from convarium.errors import OptionError

_BLOCK = 65536


def write_table(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows with equal keys to `path` atomically, in constant memory; gives their number.

    Args:
        path: ends in `.csv` (UTF-8, with a header) or `.parquet`.
        rows: mappings of column name to number, text or None, all with the first one's keys.

    Raises:
        OptionError: the file's ending is neither.
        RunError: the file cannot be written.
    """
    check_table_name(path)
    path = Path(path)
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    with files.atomic(path) as temporary:
        return write(temporary, _blocks(rows))


def check_table_name(path: str | Path) -> None:
    """Refuse a name that `write_table` cannot write, before there is anything to write.

    Raises:
        OptionError: the name ends in neither `.csv` nor `.parquet`.
    """
    if Path(path).suffix.lower() not in (".csv", ".parquet"):
        raise OptionError(f"A table's file (={str(path)!r}) must end in .csv or .parquet.")


def _blocks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    iterator = iter(rows)
    while block := list(itertools.islice(iterator, _BLOCK)):
        yield block


def _write_csv(path: Path, blocks: Iterator[list[Mapping[str, Any]]]) -> int:
    count = 0
    with open(path, "w", newline="", encoding="utf-8") as file:
        for block in blocks:
            writer = csv.DictWriter(file, fieldnames=list(block[0]))
            if count == 0:
                writer.writeheader()
            writer.writerows(block)
            count += len(block)
    return count


def _write_parquet(path: Path, blocks: Iterator[list[Mapping[str, Any]]]) -> int:
    import pyarrow as arrow
    from pyarrow import parquet

    first = next(blocks, [])
    table = arrow.Table.from_pylist(first)
    with open(path, "wb") as file, parquet.ParquetWriter(file, table.schema) as writer:
        writer.write_table(table)
        count = len(first)
        for block in blocks:
            writer.write_table(arrow.Table.from_pylist(block, schema=table.schema))
            count += len(block)
    return count
