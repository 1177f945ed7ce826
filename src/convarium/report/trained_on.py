"""What training sees of a data set: some samples, and what is changed at random, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from convarium.data import (
    Augmentation,
    Dataset,
    Part,
    Preprocessing,
    VolumeAugmentation,
    fit_preprocessing,
)
from convarium.report.augmented import AugmentedSample, augmented_samples, some_of_each_class
from convarium.train.config import TrainConfig
from convarium.train.from_config import augmentation_of

_FITTED = 512  # samples that mean and deviation come from


@dataclass(frozen=True, eq=False)
class SeenInTraining:
    """Samples as training gets them.

    Args:
        samples: each beside what becomes of it, an epoch each.
        settings: what is done, in words.
    """

    samples: Sequence[AugmentedSample]
    settings: Sequence[str]


def seen_in_training(
    dataset: Dataset,
    config: TrainConfig,
    preprocessing: Preprocessing | None = None,
    *,
    size: int | tuple[int, ...] | None = None,
    spacing: str | float | tuple[float, ...] | None = None,
    ids: NDArray[np.int64] | None = None,
    seed: int = 0,
    epoch: int = 0,
    samples: int = 8,
    versions: int = 5,
) -> SeenInTraining:
    """Some images or volumes as the training of a configuration sees them.

    Args:
        dataset: images or volumes, surveyed.
        config: how to train.
        preprocessing: the steps to the network's input; None fits them to some of the samples.
        size: that a network gets, where there is no `preprocessing`.
        spacing: of volumes, likewise.
        ids: samples of the training part; None takes all that can be read and are not given to
            another part.
        seed: of the run.
        epoch: the first one.
        samples: how many, the classes taking turns.
        versions: how many epochs.

    Raises:
        DataError: a sample cannot be read.
        OptionError: an option of the configuration is for another kind of data.
    """
    sides = size if preprocessing is None else preprocessing.input_shape[1:]
    grid = sides if isinstance(sides, tuple) and len(sides) == 3 else (1, 1, 1)
    found = augmentation_of(config, dataset.kind, grid)
    augmentation = cast("Augmentation | VolumeAugmentation", found)
    chosen = some_of_each_class(dataset, _usable(dataset) if ids is None else ids, _FITTED, seed)
    if preprocessing is None:
        preprocessing = fit_preprocessing(Part(dataset, chosen), size=size, spacing=spacing)
    shown = augmented_samples(
        dataset,
        chosen[:samples],
        preprocessing,
        augmentation,
        seed=seed,
        epoch=epoch,
        versions=versions,
    )
    return SeenInTraining(shown, augmentation.lines())


def _usable(dataset: Dataset) -> NDArray[np.int64]:
    """What can be read, and is training data where the data itself says what is."""
    usable = np.flatnonzero(dataset.survey().digests != 0)
    if dataset.given is not None and (dataset.given[usable] == 0).any():
        usable = usable[dataset.given[usable] == 0]
    return usable
