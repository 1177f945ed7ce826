"""What training sees of a data set: some samples, and what is changed at random, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.data import Dataset, Part, Preprocessing, fit_preprocessing
from convarium.report.augmented import AugmentedSample, augmented_samples
from convarium.train.config import TrainConfig
from convarium.train.from_config import changes_of, refuse_foreign

_FITTED = 512  # pictures that mean and deviation come from, which are put back when they are shown


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
    """Some images, volumes or series as the training of a configuration sees them.

    Args:
        dataset: images, volumes or series, surveyed.
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
    refuse_foreign(config, dataset.kind)
    ids = _usable(dataset) if ids is None else ids
    chosen = some_of_each_class(dataset, ids, _FITTED, seed)
    if preprocessing is None:
        preprocessing = fit_preprocessing(Part(dataset, chosen), size=size, spacing=spacing)
    augmentation = changes_of(config, preprocessing)
    shown = augmented_samples(
        dataset,
        chosen[: max(2, samples)],  # one alone would be mixed with itself
        preprocessing,
        augmentation,
        seed=seed,
        epoch=epoch,
        versions=versions,
    )
    return SeenInTraining(shown[:samples], augmentation.lines())


def _usable(dataset: Dataset) -> NDArray[np.int64]:
    """What can be read, and is training data where the data itself says what is."""
    usable = np.flatnonzero(dataset.survey().digests != 0)
    if dataset.given is not None and (dataset.given[usable] == 0).any():
        usable = usable[dataset.given[usable] == 0]
    return usable


def some_of_each_class(
    dataset: Dataset, ids: NDArray[np.int64], count: int, seed: int = 0
) -> NDArray[np.int64]:
    """`count` of the samples `ids`, the classes taking turns, drawn by the seed."""
    drawn = ids[seeds.permutation(len(ids), seed, "shown")]
    targets = dataset.targets
    if targets is None or targets.ndim > 1:
        return drawn[:count]
    labels = targets[drawn]
    turn = np.zeros(len(drawn), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        turn[places] = np.arange(len(places))
    return drawn[np.lexsort((labels, turn))][:count]
