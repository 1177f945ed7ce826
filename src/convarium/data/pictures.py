"""Pictures ready for batches: 8-bit tensors of the input's shape, kept in memory where all fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.dataset import Dataset
from convarium.data.preprocessing import Preprocessing
from convarium.data.samples import ArraySamples
from convarium.errors import DataError

MEMORY_BUDGET = 2 * 2**30


class Gathered(NamedTuple):
    """Some pictures, and those that cannot be read.

    Args:
        pixels: uint8 `(B, C, H, W)`, those of `ids`.
        ids: int64 `(B,)`, the readable ones of the ids that were asked for.
        broken: (id, reason) of the others.
    """

    pixels: Tensor
    ids: NDArray[np.int64]
    broken: list[tuple[int, str]]


class Pictures:
    """The pictures of a data set after the steps of `Preprocessing.apply`.

    Arrays that the steps leave as they are are used without a copy. Others are kept once read where
    the whole data set fits into `MEMORY_BUDGET` bytes; memory is taken as pictures are read.

    Args:
        dataset: the root data set.
        preprocessing: whose `apply` is used.
        keep: whether pictures may be kept after they were read.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, *, keep: bool) -> None:
        self.dataset = dataset
        self.preprocessing = preprocessing
        self._kept: Tensor | None = None
        self._present: NDArray[np.bool_] | None = None
        samples, shape = dataset.samples, preprocessing.input_shape
        if isinstance(samples, ArraySamples) and preprocessing.keeps(samples.images.shape[1:]):
            self._kept = torch.from_numpy(samples.images)
        elif keep and len(dataset) * int(np.prod(shape)) <= MEMORY_BUDGET:
            self._kept = torch.empty(len(dataset), *shape, dtype=torch.uint8)
            self._present = np.zeros(len(dataset), np.bool_)

    def gather(self, ids: NDArray[np.int64]) -> Gathered:
        """Pixels of the samples `ids`, read where they are not kept; safe in threads."""
        if self._kept is not None and self.holds(ids):
            pixels = self._kept.index_select(0, torch.from_numpy(ids))
            return Gathered(pixels, ids, [])
        pixels = torch.empty(len(ids), *self.preprocessing.input_shape, dtype=torch.uint8)
        broken: list[tuple[int, str]] = []
        readable = np.ones(len(ids), np.bool_)
        for place, i in enumerate(ids.tolist()):
            try:
                pixels[place] = self._read(i)
            except DataError as error:
                broken.append((i, str(error)))
                readable[place] = False
        if broken:
            return Gathered(pixels[torch.from_numpy(readable)], ids[readable], broken)
        return Gathered(pixels, ids, [])

    def holds(self, ids: NDArray[np.int64]) -> bool:
        """Whether the samples `ids` are in memory, so that nothing has to be read."""
        return self._kept is not None and (self._present is None or bool(self._present[ids].all()))

    def _read(self, i: int) -> Tensor:
        if self._kept is None or self._present is None:
            return self.preprocessing.apply(self.dataset.samples.read(i))
        if not self._present[i]:
            self._kept[i] = self.preprocessing.apply(self.dataset.samples.read(i))
            self._present[i] = True
        return self._kept[i]


def pictures_of(dataset: Dataset, preprocessing: Preprocessing) -> Pictures:
    """The pictures that the data set keeps, made anew where their pixels would differ."""
    pictures = dataset.pictures
    if pictures is None or not pictures.preprocessing.same_pixels(preprocessing):
        pictures = dataset.pictures = Pictures(dataset, preprocessing, keep=True)
    return pictures
