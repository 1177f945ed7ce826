"""The order of a stream: lanes of shards, each shuffled block by block.

    shards in the order of f(seed, epoch) -> a few lanes, read side by side -> blocks, each shuffled
    by f(seed, epoch, lane, block) -> batches, whose pairs take turns at the lanes

The number of lanes does not depend on the number of processes: so the batches do not either, and
processes that divide the lanes among them read only their own shards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium import seeds

MOST_LANES = 8


class Segment(NamedTuple):
    """Some rows of a shard: from `start`, before `stop` (None: to its end), in a pass over all."""

    turn: int
    shard: int
    start: int
    stop: int | None


class Share(NamedTuple):
    """Some of a batch's samples: one or two that come from one lane."""

    lane: int
    samples: int


@dataclass(frozen=True)
class Plan:
    """The order of one epoch.

    Args:
        lengths: rows of each shard; None where they are not known.
        shards: how many there are.
        samples: of the epoch.
        batch_size: samples a batch.
        block: samples of all lanes together that are shuffled with one another.
        seed, epoch: what the order follows from.
    """

    lengths: Sequence[int] | None
    shards: int
    samples: int
    batch_size: int
    block: int
    seed: int
    epoch: int

    @property
    def lanes(self) -> int:
        """The largest power of two up to 8 and the number of shards."""
        return 1 << (min(MOST_LANES, self.shards).bit_length() - 1)

    @property
    def lane_block(self) -> int:
        """Samples of one lane that are shuffled with one another."""
        return max(2, self.block // self.lanes)

    @property
    def steps(self) -> int:
        """Batches; a remainder of one sample makes none."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 1)

    def batch(self, step: int) -> list[Share]:
        """Where the samples of a batch come from: pairs, and what is odd at the end."""
        size = min(self.batch_size, self.samples - step * self.batch_size)
        pairs = (size + 1) // 2
        first = step * self._pairs
        return [
            Share((first + pair) % self.lanes, min(2, size - 2 * pair)) for pair in range(pairs)
        ]

    def drawn(self, step: int) -> NDArray[np.int64]:
        """How many samples each lane has given before a batch."""
        whole = min(step, self.samples // self.batch_size)
        rounds, rest = divmod(whole * self._pairs, self.lanes)
        counts = 2 * (rounds + (np.arange(self.lanes) < rest))
        if self.batch_size % 2:
            odd = ((np.arange(whole) + 1) * self._pairs - 1) % self.lanes
            counts = counts - np.bincount(odd, minlength=self.lanes)
        for share in self.batch(whole) if step > whole else ():
            counts[share.lane] += share.samples
        return counts.astype(np.int64)

    def segments(self, lane: int, start: int = 0) -> Iterator[Segment]:
        """What a lane reads, without its first `start` rows where lengths are known.

        Known lengths: the shards of one pass after the other are one long row, and each lane has
        a piece of it, as long as what it gives in the epoch; so every row comes once before any
        comes twice. Else: every so many-th shard to its end, in endless passes.
        """
        if self.lengths is None:
            for turn in itertools.count():
                for shard in self._order(turn)[lane :: self.lanes].tolist():
                    yield Segment(turn, shard, 0, None)
        ends = np.cumsum(self.drawn(self.steps))
        begin, end = int(ends[lane - 1]) if lane else 0, int(ends[lane])
        yield from self._piece(begin + start, end)

    @property
    def _pairs(self) -> int:
        return (self.batch_size + 1) // 2

    def _order(self, turn: int) -> NDArray[np.int64]:
        return seeds.permutation(self.shards, self.seed, "shards", self.epoch, turn)

    def _piece(self, begin: int, end: int) -> Iterator[Segment]:
        """The rows begin .. end of the long row."""
        lengths = np.array(self.lengths, np.int64)
        turn, before = divmod(begin, int(lengths.sum()))
        left = end - begin
        while left > 0:
            order = self._order(turn)
            ends = np.cumsum(lengths[order])
            place = int(np.searchsorted(ends, before, side="right"))
            while place < len(order) and left > 0:
                shard = int(order[place])
                start = before - int(ends[place] - lengths[shard])
                count = min(left, int(lengths[shard]) - start)
                if count > 0:
                    yield Segment(turn, shard, start, start + count)
                left, before, place = left - count, before + count, place + 1
            turn, before = turn + 1, 0

    def shuffled(self, lane: int, block: int, count: int) -> NDArray[np.int64]:
        """The order of a block of a lane."""
        return seeds.permutation(count, self.seed, "block", self.epoch, lane, block)


def owner(lane: int, lanes: int, world: int) -> int | None:
    """The process that reads a lane alone; None where processes do not divide the lanes evenly.

    >>> [owner(lane, 4, 2) for lane in range(4)], owner(0, 4, 3)
    ([0, 0, 1, 1], None)
    """
    return lane * world // lanes if lanes % world == 0 else None
