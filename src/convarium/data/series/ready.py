"""Series ready for batches: prepared once, kept in one buffer, and padded batch by batch."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.dataset import Dataset
from convarium.data.pictures import MEMORY_BUDGET, Gathered
from convarium.data.sequences import ReadySequences
from convarium.data.series.steps import SeriesPreprocessing
from convarium.errors import DataError


class ReadySeries(ReadySequences[SeriesPreprocessing]):
    """The series of a data set as a network takes them.

    Where they may be kept and fit into the memory, all are prepared when the first are asked for.

    Args:
        dataset: the root data set, of series.
        preprocessing: whose steps are used.
        keep: whether they may be kept.
    """

    steps_class: ClassVar = SeriesPreprocessing

    def __init__(self, dataset: Dataset, preprocessing: SeriesPreprocessing, *, keep: bool) -> None:
        super().__init__(dataset, preprocessing, keep=keep)
        self._kept: Tensor | None = None
        self._keep = keep and _bytes(dataset, preprocessing) <= MEMORY_BUDGET

    def gather(self, ids: NDArray[np.int64]) -> Gathered:
        """Some series, padded to the longest of them, and their mask; safe in threads."""
        if self._keep:
            self._prepare_all()
        found = [self._one(int(i)) for i in ids]
        there = [isinstance(each, Tensor) for each in found]
        pixels, mask = self.preprocessing.padded([e for e in found if isinstance(e, Tensor)])
        broken = [(int(i), e) for i, e in zip(ids, found, strict=True) if isinstance(e, str)]
        return Gathered(pixels, ids[there], sorted(broken), mask)

    def holds(self, ids: NDArray[np.int64]) -> bool:
        """Whether all are in memory, so that nothing has to be prepared."""
        return self._kept is not None

    def arranged(
        self, ids: NDArray[np.int64], batch_size: int, seed: int, epoch: int
    ) -> NDArray[np.int64]:
        """The samples of an epoch as they are: the length may tell the class, so none is sorted."""
        return ids

    def _one(self, i: int) -> Tensor | str:
        """A prepared series, or the reason why there is none."""
        if self._kept is None:
            return self._prepared(i)
        if i in self._reasons:
            return self._reasons[i]
        return self._kept[:, self._starts[i] : self._starts[i + 1]]

    def _prepared(self, i: int) -> Tensor | str:
        try:
            return self.preprocessing.apply(self.dataset.samples.read(i))
        except DataError as error:
            return str(error)

    def _prepare_all(self) -> None:
        with self._lock:
            if self._kept is not None:
                return
            found = [self._prepared(i) for i in range(len(self.dataset))]
            self._reasons = {i: each for i, each in enumerate(found) if isinstance(each, str)}
            whole = [each for each in found if isinstance(each, Tensor)]
            lengths = [each.shape[1] if isinstance(each, Tensor) else 0 for each in found]
            self._starts = np.cumsum(np.array([0, *lengths], np.int64))
            empty = torch.empty(self.preprocessing.input_shape[0], 0)
            self._kept = torch.cat([empty, *whole], 1)


def _bytes(dataset: Dataset, preprocessing: SeriesPreprocessing) -> int:
    """Memory of all series at the lengths that they have in their files."""
    steps = int(dataset.survey().widths.astype(np.int64).sum())
    return 4 * steps * preprocessing.input_shape[0]
