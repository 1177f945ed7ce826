"""The order of a stream, against counting by hand over all of its batches and segments."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convarium.data.shards.lanes import Plan, Segment, owner

plans = st.builds(
    lambda lengths, samples, batch_size, block, seed: Plan(
        lengths, len(lengths), samples, batch_size, block, seed, 1
    ),
    st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(sum),
    st.integers(2, 150),
    st.integers(1, 9),
    st.integers(2, 64),
    st.integers(0, 5),
)


def rows(segments: list[Segment]) -> list[tuple[int, int, int]]:
    return [(s.turn, s.shard, row) for s in segments for row in range(s.start, s.stop)]


@given(plans)
def test_batches_take_turns_at_the_lanes_and_are_counted_right(plan):
    sizes, taken = [], np.zeros(plan.lanes, np.int64)
    for step in range(plan.steps):
        assert np.array_equal(plan.drawn(step), taken)
        shares = plan.batch(step)
        sizes.append(sum(share.samples for share in shares))
        for share in shares:
            taken[share.lane] += share.samples
        widths = [share.samples for share in shares]
        assert set(widths[:-1]) <= {2}
    assert np.array_equal(plan.drawn(plan.steps), taken)
    whole, rest = divmod(plan.samples, plan.batch_size)
    assert sizes == [plan.batch_size] * whole + [rest] * (rest > 1)
    assert taken.max() - taken.min() <= 2 * plan.steps + 2


@given(plans)
def test_every_row_comes_once_before_any_comes_twice(plan):
    read = [row for lane in range(plan.lanes) for row in rows(list(plan.segments(lane)))]
    total = sum(plan.lengths)
    assert len(read) == int(plan.drawn(plan.steps).sum())
    counts = Counter((shard, row) for _, shard, row in read)
    every = {(shard, row) for shard, n in enumerate(plan.lengths) for row in range(n)}
    assert set(counts) <= every
    assert max(counts.values()) == -(-len(read) // total)
    assert min(counts[place] for place in every) == len(read) // total
    assert Counter(turn for turn, _, _ in read).most_common(1)[0][1] <= total


@given(plans, st.integers(0, 40))
def test_a_lane_that_is_entered_later_goes_on_with_the_same_rows(plan, start):
    for lane in range(plan.lanes):
        whole = rows(list(plan.segments(lane)))
        assert rows(list(plan.segments(lane, min(start, len(whole))))) == whole[start:]


def test_shards_of_unknown_lengths_are_dealt_out_and_each_pass_has_its_own_order():
    plan = Plan(None, 8, 100, 10, 64, 0, 0)
    first = {lane: [] for lane in range(plan.lanes)}
    later = {lane: [] for lane in range(plan.lanes)}
    for lane in first:
        for segment, _ in zip(plan.segments(lane), range(2), strict=False):
            (first if segment.turn == 0 else later)[lane].append(segment.shard)
    for dealt in (first, later):
        assert sorted(shard for shards in dealt.values() for shard in shards) == [*range(8)]
    assert first != later
    assert next(plan.segments(0)) != next(Plan(None, 8, 100, 10, 64, 0, 3).segments(0))


def test_processes_divide_the_lanes_evenly_or_not_at_all():
    assert [owner(lane, 8, 4) for lane in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [owner(lane, 8, 3) for lane in range(8)] == [None] * 8
    assert {owner(lane, 2, 4) for lane in range(2)} == {None}


def test_blocks_are_shuffled_by_seed_epoch_lane_and_number():
    plan = Plan([40], 1, 40, 8, 16, 0, 0)
    orders = [plan.shuffled(0, 0, 16), plan.shuffled(0, 1, 16), plan.shuffled(1, 0, 16)]
    orders.append(Plan([40], 1, 40, 8, 16, 1, 0).shuffled(0, 0, 16))
    orders.append(Plan([40], 1, 40, 8, 16, 0, 1).shuffled(0, 0, 16))
    assert all(sorted(order.tolist()) == [*range(16)] for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 5
    assert np.array_equal(orders[0], plan.shuffled(0, 0, 16))
