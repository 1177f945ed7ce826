"""Data sets of the library Hugging Face `datasets`, with random access to their rows.

    hf:OWNER/NAME[:CONFIG]     fetched from the Hub, and kept by the library
    a folder                   that `save_to_disk` wrote
    Parquet files              with images in them; the library keeps an Arrow copy
    an object in Python        a `datasets.Dataset` or `DatasetDict`

Only the library's public names are used, so that its newer releases do as well.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.given import PARTS, part_number
from convarium.data.samples import EncodedSamples
from convarium.data.shards.columns import Columns, LabelReader, find_columns, image_file
from convarium.data.shards.rows import Rows
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError, import_extra

EXTRA = "datasets"
_ROWS = 1_000


class LibrarySamples(EncodedSamples):
    """Rows of one or more data sets of the library, in which images stay encoded.

    Args:
        tables: what the library reads, with one column: the images.
        column: its name.
        words: a name for each table, which the samples' names begin with.
        rows: numbers of the rows in use, counted through all tables, int64 `(N,)`.
    """

    def __init__(
        self, tables: Sequence[Any], column: str, words: Sequence[str], rows: NDArray[np.int64]
    ) -> None:
        self.tables, self.column, self.words, self.rows = tables, column, words, rows
        self._ends = np.cumsum([len(table) for table in tables])

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, i: int) -> str:
        """Word of the table and number of the row in it."""
        table, row = self._place(i)
        return f"{self.words[table]}/{row}"

    def encoded(self, i: int) -> str | bytes:
        """What the row has: bytes or a path."""
        table, row = self._place(i)
        try:
            cell = self.tables[table][row][self.column]
        except (OSError, ValueError) as error:
            raise DataError(f"the row cannot be read ({error})") from error
        return image_file(cell)

    def _place(self, i: int) -> tuple[int, int]:
        row = int(self.rows[i])
        table = int(np.searchsorted(self._ends, row, side="right"))
        return table, row - (int(self._ends[table - 1]) if table else 0)


def library() -> ModuleType:
    """The library.

    Raises:
        MissingExtraError: it is not installed.
    """
    return import_extra("datasets", EXTRA)


def is_library_object(source: object) -> bool:
    """Whether something given in Python is a data set of the library; it is not imported for it."""
    return type(source).__module__.split(".")[0] == "datasets"


def is_saved(path: Path) -> bool:
    """Whether a folder is one that `save_to_disk` wrote."""
    table = (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    return table or (path / "dataset_dict.json").is_file()


def load_saved(path: Path) -> Any:
    """What `save_to_disk` wrote.

    Raises:
        DataError: it cannot be read.
    """
    with explained(f"Cannot read {path}", "save it again with save_to_disk"):
        return library().load_from_disk(str(path))


def load_parquet(files: Mapping[str, Sequence[Path]]) -> Any:
    """Parquet files by the words of their parts, as the library keeps them in its own cache.

    Raises:
        DataError: a file cannot be read, or the files' columns differ.
    """
    named = {word: [str(file) for file in some] for word, some in files.items()}
    first = next(iter(next(iter(named.values()))))
    with explained(f"Cannot read {first} and the files beside it", "write them anew"), quiet():
        return library().load_dataset("parquet", data_files=named)


def open_library(
    given: Any,
    source: str,
    *,
    image: str | None = None,
    labels: Sequence[str] = (),
    group: str | None = None,
    task: str | None = None,
) -> Dataset:
    """A data set from the library's `Dataset` or `DatasetDict`.

    Splits that are called train, validation and test (or val, valid, dev) give the parts; a single
    split gives none. Rows without a label are skipped and listed.

    Args:
        given: the library's object.
        source: what the user named.
        image, labels, group: names of columns, where they are given.
        task: as `open_dataset` has it.

    Raises:
        DataError: it has no rows, no column of images or labels, or unusable labels.
        OptionError: the task does not fit the columns.
    """
    skipped = SkipList()
    splits = _splits(given, source, skipped)
    features = next(iter(splits.values())).features
    columns = find_columns(source, features, image=image, labels=labels, group=group)
    rows = Rows(source, LabelReader(source, features, columns, task), columns, skipped)
    for word, table in splits.items():
        rows.add(word, part_number(word), _cells(table, columns))
    samples = LibrarySamples(
        [encoded_images(table, columns.image) for table in splits.values()],
        columns.image,
        tuple(splits),
        np.frombuffer(rows.numbers, np.int64),
    )
    return rows.dataset(samples)


def encoded_images(table: Any, column: str) -> Any:
    """The library's data set with its images alone, as bytes or paths; nothing is decoded."""
    only = table.select_columns([column])
    if type(only.features[column]).__name__ != "Image":
        return only.with_format(None)
    return only.cast_column(column, library().Image(decode=False)).with_format(None)


def passing(stream: Any, source: str) -> Iterator[Any]:
    """The rows of one of the library's streams.

    Raises:
        DataError: it cannot be read on.
    """
    with explained(f"Cannot read {source} on", "look at its files or the network, and try again"):
        yield from stream


def leave_out(splits: dict[str, Any], skipped: SkipList, reason: str) -> None:
    """Take the splits that are no part out, and list them."""
    for word in [word for word in splits if part_number(word) is None]:
        del splits[word]
        skipped.append(Skipped(word, reason))


@contextlib.contextmanager
def explained(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever the library raises about data into one sentence with a remedy.

    Raises:
        DataError: so.
    """
    import pyarrow as pa

    known = (library().exceptions.DatasetsError, pa.lib.ArrowException)
    try:
        yield
    except (*known, OSError, ValueError, RuntimeError) as error:
        told: BaseException = error
        while type(told).__name__ == "DatasetGenerationError" and told.__cause__ is not None:
            told = told.__cause__
        reason = " ".join(str(told).split()) or type(told).__name__
        raise DataError(f"{what} ({reason[:300].rstrip('.')}); {remedy}.") from error


def _splits(given: Any, source: str, skipped: SkipList) -> dict[str, Any]:
    """The library's tables by their words; beside known parts, other splits are left out."""
    if type(given).__name__.startswith("Iterable"):
        raise DataError(
            f"{source} is a stream without random access; give it to data.open_stream, or use "
            "--stream."
        )
    if not isinstance(given, Mapping):
        given = {str(given.split or "row"): given}
    splits = {str(word): table for word, table in given.items() if len(table)}
    if any(part_number(word) is not None for word in splits):
        leave_out(splits, skipped, f"a split that is none of {', '.join(PARTS)}")
    elif len(splits) > 1:
        raise DataError(
            f"{source} has the splits {', '.join(splits)}, and none is called train; give one of "
            "them to data.open_dataset in Python, or name them train, validation and test."
        )
    if not splits:
        raise DataError(f"{source} has no rows; give samples of two classes or more.")
    return splits


def _cells(table: Any, columns: Columns) -> Iterator[Sequence[Any]]:
    """The label cells of each row, and the group's where there is one."""
    names = [*columns.labels, *filter(None, [columns.group])]
    only = table.select_columns(list(dict.fromkeys(names))).with_format(None)
    for some in only.iter(batch_size=_ROWS):
        yield from zip(*(some[name] for name in names), strict=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the library's bars where nobody sees a terminal."""
    found = library()
    if sys.stderr.isatty() or found.are_progress_bars_disabled():
        yield
        return
    found.disable_progress_bars()
    try:
        yield
    finally:
        found.enable_progress_bars()
