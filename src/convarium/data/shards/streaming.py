"""Training batches of a stream: rows of lanes, decoded and changed, the same however they are read.

A row that cannot be read gives its place in the batch to its neighbour, with which it may be mixed;
where neither can be read, both places are left out.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from convarium.data.augment.mixing import mix as mixed
from convarium.data.augment.stream import Stream
from convarium.data.augment.volumes import VolumeAugmentation
from convarium.data.augmentation import Augmentation
from convarium.data.batch import Batch
from convarium.data.dataset import Dataset, Part
from convarium.data.decode import image_size
from convarium.data.parallel import ordered
from convarium.data.pictures import Gathered, Pictures
from convarium.data.preprocessing import Preprocessing
from convarium.data.samples import EncodedSamples
from convarium.data.shards.lanes import Plan, owner
from convarium.data.shards.sources import Row, Shards
from convarium.data.shards.streamed_parts import RowSamples, StreamPart
from convarium.data.skipping import Skipped
from convarium.errors import DataError, OptionError

_MOST_BROKEN = 0.1
_ENOUGH = 200  # samples, before a share of broken ones is judged


class Work(NamedTuple):
    """A batch to be made: its number, and the rows of this process, pair after pair."""

    step: int
    rows: list[Row]


class Made(NamedTuple):
    """A batch, the number of rows that it was made from, and what could not be read of them."""

    batch: Batch
    asked: int
    broken: dict[int, Skipped]


def stream_batches(
    part: Part,
    preprocessing: Preprocessing,
    change: Augmentation | VolumeAugmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int,
    workers: int,
    rank: int,
    world: int,
) -> Iterator[Batch]:
    """`data.training_batches` for the training part of a stream.

    Batch k holds the same samples whatever the number of processes and workers. Where processes
    divide the lanes evenly (1, 2, 4 or 8 of them), each reads its own lanes alone; else each reads
    all and makes its share of every batch.

    Raises:
        DataError: more than a tenth of what was asked for cannot be read.
        OptionError: the part is none of a stream, or the augmentation is for volumes.
    """
    if not isinstance(part, StreamPart) or not isinstance(change, Augmentation):
        raise OptionError(f"part (={part!r}) must be the training part of a stream of images.")
    plan = part.plan(batch_size=batch_size, seed=seed, epoch=epoch)

    def build(work: Work) -> Made:
        return _made(part, preprocessing, change, plan, work)

    def run() -> Iterator[Batch]:
        losses = _Losses(part)
        with contextlib.ExitStack() as closing:
            work = _work(part.shards, plan, start, workers, rank, world)
            made = ordered(build, closing.enter_context(contextlib.closing(work)), workers)
            closing.callback(getattr(made, "close", list))
            for batch, asked, broken in made:
                losses.count(asked, broken)
                yield batch

    return run()


class _Losses:
    """Counts what cannot be read, lists it once, and stops where it is too much."""

    def __init__(self, part: StreamPart) -> None:
        self.part = part
        self._asked, self._lost = 0, set[int]()

    def count(self, asked: int, broken: dict[int, Skipped]) -> None:
        """Take in one batch.

        Raises:
            DataError: more than a tenth is broken.
        """
        part, self._asked = self.part, self._asked + asked
        self._lost |= broken.keys()
        part.dataset.skipped.extend(item for i, item in broken.items() if i not in part.broken)
        part.broken |= broken.keys()
        enough = self._asked >= min(_ENOUGH, len(part))
        if enough and len(self._lost) > _MOST_BROKEN * self._asked:
            last = next(iter(broken.values()), None)
            example = "" if last is None else f" ({last.name}: {last.reason})"
            raise DataError(
                f"{len(self._lost)} of {self._asked} images of {part.dataset.source} cannot be "
                f"read, more than the allowed share of {_MOST_BROKEN:.0%}{example}; repair or "
                "remove them."
            )


def _work(
    shards: Shards, plan: Plan, start: int, workers: int, rank: int, world: int
) -> Generator[Work]:
    """The rows of this process for each batch from number `start` on."""
    own = [lane for lane in range(plan.lanes) if owner(lane, plan.lanes, world) in (rank, None)]
    skip = plan.drawn(start)
    with contextlib.ExitStack() as closing:
        lanes = {}
        for lane in own:
            flow = _lane(shards, plan, lane, int(skip[lane]), workers)
            lanes[lane] = closing.enter_context(contextlib.closing(flow))
        for step in range(start, plan.steps):
            yield Work(step, _rows(plan, step, lanes, rank, world))


def _rows(
    plan: Plan, step: int, lanes: Mapping[int, Iterator[Row]], rank: int, world: int
) -> list[Row]:
    """This process's rows of a batch; the lanes go on by the rows of all."""
    alone = owner(0, plan.lanes, world) is not None
    shares, rows = plan.batch(step), list[Row]()
    for pair, share in enumerate(shares):
        if share.lane not in lanes:
            continue
        taken = list(itertools.islice(lanes[share.lane], share.samples))
        if alone or pair * world // len(shares) == rank:
            rows += taken
    return rows


def _lane(shards: Shards, plan: Plan, lane: int, skip: int, workers: int) -> Generator[Row]:
    """The rows of a lane after the first `skip`: blocks, each shuffled, the next one read ahead."""
    size = plan.lane_block
    first, inside = divmod(skip, size)
    flowing = _flow(shards, plan, lane, first * size)
    whole = int(plan.drawn(plan.steps)[lane])

    def block(number: int) -> list[Row]:
        rows = list(itertools.islice(flowing, min(size, whole - number * size)))
        order = plan.shuffled(lane, number, len(rows)).tolist()
        return [rows[place] for place in order]

    blocks = ordered(block, range(first, -(-whole // size)), min(1, workers))
    try:
        for number, rows in enumerate(blocks, first):
            yield from rows[inside if number == first else 0 :]
    finally:
        if hasattr(blocks, "close"):
            blocks.close()


def _flow(shards: Shards, plan: Plan, lane: int, start: int) -> Iterator[Row]:
    """The rows of a lane in the order of its segments, from row `start` on."""
    left = start if plan.lengths is None else 0
    empty = 0
    for turn, shard, begin, stop in plan.segments(lane, start):
        empty += 1
        for row in shards.rows(shard, begin, stop):
            empty, left = 0, left - 1
            if left < 0:
                yield row._replace(turn=turn)
        if empty > shards.count:
            raise DataError("The stream's shards have no labelled rows; give others.")


def _made(
    part: StreamPart,
    preprocessing: Preprocessing,
    change: Augmentation,
    plan: Plan,
    work: Work,
) -> Made:
    """Decode, change, normalise and mix."""
    rows, asked, broken = work.rows, len(work.rows), dict[int, Skipped]()
    while True:
        ids = np.array([row.id for row in rows], np.int64)
        turns = np.array([row.turn for row in rows], np.int64)
        stream = Stream(ids, plan.seed, plan.epoch, turns if turns.any() else None)
        gathered = _gathered(part, preprocessing, change, rows, stream)
        if not gathered.broken:
            break
        lost = dict(gathered.broken)
        broken |= {rows[k].id: Skipped(rows[k].name, reason) for k, reason in lost.items()}
        rows = _replaced(rows, lost)
    inputs = (
        preprocessing.finish(change.change(gathered.pixels, stream, own=True)) if rows else None
    )
    inputs = gathered.pixels.float() if inputs is None else change.after(inputs, stream)
    target = torch.tensor([row.target for row in rows], dtype=torch.int64)
    batch = Batch((inputs,), target, None, torch.from_numpy(ids), None)
    draw = change.draw_mix(
        tuple(inputs.shape[2:]), seed=plan.seed, epoch=plan.epoch, step=work.step
    )
    if draw is not None:
        inputs, mix = mixed(inputs, target, draw)
        batch = replace(batch, inputs=(inputs,), mix=mix)
    return Made(batch, asked, broken)


def _gathered(
    part: StreamPart,
    preprocessing: Preprocessing,
    change: Augmentation,
    rows: Sequence[Row],
    stream: Stream,
) -> Gathered:
    """The pixels of rows; what is broken is told by its place."""
    samples = _OnceRead(rows, part.shards.samples)
    pictures = _RowPictures(Dataset(samples, source=part.dataset.source), preprocessing)
    places, draws = np.arange(len(rows)), change.crop_draws(stream)
    return pictures.gather(places) if draws is None else pictures.gather_crops(places, draws)


def _replaced(rows: Sequence[Row], lost: Container[int]) -> list[Row]:
    """The rows with its neighbour in place of each lost one, and without pairs that are lost."""
    kept = []
    for first in range(0, len(rows), 2):
        places = range(first, min(first + 2, len(rows)))
        whole = [place for place in places if place not in lost]
        kept += [rows[place if place in whole else whole[0]] for place in places if whole]
    return kept


class _OnceRead(RowSamples):
    """Rows whose bytes are fetched once, for the size and for the pixels."""

    def __init__(self, rows: Sequence[Row], behind: EncodedSamples | None) -> None:
        super().__init__(rows, behind)
        self._fetched: dict[int, str | bytes] = {}

    def encoded(self, i: int) -> str | bytes:
        """What the row has."""
        if i not in self._fetched:
            self._fetched[i] = super().encoded(i)
        return self._fetched[i]


class _RowPictures(Pictures):
    """Pictures of rows that pass by: nothing is kept, and sizes come from the files' headers."""

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing) -> None:
        super().__init__(dataset, preprocessing, keep=False)

    @functools.cached_property
    def _keeps_originals(self) -> bool:
        return False

    def _size(self, i: int) -> tuple[int, int]:
        samples = self.dataset.samples
        return image_size(samples.encoded(i)) if isinstance(samples, RowSamples) else (1, 1)
