"""Parts of a stream: a training part that is read in passes, and others that are held or chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.data.dataset import Dataset, Part
from convarium.data.given import TEST, TRAIN, VALIDATION
from convarium.data.parts import Parts
from convarium.data.samples import EncodedSamples
from convarium.data.shards.lanes import Plan
from convarium.data.shards.sources import Row, Shards
from convarium.data.shards.stream import ShardStream
from convarium.data.skipping import SkipList
from convarium.errors import DataError, OptionError

BLOCK = 2_048
_SHARE, _MOST_HELD_OUT = 0.15, (2_000, 5_000)
_PROBED, _RUNS = 1_024, 16  # rows that are looked at, in so many runs
_HELD = 2**30  # bytes of validation and test images that may be kept as they are


class RowSamples(EncodedSamples):
    """Rows that were read, whose images are still encoded.

    Args:
        rows: the rows.
        behind: where images are that the rows do not carry.
    """

    def __init__(self, rows: Sequence[Row], behind: EncodedSamples | None) -> None:
        self.rows, self.behind = tuple(rows), behind

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, i: int) -> str:
        """The row's name."""
        return self.rows[i].name

    def encoded(self, i: int) -> str | bytes:
        """What the row carries, or what it left where it is."""
        row = self.rows[i]
        if row.problem:
            raise DataError(row.problem)
        if row.image is not None:
            return row.image
        if self.behind is None:
            raise DataError("the row has no image")
        return self.behind.encoded(row.id)


class StreamData(Dataset):
    """What is known of a stream's training part: some of its rows, which stand for all.

    Args:
        rows: what was looked at.
        shards: where they come from.
        stream: the whole.
    """

    def __init__(self, rows: Sequence[Row], shards: Shards, stream: ShardStream) -> None:
        whole = stream.counted
        self.rows = tuple(rows)
        super().__init__(
            RowSamples(rows, shards.samples),
            source=stream.source,
            classes=whole.classes,
            targets=np.array([row.target for row in rows], np.int64),
            skipped=whole.skipped,
            columns=whole.columns,
            mirrored=whole.mirrored,
        )
        self._stream = stream

    def fingerprint(self) -> str:
        """That of the whole stream."""
        return self._stream.fingerprint


class StreamPart(Part):
    """The training part of a stream: so many samples an epoch, in an order of its own.

    Args:
        dataset: some of its rows, for what follows from the data.
        shards: all of them.
        samples: of an epoch.
        block: samples that are shuffled together.
    """

    listed = False

    def __init__(self, dataset: StreamData, shards: Shards, samples: int, block: int) -> None:
        usable = np.flatnonzero(dataset.survey().digests != 0)
        super().__init__(dataset, usable)
        self.shards, self.samples, self.block = shards, samples, block
        lost = np.setdiff1d(np.arange(len(dataset)), usable).tolist()
        self.broken = {dataset.rows[k].id for k in lost}  # and those that training will find

    def __len__(self) -> int:
        return self.samples

    @property
    def targets(self) -> NDArray[Any] | None:
        """Class numbers of all samples; None where nobody has counted them."""
        return self.shards.targets

    @property
    def probe(self) -> Part:
        """The rows that were looked at."""
        return Part(self.dataset, self.ids)

    def plan(self, *, batch_size: int, seed: int, epoch: int) -> Plan:
        """The order of an epoch."""
        return Plan(
            self.shards.lengths,
            self.shards.count,
            self.samples,
            batch_size,
            self.block,
            seed,
            epoch,
        )


def split_stream(
    stream: ShardStream,
    *,
    validation: float | None = None,
    test: float | None = None,
    seed: int = 0,
    samples_per_epoch: int | None = None,
    block: int = BLOCK,
) -> Parts:
    """Training, validation and test parts of a stream.

    Parts that the data gives are kept. Of the others, each sample is drawn for itself by a hash of
    the seed and its name: so it stays where it is when shards are added or come in another order.
    Copies are not looked for, and classes have their shares on average only.

    Args:
        stream: opened.
        validation: share of the samples; None means 15 %, and at most 2,000.
        test: likewise, at most 5,000.
        seed: of the draw.
        samples_per_epoch: None means all training samples once.
        block: samples that are in memory and shuffled together.

    Raises:
        OptionError: shares, samples or a block below what makes sense.
        DataError: a part has no sample, or nobody has counted the samples.
    """
    for name, value in (("samples_per_epoch", samples_per_epoch), ("block", block)):
        if value is not None and value < 2:
            raise OptionError(f"{name} (={value}) must be 2 or more.")
    number, shares = _numbers(stream, {VALIDATION: validation, TEST: test}, seed)
    shards: Shards = stream.uncounted or stream.shards(np.flatnonzero(number == TRAIN))
    counted = shards.lengths is not None
    if counted and sum(shards.lengths or ()) < 2:
        raise DataError(f"{stream.source} has fewer than two training samples; give more.")
    if samples_per_epoch is None and not counted:
        raise OptionError(
            "samples_per_epoch (=None) must say how long an epoch is, since the samples were not "
            "counted."
        )
    samples = samples_per_epoch or sum(shards.lengths or ())
    settings: dict[str, float | int] = {**shares, "seed": seed, "stream": True, "block": block}
    if samples_per_epoch is not None:
        settings["samples_per_epoch"] = samples_per_epoch
    dataset = StreamData([*_probe(shards)], shards, stream)
    train = StreamPart(dataset, shards, samples, block)
    held = [_held(stream, np.flatnonzero(number == part)) for part in (VALIDATION, TEST)]
    return Parts(train, held[0], held[1], settings=settings)


def _numbers(
    stream: ShardStream, wanted: dict[int, float | None], seed: int
) -> tuple[NDArray[np.int8], dict[str, float]]:
    """The part of each counted sample, and the shares that were drawn."""
    names, n = {VALIDATION: "validation", TEST: "test"}, len(stream.counted)
    given = np.full(n, -1, np.int8) if stream.given is None else stream.given
    number = np.maximum(given, np.int8(TRAIN))
    free = np.flatnonzero(given <= TRAIN)
    shares: dict[str, float] = {}
    for part, most in zip((VALIDATION, TEST), _MOST_HELD_OUT, strict=True):
        has = bool((given == part).any())
        share = wanted[part]
        if share is None:
            share = 0.0 if has or not len(free) else min(_SHARE, most / len(free))
        elif has:
            raise OptionError(
                f"{names[part]} (={share}) has no effect: the data gives its own samples."
            )
        if not 0 <= share < 1:
            raise OptionError(f"{names[part]} (={share}) must be from 0 to below 1.")
        shares[names[part]] = share
    if sum(shares.values()) >= 1:
        raise OptionError("validation and test must be together below 1.")
    if any(shares.values()) and len(free):
        drawn = _hashed(stream.counted, free, seed)
        number[free[drawn < shares["validation"]]] = VALIDATION
        number[free[drawn >= 1 - shares["test"]]] = TEST
    if not (number == VALIDATION).any():
        raise DataError(f"{stream.source} leaves no sample for validation; give a larger share.")
    return number, shares


def _hashed(dataset: Dataset, ids: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each sample, from the seed and its name."""
    key = seeds.derive(seed, "part").to_bytes(8, "little")
    digests = (
        hashlib.blake2b(dataset.name(i).encode("utf-8", "replace"), digest_size=8, key=key).digest()
        for i in ids.tolist()
    )
    drawn = np.frombuffer(b"".join(digests), "<u8")
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _probe(shards: Shards) -> Iterator[Row]:
    """Some rows that stand for all: runs of rows that are spread over the shards."""
    lengths = shards.lengths
    if lengths is None:
        chosen = np.unique(np.linspace(0, shards.count - 1, _RUNS).astype(int)).tolist()
        for shard in chosen:
            yield from shards.rows(shard, 0, -(-_PROBED // len(chosen)))
        return
    ends = np.cumsum(lengths)
    run = min(_PROBED, int(ends[-1])) / _RUNS
    for k in range(_RUNS):
        first = int(k * int(ends[-1]) / _RUNS)
        left = max(1, round((k + 1) * run) - round(k * run))
        while left > 0 and first < ends[-1]:
            shard = int(np.searchsorted(ends, first, side="right"))
            start = first - int(ends[shard] - lengths[shard])
            count = min(left, int(lengths[shard]) - start)
            yield from shards.rows(shard, start, start + count)
            left, first = left - count, first + count


def _held(stream: ShardStream, ids: NDArray[np.int64]) -> Part:
    """A part for evaluation: its images are kept encoded where they fit, and all are looked at."""
    shards, whole = stream.shards(ids), stream.counted
    rows: list[Row] = []
    size = 0
    for shard in range(shards.count):
        for row in shards.rows(shard, 0, None):
            size += len(row.image) if isinstance(row.image, bytes) else 0
            rows.append(row if size <= _HELD else row._replace(image=None))
    dataset = Dataset(
        RowSamples(rows, shards.samples),
        source=whole.source,
        classes=whole.classes,
        targets=np.array([row.target for row in rows], np.int64),
        skipped=SkipList(),
        mirrored=whole.mirrored,
    )
    if not len(dataset):
        return Part(dataset, np.empty(0, np.int64))
    usable = np.flatnonzero(dataset.survey().digests != 0)
    whole.skipped.extend(dataset.skipped)
    return Part(dataset, usable)
