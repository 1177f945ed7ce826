"""Batches fill while one is computed, answers go to their samples, and the gate keeps its word."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.serve.admission import Gate, Room
from convarium.serve.batching import Batcher
from convarium.serve.refusals import RefusedError


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def answered(samples, *, most=4, fails=(), until=None, wait=0.0):
    """What a batcher gives for samples that come together, and the sizes of its batches."""
    sizes = []

    def compute(batch):
        if any(sample in fails for sample in batch):
            raise ValueError("poisoned")
        return [10 * sample for sample in batch]

    async def ask():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(compute, executor, most=most, wait=wait, told=sizes.append)
            late = float("inf") if until is None else until
            waiting = [batcher.submit(sample, late) for sample in samples]
            return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(ask()), sizes


@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 8))
def test_each_sample_gets_its_own_answer(samples, most):
    answers, sizes = answered(samples, most=most)
    assert answers == [10 * sample for sample in samples]
    assert sum(sizes) == len(samples)
    assert max(sizes, default=0) <= most


def test_a_sample_that_fails_spoils_no_other():
    answers, _ = answered([1, 2, 3, 4, 5], fails={3})
    assert answers[:2] + answers[3:] == [10, 20, 40, 50]
    assert isinstance(answers[2], ValueError)


def test_what_is_late_is_not_computed():
    answers, sizes = answered([1, 2], until=-1.0)
    assert [answer.code for answer in answers] == ["late", "late"]
    assert sizes == []


def test_what_comes_while_a_batch_is_computed_makes_up_the_next():
    first, sizes = threading.Event(), []

    def compute(batch):
        first.wait(5)
        return batch

    async def ask():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(compute, executor, most=16, told=sizes.append)
            waiting = [asyncio.ensure_future(batcher.submit(0, 1e9))]
            await asyncio.sleep(0.01)
            waiting += [asyncio.ensure_future(batcher.submit(k, 1e9)) for k in range(1, 6)]
            await asyncio.sleep(0.01)
            first.set()
            return await asyncio.gather(*waiting)

    assert asyncio.run(ask()) == [0, 1, 2, 3, 4, 5]
    assert sizes == [1, 5]


def test_a_batch_waits_for_more_where_it_is_told_to():
    async def ask():
        sizes = []
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(list, executor, most=8, wait=0.05, told=sizes.append)
            one = asyncio.ensure_future(batcher.submit(1, 1e9))
            await asyncio.sleep(0.01)
            await asyncio.gather(one, batcher.submit(2, 1e9))
        return sizes

    assert asyncio.run(ask()) == [2]


def test_an_answer_that_nobody_awaits_is_not_computed():
    async def ask():
        computed = []
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda batch: computed.extend(batch) or batch, executor, most=8)
            left = asyncio.ensure_future(batcher.submit(1, 1e9))
            stays = asyncio.ensure_future(batcher.submit(2, 1e9))
            await asyncio.sleep(0)
            left.cancel()
            await stays
        return computed

    assert asyncio.run(ask()) == [2]


def test_the_gate_holds_no_more_than_its_capacity():
    gate = Gate(3, 1.0)
    with gate.inside() as ticket:
        ticket.need(3)
        with pytest.raises(RefusedError) as full, gate.inside():
            pass
        assert (full.value.status, full.value.code) == (503, "full")
        assert full.value.headers["Retry-After"] == "1"
        with pytest.raises(RefusedError) as never:
            ticket.need(4)
        assert never.value.status == 413
        assert gate.count == 3
    assert gate.count == 0


def test_the_gate_refuses_what_would_come_too_late():
    clock = Clock()
    gate = Gate(100, 2.2, clock)
    for _ in range(20):  # one answer every half second
        with gate.inside():
            clock.now += 0.5
    assert gate.pace == pytest.approx(0.5)
    with gate.inside() as ticket:
        ticket.need(2)  # the second is out after 1 s, half of the deadline are 1.1
        with pytest.raises(RefusedError) as slow:
            gate.check()
        assert (slow.value.code, slow.value.headers["Retry-After"]) == ("too_slow", "2")
    gate.check()


def test_one_is_let_in_however_slow_it_was_before():
    clock = Clock()
    gate = Gate(4, 1.0, clock)
    with gate.inside():
        clock.now += 60
    with gate.inside():
        assert gate.count == 1


def test_many_at_once_are_let_in_where_nobody_else_is_inside():
    clock = Clock()
    gate = Gate(9, 1.0, clock)
    with gate.inside():
        clock.now += 0.4
    with gate.inside() as ticket:
        ticket.need(8)  # 3.2 s by the pace, which is one after the other
        assert gate.count == 8
        clock.now += 3.2
    with gate.inside(), pytest.raises(RefusedError) as slow, gate.inside():
        pass
    assert slow.value.code == "too_slow"


def test_refused_samples_say_nothing_of_the_pace():
    clock = Clock()
    gate = Gate(4, 1.0, clock)
    with gate.inside():
        clock.now += 0.5
    before = gate.pace
    with pytest.raises(ValueError, match="broken"), gate.inside():
        raise ValueError("broken")
    assert (gate.pace, gate.count) == (before, 0)


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 100))
def test_no_more_bytes_are_kept_than_there_is_room_for(counts, most):
    room, kept = Room(most), []
    for count in counts:
        with contextlib.suppress(RefusedError):
            room.take(count)
            kept.append(count)
        assert room.taken == sum(kept) <= most
    with pytest.raises(RefusedError) as refusal:
        room.take(most + 1)
    assert refusal.value.status == 503
    for count in kept:
        room.give(count)
    assert room.taken == 0


def test_too_few_answers_are_errors_of_their_samples():
    async def run():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda samples: samples[1:], executor, most=4)
            waiting = [batcher.submit(k, time.monotonic() + 9) for k in range(3)]
            return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)

    assert [type(each) for each in asyncio.run(run())] == [ValueError] * 3
