"""Data sets that are made for tests: arrays in memory, whole parts, plain preprocessing."""

from __future__ import annotations

import numpy as np

from convarium import data
from convarium.data.samples import ArraySamples


def arrays(n: int, shape: tuple[int, int, int] = (1, 4, 4)) -> data.Dataset:
    pixels = np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)
    targets = np.arange(n, dtype=np.int64) % 2
    samples = ArraySamples(pixels, [("image", n)])
    return data.Dataset(samples, source="made", classes=("a", "b"), targets=targets)


def whole(dataset: data.Dataset) -> data.Part:
    return data.Part(dataset, np.arange(len(dataset)))


def plain(shape: tuple[int, int, int] = (1, 4, 4)) -> data.Preprocessing:
    return data.Preprocessing(shape, (0.5,) * shape[0], (0.5,) * shape[0], ("a", "b"))
