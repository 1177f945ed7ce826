"""Samples as an epoch of training has them, for the pages that show them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium.data import Batch, Dataset, Part, Preprocessing, target_in_words, training_batches
from convarium.data.batching import Changes


def seen_batch(
    dataset: Dataset,
    ids: NDArray[np.int64],
    preprocessing: Preprocessing,
    augmentation: Changes,
    *,
    seed: int,
    epoch: int,
) -> Batch:
    """Samples as an epoch of training has them, in one batch; a single one too."""
    drawn = np.repeat(ids, 2) if len(ids) == 1 else ids  # one sample alone is never a batch
    (batch,) = training_batches(
        Part(dataset, drawn),
        preprocessing,
        batch_size=len(drawn),
        seed=seed,
        epoch=epoch,
        augmentation=augmentation,
    )
    return batch.first(len(ids))


def label_of(dataset: Dataset, i: int) -> str:
    """A sample's target in words; empty where there is none."""
    return "" if dataset.targets is None else target_in_words(dataset, dataset.targets[i])
