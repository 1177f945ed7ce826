"""Ordered work in threads."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from convarium.data.parallel import ordered, processors
from convarium.errors import OptionError


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_results_come_in_order(workers: int) -> None:
    def late(i: int) -> int:
        time.sleep(0.002 * (i % 3))
        return i * i

    assert list(ordered(late, range(20), workers)) == [i * i for i in range(20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_in_the_place_of_its_result(workers: int) -> None:
    results = ordered(lambda i: 1 // (3 - i), range(9), workers)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_only_a_few_results_are_made_ahead() -> None:
    done = []
    results = ordered(done.append, range(1000), 2)
    next(results)
    time.sleep(0.05)
    assert len(done) <= 6


def test_a_closed_iterator_leaves_no_thread() -> None:
    before = threading.active_count()
    results = ordered(abs, iter(range(100)), 3)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_workers_below_zero_are_refused() -> None:
    with pytest.raises(OptionError, match="workers"):
        ordered(abs, [1], -1)


def test_there_is_a_processor() -> None:
    assert 1 <= processors() <= 16


def test_workers_compute_alone_and_leave_the_number_of_threads_to_others():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(ordered(lambda _: torch.get_num_threads(), range(8), 2)) == {1}
        assert torch.get_num_threads() == 2
        assert list(ordered(lambda _: torch.get_num_threads(), range(2), 0)) == [2, 2]
    finally:
        torch.set_num_threads(before)
