"""Parquet files with images in them, read where they lie: row group by row group."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.samples import EncodedSamples
from convarium.data.shards.columns import image_file, image_or_none
from convarium.errors import DataError

_KEPT = 2  # row groups
_ROWS = 256  # that are taken out of a row group at once


class ParquetSamples(EncodedSamples):
    """Rows of Parquet files; reading in order is quick, and jumping reads a row group each time.

    Args:
        files: the files.
        column: of the images.
        shard: in which file each sample is, int32 `(N,)`.
        row: its row there, int64 `(N,)`.
    """

    def __init__(
        self,
        files: Sequence[str],
        column: str,
        shard: NDArray[np.int32],
        row: NDArray[np.int64],
    ) -> None:
        self.files, self.column, self.shard, self.row = tuple(files), column, shard, row
        self._starts = [_group_starts(file) for file in self.files]
        self._kept: dict[tuple[int, int], Any] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.row)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what is kept in memory."""
        return {**self.__dict__, "_kept": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def name(self, i: int) -> str:
        """The file's name and the row's number."""
        return f"{Path(self.files[self.shard[i]]).name}/{self.row[i]}"

    def encoded(self, i: int) -> str | bytes:
        """What the row has: bytes or a path."""
        shard, row = int(self.shard[i]), int(self.row[i])
        group = int(np.searchsorted(self._starts[shard], row, side="right")) - 1
        with self._lock:
            if (shard, group) not in self._kept:
                while len(self._kept) >= _KEPT:
                    self._kept.pop(next(iter(self._kept)))
                self._kept[shard, group] = self._group(shard, group)
            cells = self._kept[shard, group]
        return image_file(cells[row - int(self._starts[shard][group])].as_py())

    def groups(self) -> NDArray[np.int64]:
        """The first sample of each row group that has some, and the number of all samples."""
        before = np.cumsum([0, *(starts[-1] for starts in self._starts)])
        place = before[self.shard] + self.row
        every = [starts + first for starts, first in zip(self._starts, before, strict=False)]
        return np.unique(np.searchsorted(place, np.concatenate(every))).astype(np.int64)

    def sequence(self, ids: Sequence[int]) -> Iterator[str | bytes | None]:
        """The images of rising ids of one file; a few rows are in memory at a time."""
        if not ids:
            return
        shard, rows = int(self.shard[ids[0]]), self.row[np.array(ids)]
        done = 0
        for here, cells in self._from(shard, int(rows[0])):
            last = int(np.searchsorted(rows, here + len(cells)))
            yield from (
                image_or_none(cells[row - here].as_py()) for row in rows[done:last].tolist()
            )
            done = last
            if done == len(rows):
                return
        raise DataError(f"{self.files[shard]} has fewer rows than when it was opened.")

    def _from(self, shard: int, row: int) -> Iterator[tuple[int, Any]]:
        """The images of a file from a row's group on, some rows at a time, and which is the first.

        Raises:
            DataError: the file cannot be read any more.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        starts = self._starts[shard]
        first = int(np.searchsorted(starts, row, side="right")) - 1
        here, groups = int(starts[first]), range(first, len(starts) - 1)
        try:
            with pq.ParquetFile(self.files[shard], pre_buffer=False) as file:
                for some in file.iter_batches(_ROWS, row_groups=groups, columns=[self.column]):
                    yield here, some.column(0)
                    here += some.num_rows
        except (OSError, pa.lib.ArrowException) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise DataError(f"Cannot read {self.files[shard]} any more: {reason}.") from error

    def file_facts(self) -> bytes:
        """Digest of the files' sizes and footers."""
        import pyarrow.parquet as pq

        state = hashlib.blake2b(digest_size=16)
        for file in self.files:
            found = pq.read_metadata(file)
            groups = [
                (found.row_group(k).num_rows, found.row_group(k).total_byte_size)
                for k in range(found.num_row_groups)
            ]
            state.update(repr((Path(file).stat().st_size, groups)).encode())
        return state.digest()

    def _group(self, shard: int, group: int) -> Any:
        """The images of a row group."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.files[shard]) as file:
                return file.read_row_group(group, columns=[self.column]).column(0)
        except (OSError, pa.lib.ArrowException) as error:
            raise DataError(f"the row group cannot be read ({error})") from error


def _group_starts(file: str) -> NDArray[np.int64]:
    """The first row of each row group, and the number of all rows."""
    import pyarrow.parquet as pq

    found = pq.read_metadata(file)
    lengths = [found.row_group(k).num_rows for k in range(found.num_row_groups)]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
