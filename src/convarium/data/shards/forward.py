"""Streams of the library: read from front to back, and again from a row on where that is needed."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.samples import EncodedSamples
from convarium.data.shards.columns import image_file, image_or_none
from convarium.data.shards.library import passing
from convarium.errors import DataError

_KEPT = 512  # rows that were passed


class ForwardSamples(EncodedSamples):
    """Counted rows of the library's streams, one a shard.

    Rows that come in order cost one reading; a row before the last ones is searched from the
    beginning of its shard.

    Args:
        streams: the library's `IterableDataset` of each shard, with its images encoded.
        words: name of each shard.
        column: of the images.
        shard: in which shard each sample is, int32 `(N,)`.
        row: its row there, int64 `(N,)`.
    """

    def __init__(
        self,
        streams: Sequence[Any],
        words: Sequence[str],
        column: str,
        shard: NDArray[np.int32],
        row: NDArray[np.int64],
    ) -> None:
        self.streams, self.words, self.column = tuple(streams), tuple(words), column
        self.shard, self.row = shard, row
        self._start()

    def __len__(self) -> int:
        return len(self.row)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but where reading stands."""
        kept = ("streams", "words", "column", "shard", "row")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def name(self, i: int) -> str:
        """Name of the shard and number of the row."""
        return f"{self.words[self.shard[i]]}/{self.row[i]}"

    def encoded(self, i: int) -> str | bytes:
        """What the row has: bytes or a path."""
        place = int(self.shard[i]), int(self.row[i])
        with self._lock:
            if place not in self._passed:
                self._go_to(*place)
            if place not in self._passed:
                raise DataError("the stream ends before the row")
            cell = self._passed[place]
        return image_file(cell)

    def sequence(self, ids: Sequence[int]) -> Iterator[str | bytes | None]:
        """The images of rising ids of one shard, read by themselves."""
        if not ids:
            return
        shard, rows = int(self.shard[ids[0]]), self.row[np.array(ids)].tolist()
        flow = passing(self.streams[shard].skip(rows[0]), self.words[shard])
        cells = enumerate(flow, rows[0])
        for row in rows:
            cell = next((cell for number, cell in cells if number == row), None)
            if cell is None:
                raise DataError(f"{self.words[shard]} ends before row {row}, which was counted.")
            yield image_or_none(cell[self.column])

    def file_facts(self) -> bytes:
        """Words of the shards and the rows in use."""
        state = hashlib.blake2b(repr(self.words).encode(), digest_size=16)
        for values in (self.shard, self.row):
            state.update(np.ascontiguousarray(values).data)
        return state.digest()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._passed: dict[tuple[int, int], Any] = {}
        self._at = (-1, 0)
        self._open: Iterator[Any] = iter(())

    def _go_to(self, shard: int, row: int) -> None:
        """Read up to a row; the rows on the way are kept for a while."""
        if self._at[0] != shard or self._at[1] > row:
            self._open = passing(self.streams[shard].skip(row), self.words[shard])
            self._at = (shard, row)
        for cells in itertools.islice(self._open, row + 1 - self._at[1]):
            self._passed[self._at] = cells[self.column]
            self._at = (shard, self._at[1] + 1)
            while len(self._passed) > _KEPT:
                self._passed.pop(next(iter(self._passed)))
