"""Texts ready for batches: ids in one buffer, encoded once, and padded batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from convarium import seeds
from convarium.data.dataset import Dataset
from convarium.data.pictures import Gathered
from convarium.data.sequences import ReadySequences
from convarium.data.texts.reading import EMPTY
from convarium.data.texts.steps import TextPreprocessing
from convarium.errors import DataError


@dataclass(frozen=True)
class Cut:
    """What of some texts the network does not see.

    Args:
        texts: how many there are.
        cut: how many of them are cut off at the end.
        tokens: how many tokens they all have.
        lost: how many of these are cut off.
        unknown: how many of the others are unknown.
        median: of the texts' lengths in tokens.
        longest: of them.
    """

    texts: int
    cut: int
    tokens: int
    lost: int
    unknown: int
    median: int
    longest: int


_BLOCK = 4096  # texts that are encoded at once
_POOL = 50  # batches whose texts are sorted by length together


class ReadyTexts(ReadySequences[TextPreprocessing]):
    """The texts of a data set as ids.

    Where ids may be kept, all texts are encoded when the first are asked for, 4 bytes a token.

    Args:
        dataset: the root data set, of texts.
        preprocessing: whose tokens are used.
        keep: whether ids may be kept.
    """

    steps_class: ClassVar = TextPreprocessing

    def __init__(self, dataset: Dataset, preprocessing: TextPreprocessing, *, keep: bool) -> None:
        super().__init__(dataset, preprocessing, keep=keep)
        self._ids = np.empty(0, np.int32)
        self._encoded_all = False
        self._whole = np.empty((2, 0), np.int64)  # of each text: tokens, and unknown ones kept

    def gather(self, ids: NDArray[np.int64]) -> Gathered:
        """The ids of some texts, padded to the longest of them; safe in threads."""
        if self._keep:
            self._encode_all()
            return self._kept(ids)
        found, reasons, _ = self._encoded(ids)
        lengths = np.array([len(each) for each in found], np.int64)
        return _padded(np.concatenate([*found, np.empty(0, np.int32)]), lengths, ids, reasons)

    def holds(self, ids: NDArray[np.int64]) -> bool:
        """Whether the ids are in memory, so that nothing has to be encoded."""
        return self._encoded_all

    def lengths(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many tokens each text has, cut to the longest; 0 where one cannot be read."""
        self._encode_all()
        return self._starts[ids + 1] - self._starts[ids]

    def flat(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids of some texts, one behind the other, each followed by a 0."""
        lengths = self.lengths(ids)
        found = np.zeros(int(lengths.sum()) + len(ids), np.int64)
        ends = np.cumsum(lengths + 1) - 1
        inside = np.ones(len(found), np.bool_)
        inside[ends] = False
        found[inside] = self._together(ids, lengths)
        return found

    def cut(self, ids: NDArray[np.int64]) -> Cut:
        """What of some texts the network does not see."""
        self._encode_all()
        whole, unknown = self._whole[:, ids]
        lost = np.maximum(whole - self.preprocessing.longest, 0)
        return Cut(
            texts=len(ids),
            cut=int(np.count_nonzero(lost)),
            tokens=int(whole.sum()),
            lost=int(lost.sum()),
            unknown=int(unknown.sum()),
            median=int(np.median(whole)) if len(ids) else 0,
            longest=int(whole.max(initial=0)),
        )

    def arranged(
        self, ids: NDArray[np.int64], batch_size: int, seed: int, epoch: int
    ) -> NDArray[np.int64]:
        """The samples of an epoch, those of like length in one batch, so that little is padding.

        Of every 50 batches the texts are sorted by length and cut into batches, whose order is
        drawn from (seed, epoch). A batch that is not whole stays the last.
        """
        whole = len(ids) // batch_size
        found = ids.copy()
        for start in range(0, whole * batch_size, _POOL * batch_size):
            stop = min(start + _POOL * batch_size, whole * batch_size)
            some = ids[start:stop]
            found[start:stop] = some[np.argsort(self.lengths(some), kind="stable")]
        order = seeds.permutation(whole, seed, "lengths", epoch)
        blocks = found[: whole * batch_size].reshape(whole, batch_size)
        return np.concatenate([blocks[order].reshape(-1), found[whole * batch_size :]])

    def _kept(self, ids: NDArray[np.int64]) -> Gathered:
        lengths = self.lengths(ids)
        reasons = {int(i): self._reasons[int(i)] for i in ids[lengths == 0]}
        return _padded(self._together(ids, lengths), lengths, ids, reasons)

    def _together(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
        """The ids of some texts, one behind the other."""
        starts = self._starts[ids]
        inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        found: NDArray[np.int32] = self._ids[np.repeat(starts, lengths) + inside]
        return found

    def _encode_all(self) -> None:
        with self._lock:
            if self._encoded_all:
                return
            flat: list[NDArray[np.int32]] = []
            lengths: list[int] = []
            whole: list[NDArray[np.int64]] = []
            for start in range(0, len(self.dataset), _BLOCK):
                stop = min(start + _BLOCK, len(self.dataset))
                found, reasons, counts = self._encoded(np.arange(start, stop))
                self._reasons |= reasons
                whole.append(counts)
                flat.append(np.concatenate(found))
                lengths += map(len, found)
            self._ids = np.concatenate([*flat, np.empty(0, np.int32)])
            self._whole = np.concatenate([np.empty((2, 0), np.int64), *whole], axis=1)
            self._starts = np.cumsum(np.array([0, *lengths], np.int64))
            self._encoded_all = True

    def _encoded(
        self, ids: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.int32]], dict[int, str], NDArray[np.int64]]:
        """Ids of some texts, none for one that cannot be read; why not; and counts of each."""
        texts: list[str] = []
        reasons: dict[int, str] = {}
        for i in ids.tolist():
            try:
                texts.append(self.dataset.samples.read(i))
            except DataError as error:
                texts.append("")
                reasons[i] = str(error)
        whole = self.preprocessing.tokens.encode(texts)
        found = [each[: self.preprocessing.longest] for each in whole]
        for i, tokens in zip(ids.tolist(), found, strict=True):
            if not len(tokens):
                reasons.setdefault(i, EMPTY)
        ends = np.cumsum([0, *map(len, found)])
        unknown = np.cumsum(np.concatenate([np.zeros(1, np.int32), *found]) == 1)[ends]
        counts = [[*map(len, whole)], np.diff(unknown)]
        return found, reasons, np.array(counts, np.int64).reshape(2, -1)


def _padded(
    flat: NDArray[np.int32],
    lengths: NDArray[np.int64],
    ids: NDArray[np.int64],
    reasons: dict[int, str],
) -> Gathered:
    """Texts one behind the other, as rows with padding; those without ids are left out."""
    there = lengths > 0
    lengths = lengths[there]
    rows = np.zeros((len(lengths), int(lengths.max(initial=1))), np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = flat
    return Gathered(torch.from_numpy(rows), ids[there], sorted(reasons.items()))
