"""Training pictures from the cache: made where it is not there yet, or what making it takes."""

from __future__ import annotations

import dataclasses
import time
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, Part, Parts, Preprocessing, packed
from convarium.data.batching import epoch_order
from convarium.data.packing import is_packed
from convarium.errors import OptionError
from convarium.progress import Progress
from convarium.train.config import TrainConfig
from convarium.train.from_config import augmentation_of
from convarium.train.learner import Learner


def with_cache(
    parts: Parts, config: TrainConfig, preprocessing: Preprocessing, *, quiet: bool = True
) -> Parts:
    """The parts, with training pictures from the cache: their short side is 8/7 of the crop's.

    Raises:
        OptionError: nothing is cropped, so that there is nothing to keep, or these are volumes.
        RunError: the cache cannot be written.
    """
    if config.cache is None:
        return parts
    augmentation_of(config, parts.train.dataset.kind)  # refuses the cache for volumes
    _check_crops(config)
    if parts.train.dataset.in_memory:
        warnings.warn(
            f"cache (={config.cache!r}) has no effect: the data is in memory already.",
            stacklevel=3,
        )
        return parts
    side = _short_side(preprocessing)
    with Progress(len(parts.train), "cache", enabled=not quiet) as progress:
        train = packed(parts.train, side, config.cache, progress=progress)
    return dataclasses.replace(parts, train=train)


def look_at_cache(
    learner: Learner, folder: Path, steps: int, seconds: float
) -> tuple[Parts, int, float]:
    """The learner's parts as a look at the first steps needs them, without making the cache.

    Args:
        learner: whose batches are to be looked at.
        folder: takes the pictures of these steps, where the cache is still to be made.
        steps: to be looked at, at most.
        seconds: that packing may take here; two steps are packed in any case.

    Raises:
        OptionError: nothing is cropped, so that there is nothing to keep.

    Returns:
        The parts, how many of the steps read what is packed, and the seconds that the whole cache
        will take.
    """
    parts, config = learner.parts, learner.config
    part, side = parts.train, _short_side(learner.preprocessing)
    if config.cache is None or part.dataset.in_memory:
        return parts, steps, 0.0
    _check_crops(config)
    if is_packed(part, side, config.cache):
        return with_cache(parts, config, learner.preprocessing), steps, 0.0
    ids, size = epoch_order(learner.drawn(0), config.seed, 0), config.batch_size
    dataset, each = _pack(part, ids[:size], side, folder)
    steps = min(steps, max(2, int(seconds / (each * size))))
    if steps > 1:
        dataset, each = _pack(part, ids[: steps * size], side, folder)
    train = Part(dataset, part.ids)
    return dataclasses.replace(parts, train=train), steps, each * len(part)


def _pack(part: Part, ids: NDArray[np.int64], side: int, folder: Path) -> tuple[Dataset, float]:
    """The data set with these samples from a pack, and the seconds a sample that this took."""
    some = Part(part.dataset, np.unique(ids))
    start = time.perf_counter()
    dataset = packed(some, side, folder, trial=True).dataset
    return dataset, (time.perf_counter() - start) / len(some)


def _check_crops(config: TrainConfig) -> None:
    if config.resized_crop is None:
        raise OptionError(
            f"cache (={config.cache!r}) keeps what crops are cut from: set resized_crop too, or "
            "leave it out."
        )


def _short_side(preprocessing: Preprocessing) -> int:
    return short_side_of(max(preprocessing.input_shape[1:]))


def short_side_of(size: int) -> int:
    """The short side of cached pictures, in pixels, from the side of the input."""
    return round(size * 8 / 7)
