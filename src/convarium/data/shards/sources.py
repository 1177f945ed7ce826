"""Shards that are read from front to back: what a stream is made of."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.samples import EncodedSamples
from convarium.data.shards.columns import Columns, image_file
from convarium.data.shards.library import passing
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError


class Row(NamedTuple):
    """One sample on its way.

    Args:
        id: its number, the same in every epoch.
        name: as it is printed and stored.
        target: number of its class.
        image: path or bytes; None leaves it to the samples it comes from.
        problem: why there is no image.
        turn: how many times the epoch has passed over all shards before.
    """

    id: int
    name: str
    target: int
    image: str | bytes | None = None
    problem: str = ""
    turn: int = 0


class Shards(Protocol):
    """Rows in shards, each of which can be read from any row on."""

    @property
    def count(self) -> int:
        """How many shards there are."""

    @property
    def lengths(self) -> Sequence[int] | None:
        """Rows of each; None where they are not known."""

    @property
    def targets(self) -> NDArray[np.int64] | None:
        """Class numbers of all rows; None where they are not known."""

    @property
    def samples(self) -> EncodedSamples | None:
        """Where images are that rows do not carry; None where all carry theirs."""

    def rows(self, shard: int, start: int, stop: int | None) -> Iterator[Row]:
        """Rows of a shard from `start`, before `stop`."""

    def facts(self) -> bytes:
        """What tells these shards from others, without reading all of them."""


class IndexedShards:
    """Some samples of a data set whose labels and places are known, shard by shard.

    Args:
        dataset: its samples in the order of the shards.
        bounds: where each shard begins and the last one ends, int64 `(S + 1,)`.
        ids: which samples are used, rising.
    """

    def __init__(self, dataset: Dataset, bounds: NDArray[np.int64], ids: NDArray[np.int64]) -> None:
        if not isinstance(dataset.samples, EncodedSamples) or dataset.targets is None:
            raise DataError(f"{dataset.source} has no labelled images to stream.")
        self._samples, self._targets = dataset.samples, dataset.targets
        self.ids = ids
        self._cuts = np.searchsorted(ids, bounds)

    @property
    def count(self) -> int:
        """How many shards there are."""
        return len(self._cuts) - 1

    @property
    def lengths(self) -> list[int]:
        """Used rows of each."""
        return [int(length) for length in np.diff(self._cuts)]

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class numbers of all used rows."""
        chosen: NDArray[np.int64] = self._targets[self.ids]
        return chosen

    @property
    def samples(self) -> EncodedSamples:
        """The data set's."""
        return self._samples

    def rows(self, shard: int, start: int, stop: int | None) -> Iterator[Row]:
        """Used rows of a shard from `start`, before `stop`."""
        first, last = int(self._cuts[shard]), int(self._cuts[shard + 1])
        ids = self.ids[first + start : last if stop is None else min(last, first + stop)].tolist()
        for i, image in zip(ids, self._samples.sequence(ids), strict=True):
            yield Row(i, self._samples.name(i), int(self._targets[i]), image)

    def facts(self) -> bytes:
        """Ids, labels and cuts; and what the samples know of their files."""
        state = hashlib.blake2b(digest_size=16)
        for values in (self.ids, self.targets, self._cuts):
            state.update(np.ascontiguousarray(values).data)
        told = getattr(self._samples, "file_facts", None)
        state.update(b"" if told is None else told())
        return state.digest()


class LibraryShards:
    """The library's stream as it comes, where nobody has counted its rows.

    Args:
        streams: one of the library's `IterableDataset` for each shard.
        word: what the rows' names begin with.
        columns: images and labels.
        classes: names of the classes.
        skipped: takes rows without a label.
    """

    lengths: Sequence[int] | None = None
    targets: NDArray[np.int64] | None = None
    samples: EncodedSamples | None = None

    def __init__(
        self,
        streams: Sequence[Any],
        word: str,
        columns: Columns,
        classes: Sequence[str],
        skipped: SkipList,
    ) -> None:
        self.streams, self.word, self.columns = streams, word, columns
        self.classes, self.skipped = tuple(classes), skipped
        self._lock, self._left_out = threading.Lock(), set[tuple[int, int]]()

    @property
    def count(self) -> int:
        """How many shards there are."""
        return len(self.streams)

    def rows(self, shard: int, start: int, stop: int | None) -> Iterator[Row]:
        """Rows of a shard that have a label, from `start`, before `stop`."""
        taken = 0
        flow = passing(self.streams[shard], f"{self.word}/{shard}")
        for number, cells in enumerate(flow):
            label = cells[self.columns.labels[0]]
            if label is None or not 0 <= label < len(self.classes):
                self._leave_out(shard, number)
                continue
            taken += 1
            if stop is not None and taken > stop:
                return
            if taken > start:
                yield self._row(shard, number, label, cells[self.columns.image])

    def _leave_out(self, shard: int, number: int) -> None:
        """List a row without a label, once in all passes; lanes are read side by side."""
        with self._lock:
            if (shard, number) not in self._left_out:
                self._left_out.add((shard, number))
                self.skipped.append(Skipped(self.name(shard, number), "the row has no label"))

    def name(self, shard: int, number: int) -> str:
        """Name of a row."""
        return f"{self.word}/{shard}/{number}"

    def facts(self) -> bytes:
        """Words, columns and classes; the rest is told by the rows that are looked at."""
        told = repr((self.word, self.count, self.columns, self.classes))
        return hashlib.blake2b(told.encode(), digest_size=16).digest()

    def _row(self, shard: int, number: int, label: int, cell: Any) -> Row:
        name = self.name(shard, number)
        try:
            return Row(number_of(shard, number), name, int(label), image_file(cell))
        except DataError as error:
            return Row(number_of(shard, number), name, int(label), problem=str(error))


def number_of(shard: int, row: int) -> int:
    """The id of a row that nobody counted: below 2^40, of its own up to 2^24 rows a shard."""
    return ((shard << 24) + row) % (1 << 40)
