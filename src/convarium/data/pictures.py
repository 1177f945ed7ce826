"""Samples ready for batches: tensors of the input's shape, kept in memory where all fit."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from convarium.data.augment.crops import CropDraws
from convarium.data.batch import evaluation_order
from convarium.data.dataset import Dataset
from convarium.data.kinds import KINDS
from convarium.data.preprocessing import Preprocessing
from convarium.data.resizing import with_channels
from convarium.data.samples import ArraySamples, EncodedSamples
from convarium.errors import DataError

MEMORY_BUDGET = 2 * 2**30


class Gathered(NamedTuple):
    """Some pictures, and those that cannot be read.

    Args:
        pixels: `(B, C, *S)`, those of `ids`: uint8, and float32 of volumes.
        ids: int64 `(B,)`, the readable ones of the ids that were asked for.
        broken: (id, reason) of the others.
        mask: which places of `pixels` are real, bool `(B, T)`; None means all, or that they say it.
        target: what belongs to them, where the data set has no targets that say it.
        named: what networks read besides, by the names of `forward`.
    """

    pixels: Tensor
    ids: NDArray[np.int64]
    broken: list[tuple[int, str]]
    mask: Tensor | None = None
    target: Tensor | None = None
    named: Mapping[str, Tensor] = MappingProxyType({})


class Pictures:
    """The samples of a data set after the steps of `Preprocessing.apply`.

    Arrays that the steps leave as they are are used without a copy. Others are kept once read where
    the whole data set fits into `MEMORY_BUDGET` bytes; memory is taken as pictures are read. So it
    is with the whole pictures that crops are cut from; where they do not all fit, each is decoded
    anew, at a reduced scale where that has enough pixels for the crop.

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
        self._keep = keep
        self._originals: dict[int, NDArray[np.uint8]] = {}
        samples, shape = dataset.samples, preprocessing.input_shape
        if isinstance(samples, ArraySamples) and preprocessing.keeps(samples.images.shape[1:]):
            self._kept = torch.from_numpy(samples.images)
        elif keep and len(dataset) * _bytes(preprocessing) <= MEMORY_BUDGET:
            self._kept = torch.empty(len(dataset), *shape, dtype=preprocessing.pixel_type)
            self._present = np.zeros(len(dataset), np.bool_)

    def gather(self, ids: NDArray[np.int64]) -> Gathered:
        """Pixels of the samples `ids`, read where they are not kept; safe in threads."""
        if self._kept is not None and self.holds(ids):
            pixels = self._kept.index_select(0, torch.from_numpy(ids))
            return Gathered(pixels.contiguous(memory_format=self._order), ids, [])
        return self._collect(ids, None)

    def gather_crops(self, ids: NDArray[np.int64], draws: CropDraws) -> Gathered:
        """Each sample's own crop of its original picture, resized to the input; safe in threads.

        The box is cut first and then resized with antialiasing, by the preprocessing's filter.

        Args:
            ids: sample ids, int64 `(B,)`.
            draws: of the crops, in the order of `ids`.
        """
        return self._collect(ids, draws)

    def arranged(
        self, ids: NDArray[np.int64], batch_size: int, seed: int, epoch: int
    ) -> NDArray[np.int64]:
        """The samples of an epoch in another order, where that helps: pictures stay as they are."""
        return ids

    def holds(self, ids: NDArray[np.int64]) -> bool:
        """Whether the samples `ids` are in memory, so that nothing has to be read."""
        return self._kept is not None and (self._present is None or bool(self._present[ids].all()))

    def _collect(self, ids: NDArray[np.int64], draws: CropDraws | None) -> Gathered:
        shape, kind = self.preprocessing.input_shape, self.preprocessing.pixel_type
        pixels = torch.empty(len(ids), *shape, dtype=kind, memory_format=self._order)
        broken: list[tuple[int, str]] = []
        readable = np.ones(len(ids), np.bool_)
        for place, i in enumerate(ids.tolist()):
            try:
                pixels[place] = self._read(i) if draws is None else self._crop(i, draws, place)
            except DataError as error:
                broken.append((i, str(error)))
                readable[place] = False
        if broken:
            return Gathered(pixels[torch.from_numpy(readable)], ids[readable], broken)
        return Gathered(pixels, ids, [])

    def _crop(self, i: int, draws: CropDraws, place: int) -> Tensor:
        if self._keeps_originals:
            image = self._original(i)
            return resized_box(image, draws.box(place, *image.shape[:2]), self.preprocessing)
        whole = self._size(i)
        top, left, tall, wide = draws.box(place, *whole)
        _, height, width = self.preprocessing.input_shape
        image = self.dataset.samples.read(
            i, (-(-whole[0] * height // tall), -(-whole[1] * width // wide))
        )
        down, right = image.shape[0] / whole[0], image.shape[1] / whole[1]
        box = (int(top * down), int(left * right), math.ceil(tall * down), math.ceil(wide * right))
        return resized_box(image, box, self.preprocessing)

    def _size(self, i: int) -> tuple[int, int]:
        """Height and width of the whole picture, without decoding it."""
        survey = self.dataset.survey()
        return int(survey.heights[i]), int(survey.widths[i])

    @property
    def _order(self) -> torch.memory_format:
        """Of every batch, kept or read."""
        return evaluation_order(self.preprocessing.input_shape)

    @functools.cached_property
    def _keeps_originals(self) -> bool:
        """Whether all whole pictures fit into the memory; arrays and packs need none of their own.

        It follows from the data alone, since pictures of a reduced scale have other pixels.
        """
        if not isinstance(self.dataset.samples, EncodedSamples):
            return True
        survey = self.dataset.survey()
        pixels = int((survey.heights.astype(np.int64) * survey.widths).sum())
        return self._keep and pixels * survey.channels <= MEMORY_BUDGET

    def _original(self, i: int) -> NDArray[np.uint8]:
        """The whole picture `(H, W, C)`."""
        if not isinstance(self.dataset.samples, EncodedSamples):
            pixels: NDArray[np.uint8] = self.dataset.samples.read(i)
            return pixels
        if i not in self._originals:
            self._originals[i] = self.dataset.samples.read(i)
        return self._originals[i]

    def _read(self, i: int) -> Tensor:
        if self._kept is None or self._present is None:
            return self.preprocessing.apply(self.dataset.samples.read(i))
        if not self._present[i]:
            self._kept[i] = self.preprocessing.apply(self.dataset.samples.read(i))
            self._present[i] = True
        return self._kept[i]


def _bytes(preprocessing: Preprocessing) -> int:
    """Memory of one sample after `apply`."""
    return math.prod(preprocessing.input_shape) * preprocessing.pixel_type.itemsize


def pictures_of(dataset: Dataset, preprocessing: Preprocessing) -> Pictures:
    """The samples that the data set keeps, made anew where they would differ."""
    pictures = dataset.pictures
    if pictures is None or not pictures.preprocessing.same_pixels(preprocessing):
        made: Pictures = KINDS[dataset.kind].load("ready")(dataset, preprocessing, keep=True)
        pictures = dataset.pictures = made
    return pictures


def resized_box(
    image: NDArray[np.uint8], box: tuple[int, int, int, int], preprocessing: Preprocessing
) -> Tensor:
    """A box of a picture, resized to the input with antialiasing: uint8 `(C, H, W)`.

    By torch, which is twice as fast as Pillow and differs from it by at most 1 of 255.

    Args:
        image: uint8 `(H, W, C)`, of any size.
        box: (top, left, height, width) in it.
        preprocessing: gives channels, size and filter.
    """
    top, left, tall, wide = box
    channels, height, width = preprocessing.input_shape
    cut = np.array(with_channels(image[top : top + tall, left : left + wide], channels))
    pixels = torch.from_numpy(cut)[None].permute(0, 3, 1, 2)
    size, kind = (height, width), preprocessing.interpolation
    return functional.interpolate(pixels, size, mode=kind, antialias=True, align_corners=False)[0]
