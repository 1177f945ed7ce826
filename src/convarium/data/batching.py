"""Batches: training order as a pure function of (seed, epoch), evaluation in the data's order.

No augmentation can reach evaluation: `batches` has no place for it. Workers are threads (decoding
and copying release the lock); each batch is a function of its number, so the number of workers
changes nothing but the speed. Pictures that are in memory need no worker.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds
from convarium.data.augmentation import Augmentation
from convarium.data.batch import Batch
from convarium.data.dataset import Dataset, Part
from convarium.data.parallel import ordered
from convarium.data.pictures import Gathered, Pictures, pictures_of
from convarium.data.preprocessing import Preprocessing
from convarium.data.skipping import Skipped
from convarium.errors import DataError, OptionError


def batches(
    data: Part | Dataset,
    preprocessing: Preprocessing,
    *,
    batch_size: int = 256,
    workers: int = 0,
    skipped: list[Skipped] | None = None,
) -> Iterator[Batch]:
    """Batches for evaluation, in the data's own order, each sample once.

    Args:
        data: a part or a whole data set; a part's pictures are kept for the next time.
        preprocessing: the steps of the card.
        batch_size: samples a batch; the last one may have fewer.
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for.
        skipped: a list that takes the samples that cannot be read; None makes them an error.

    Raises:
        OptionError: batch_size below 1 or workers below 0.
        DataError: a sample cannot be read, and `skipped` is None.
    """
    _check_batch_size(batch_size)
    if isinstance(data, Part):
        dataset, ids = data.dataset, data.ids
        pictures = pictures_of(dataset, preprocessing)
    else:
        dataset, ids = data, np.arange(len(data))
        pictures = Pictures(dataset, preprocessing, keep=False)

    def build(start: int) -> tuple[Batch, list[tuple[int, str]]]:
        gathered = pictures.gather(ids[start : start + batch_size])
        return _batch(dataset, gathered, preprocessing.finish(gathered.pixels)), gathered.broken

    def run() -> Iterator[Batch]:
        for batch, broken in results:
            for i, reason in broken:
                if skipped is None:
                    raise DataError(f"Cannot read {dataset.name(i)}: {reason}.")
                skipped.append(Skipped(dataset.name(i), reason))
            if len(batch):
                yield batch

    results = ordered(build, range(0, len(ids), batch_size), _useful(workers, pictures, ids))
    return run()


def training_batches(
    part: Part,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    augmentation: Augmentation | None = None,
    start: int = 0,
    workers: int = 0,
) -> Iterator[Batch]:
    """Shuffled batches of one epoch, from batch number `start` on.

    The order is a permutation by (seed, epoch); batch k is the same whether or not the batches
    before it were made. A remainder of exactly one sample is left out, since batch norm cannot
    use it; any other remainder is a batch.

    Args:
        part: the training part.
        preprocessing: the steps fitted to it.
        augmentation: flips and crops; None means none.
        start: number of the first batch, for a run that is continued.
        workers: threads that prepare batches ahead.

    Raises:
        OptionError: batch_size below 1, workers or start below 0.
        DataError: a sample cannot be read any more.
    """
    if start < 0:
        raise OptionError(f"start (={start}) must be a batch number, 0 or more.")
    steps = steps_per_epoch(part, batch_size)
    dataset, pictures = part.dataset, pictures_of(part.dataset, preprocessing)
    ids = part.ids[seeds.permutation(len(part), seed, "order", epoch)]
    change = augmentation if augmentation is not None and augmentation.active else None
    draws = change.draw(ids, seed=seed, epoch=epoch) if change is not None else None

    def build(step: int) -> Batch:
        first, last = step * batch_size, (step + 1) * batch_size
        gathered = pictures.gather(ids[first:last])
        for i, reason in gathered.broken:
            raise DataError(f"Cannot read {dataset.name(i)} any more: {reason}.")
        pixels = gathered.pixels
        if change is not None and draws is not None:
            pixels = change.apply(pixels, draws.part(first, last))
        return _batch(dataset, gathered, preprocessing.finish(pixels))

    return ordered(build, range(start, steps), _useful(workers, pictures, ids))


def steps_per_epoch(part: Part, batch_size: int) -> int:
    """Batches of one epoch; a remainder of exactly one sample makes none.

    Raises:
        OptionError: batch_size below 1.
    """
    _check_batch_size(batch_size)
    whole, rest = divmod(len(part), batch_size)
    return whole + (rest > 1)


def _batch(dataset: Dataset, gathered: Gathered, inputs: Tensor) -> Batch:
    return Batch(
        inputs=(inputs,),
        target=_targets(dataset.targets, gathered.ids),
        mask=None,
        index=torch.from_numpy(gathered.ids),
        weight=None,
    )


def _useful(workers: int, pictures: Pictures, ids: NDArray[np.int64]) -> int:
    """No threads where nothing has to be read: they would only get in the network's way."""
    return 0 if workers > 0 and pictures.holds(ids) else workers


def _targets(targets: NDArray[np.int64] | None, ids: NDArray[np.int64]) -> Tensor | None:
    return None if targets is None else torch.from_numpy(targets[ids])


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise OptionError(f"batch_size (={batch_size}) must be 1 or more.")
