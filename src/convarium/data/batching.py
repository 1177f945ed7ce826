"""Batches: training order as a pure function of (seed, epoch), evaluation in the data's order.

No augmentation can reach evaluation: `batches` has no place for it. Workers are threads (decoding
and copying release the lock); each batch is a function of its number, so the number of workers
changes nothing but the speed. Pictures that are in memory need no worker, unless much is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds
from convarium.data.augment.fields import FieldAugmentation
from convarium.data.augment.mixing import mix as mixed
from convarium.data.augment.series import SeriesAugmentation
from convarium.data.augment.stream import Stream
from convarium.data.augment.texts import TextAugmentation
from convarium.data.augment.volumes import VolumeAugmentation
from convarium.data.augmentation import Augmentation
from convarium.data.batch import Batch
from convarium.data.dataset import Dataset, Part
from convarium.data.kinds import KINDS
from convarium.data.parallel import ordered
from convarium.data.pictures import Gathered, Pictures, pictures_of
from convarium.data.preprocessing import Preprocessing
from convarium.data.skipping import Skipped
from convarium.errors import DataError, OptionError

Changes = (
    Augmentation | VolumeAugmentation | TextAugmentation | SeriesAugmentation | FieldAugmentation
)


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
        batch_size: samples a batch; the last one may have fewer, and volumes have no more than
            `preprocessing.most_at_once`.
        workers: threads that prepare batches ahead; 0 prepares each when it is asked for.
        skipped: a list that takes the samples that cannot be read; None makes them an error.

    Raises:
        OptionError: batch_size below 1 or workers below 0.
        DataError: a sample cannot be read, and `skipped` is None.
    """
    _check_batch_size(batch_size)
    batch_size = min(batch_size, preprocessing.most_at_once)
    if isinstance(data, Part):
        dataset, ids = data.dataset, data.ids
        pictures = pictures_of(dataset, preprocessing)
    else:
        dataset, ids = data, np.arange(len(data))
        pictures = KINDS[dataset.kind].load("ready")(dataset, preprocessing, keep=False)

    def build(start: int) -> tuple[Batch, list[tuple[int, str]]]:
        gathered = pictures.gather(ids[start : start + batch_size])
        inputs = preprocessing.finish(gathered.pixels)
        return _batch(dataset, gathered.ids, inputs, gathered), gathered.broken

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
    augmentation: Changes | None = None,
    start: int = 0,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Shuffled batches of one epoch, from batch number `start` on.

    The order is a permutation by (seed, epoch); batch k is the same whether or not the batches
    before it were made. A sample that the part has twice is changed in another way each time. A
    remainder of exactly one sample is left out, since batch norm cannot use it; any other remainder
    is a batch. Several processes share each batch: process r of w has
    whole pairs of it, p r / w to p (r + 1) / w of the p pairs, the last one also what is odd, and
    together they have exactly the batch of one process. So none has a single sample, and partners
    of a mix are in one process; of a batch with fewer pairs than processes, some have none.

    Args:
        part: the training part.
        preprocessing: the steps fitted to it.
        batch_size: samples a batch, of all processes together.
        seed: of the run.
        epoch: number of the epoch.
        augmentation: what is changed at random; None means nothing. Volumes take a
            `VolumeAugmentation`, texts a `TextAugmentation`, series a `SeriesAugmentation`, and
            fields a `FieldAugmentation`.
        start: number of the first batch, for a run that is continued.
        workers: threads that prepare batches ahead.
        rank: number of this process.
        world: number of processes.
        device: where pixels are changed; a GPU gets them with 8 bits. What is streamed is changed
            on the processor.

    Raises:
        OptionError: batch_size or world below 1, workers or start below 0, rank not below world,
            samples to be mixed that have no labels, or an augmentation for the other kind of data.
        DataError: a sample cannot be read any more.
    """
    if start < 0:
        raise OptionError(f"start (={start}) must be a batch number, 0 or more.")
    if not 0 <= rank < world:
        raise OptionError(f"rank (={rank}) must be from 0 to world - 1, and world is {world}.")
    steps = steps_per_epoch(part, batch_size)
    change = Augmentation() if augmentation is None else augmentation
    _check_kind(change, part)
    if not part.listed:
        from convarium.data.shards.streaming import stream_batches

        place = {"start": start, "workers": workers, "rank": rank, "world": world}
        order = {"batch_size": batch_size, "seed": seed, "epoch": epoch}
        if isinstance(change, TextAugmentation | SeriesAugmentation | FieldAugmentation):
            raise OptionError("A stream is one of images; give texts and series as a table.")
        return stream_batches(part, preprocessing, change, **order, **place)
    if change.mixes and part.targets is None:
        raise OptionError("mixup and cutmix need labels, and the data has none; set them to None.")
    dataset, pictures = part.dataset, pictures_of(part.dataset, preprocessing)
    ids = pictures.arranged(epoch_order(part, seed, epoch), batch_size, seed, epoch)
    turns = turns_of(ids)

    def build(step: int) -> Batch:
        own = own_places(step, batch_size, len(ids), rank=rank, world=world)
        stream = Stream(ids[own], seed, epoch, None if turns is None else turns[own])
        gathered = _gathered(pictures, change, stream)
        inputs = preprocessing.finish(change.change(_on(device, gathered.pixels), stream, own=True))
        inputs = _after(change, inputs, stream, gathered.mask)
        target, mix = _targets(dataset.targets, stream.ids), None
        draw = change.draw_mix(tuple(inputs.shape[2:]), seed=seed, epoch=epoch, step=step)
        if draw is not None and target is not None:
            inputs, mix = mixed(inputs, target.to(device), draw)
        batch = _batch(dataset, stream.ids, inputs, gathered)
        return batch if mix is None else replace(batch, mix=mix)

    needed = workers if not change.light else _useful(workers, pictures, ids)
    return ordered(build, range(start, steps), needed)


def _check_kind(change: Changes, part: Part) -> None:
    if change.active and change.kind != part.dataset.kind:
        raise OptionError(
            f"augmentation (={type(change).__name__}) is for {change.kind}, and the data holds "
            f"{part.dataset.kind}."
        )


def epoch_order(part: Part, seed: int, epoch: int) -> NDArray[np.int64]:
    """Ids of the part's samples in the order of a training epoch: a permutation by its number."""
    return part.ids[seeds.permutation(len(part), seed, "order", epoch)]


def turns_of(ids: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """How often each place's sample stands before that place; None where none comes twice.

    >>> turns_of(np.array([4, 7, 4, 4, 7])).tolist()
    [0, 0, 1, 2, 1]
    """
    if np.bincount(ids).max(initial=0) < 2:
        return None
    order = np.argsort(ids, kind="stable")
    runs = np.diff(ids[order], prepend=-1) != 0
    starts = np.maximum.accumulate(np.where(runs, np.arange(len(ids)), 0))
    turns = np.empty(len(ids), np.int64)
    turns[order] = np.arange(len(ids)) - starts
    return turns


def steps_per_epoch(part: Part, batch_size: int) -> int:
    """Batches of one epoch; a remainder of exactly one sample makes none.

    Raises:
        OptionError: batch_size below 1.
    """
    _check_batch_size(batch_size)
    whole, rest = divmod(len(part), batch_size)
    return whole + (rest > 1)


def own_places(step: int, batch_size: int, samples: int, *, rank: int, world: int) -> slice:
    """What a process has of an epoch's places in a batch: whole pairs, the last one what is odd.

    >>> own_places(1, 4, 7, rank=0, world=2), own_places(1, 4, 7, rank=1, world=2)
    (slice(4, 4, None), slice(4, 7, None))
    """
    begin, end = step * batch_size, min((step + 1) * batch_size, samples)
    pairs = (end - begin) // 2
    first, last = (begin + 2 * (pairs * place // world) for place in (rank, rank + 1))
    return slice(first, end if rank == world - 1 else last)


def _gathered(pictures: Pictures, change: Changes, stream: Stream) -> Gathered:
    """Pixels of the stream's samples, or of the crops that are taken when they are read."""
    draws: Any = change.crop_draws(stream)  # of the kind that its pictures take
    if draws is None:
        gathered = pictures.gather(stream.ids)
    else:
        gathered = pictures.gather_crops(stream.ids, draws)
    for i, reason in gathered.broken:
        raise DataError(f"Cannot read {pictures.dataset.name(i)} any more: {reason}.")
    return gathered


def _after(change: Changes, inputs: Tensor, stream: Stream, mask: Tensor | None) -> Tensor:
    """What is done to normalised inputs; only series have padding that it must leave."""
    if isinstance(change, SeriesAugmentation):
        return change.after(inputs, stream, mask)
    return change.after(inputs, stream)


def _on(device: torch.device | str, pixels: Tensor) -> Tensor:
    """The pixels on the device; they travel to a GPU while other work goes on."""
    if torch.device(device).type != "cuda":
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


def _batch(dataset: Dataset, ids: NDArray[np.int64], inputs: Tensor, found: Gathered) -> Batch:
    own = found.target
    return Batch(
        inputs=(inputs,),
        target=_targets(dataset.targets, ids) if own is None else own,
        mask=found.mask,
        index=torch.from_numpy(ids),
        weight=None,
        named=dict(found.named),
    )


def _useful(workers: int, pictures: Pictures, ids: NDArray[np.int64]) -> int:
    """No threads where nothing has to be read: they would only get in the network's way."""
    return 0 if workers > 0 and pictures.holds(ids) else workers


def _targets(targets: NDArray[Any] | None, ids: NDArray[np.int64]) -> Tensor | None:
    return None if targets is None else torch.from_numpy(targets[ids])


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise OptionError(f"batch_size (={batch_size}) must be 1 or more.")
