"""Paired timing on a clock of its own, against numpy, and on calls that sleep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.errors import OptionError
from convarium.graph.timing import Timing, paired_timing


class Clock:
    """Time that passes only when a call says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def takes(self, name: str, *seconds: float) -> Callable[[], None]:
        """A call that lasts so long, the last number again and again."""
        left = list(seconds)

        def call() -> None:
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_the_seconds_are_those_of_the_clock_without_the_warm_up():
    clock = Clock()
    calls = {"a": clock.takes("a", 50.0, 1.0, 3.0, 2.0), "b": clock.takes("b", 9.0, 0.5)}
    found = paired_timing(calls, rounds=3, clock=clock)
    assert found == {"a": Timing((1.0, 3.0, 2.0)), "b": Timing((0.5, 0.5, 0.5))}
    assert found["a"].median == 2.0
    assert found["a"].ratio(found["b"]) == 4.0


def test_they_take_turns_and_each_round_another_begins():
    clock = Clock()
    calls = {name: clock.takes(name, 1.0) for name in "abc"}
    paired_timing(calls, rounds=4, warmup=2, clock=clock)
    assert "".join(clock.calls) == "abc" * 2 + "abc" + "bca" + "cab" + "abc"


def test_a_turn_of_many_calls_leaves_the_first_out_and_gives_the_median():
    """The first of a turn takes nine times as long, as after another candidate."""
    clock = Clock()
    calls = {"a": clock.takes("a", 1.0), "b": clock.takes("b", *[9.0, 2.0, 3.0, 7.0] * 2)}
    found = paired_timing(calls, rounds=2, warmup=0, turn=20.0, clock=clock)
    assert found["b"] == Timing((3.0, 3.0))
    assert "".join(clock.calls) == "a" * 20 + "b" * 4 + "b" * 4 + "a" * 20


def test_a_turn_has_two_calls_where_one_takes_longer_than_it():
    clock = Clock()
    found = paired_timing(
        {"a": clock.takes("a", 9.0, 4.0)}, rounds=1, warmup=0, turn=1, clock=clock
    )
    assert found["a"] == Timing((4.0,))


def test_a_machine_that_slows_down_does_not_change_the_ratio():
    clock, pace = Clock(), iter([1.0, 1.0, 1.0, 1.0, 7.0, 7.0, 3.0, 3.0, 1.0, 1.0])

    def of(work: float) -> Callable[[], None]:
        def call() -> None:
            clock.now += work * next(pace)

        return call

    found = paired_timing({"a": of(3.0), "b": of(1.5)}, rounds=4, clock=clock)
    assert max(found["a"].seconds) == 7 * min(found["a"].seconds)
    assert found["a"].ratio(found["b"]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("limit", "rounds", "warmups"),
    [(math.inf, 20, 5), (1e-9, 3, 1), (6.0, 3, 4), (10.0, 6, 5), (13.5, 9, 5)],
)
def test_the_limit_ends_warm_up_and_rounds_but_least_are_timed(limit, rounds, warmups):
    """A second a call: four warm-up rounds fit the first half of 6 s, and so on."""
    clock = Clock()
    calls = {"a": clock.takes("a", 1.0)}
    found = paired_timing(calls, rounds=20, warmup=5, seconds=limit, clock=clock)
    assert found["a"].n == rounds
    assert len(clock.calls) == rounds + warmups


def test_what_a_call_leaves_running_counts_as_its_own():
    """As on a GPU: calls return at once, and the work is over when it is waited for."""
    clock = Clock()
    pending = [0.0]

    def launch(work: float) -> Callable[[], None]:
        def call() -> None:
            pending[0] += work

        return call

    def wait() -> None:
        clock.now += pending[0]
        pending[0] = 0.0

    pending[0] = 40.0  # what ran before is nobody's
    found = paired_timing(
        {"a": launch(2.0), "b": launch(5.0)}, warmup=0, rounds=2, synchronize=wait, clock=clock
    )
    assert found == {"a": Timing((2.0, 2.0)), "b": Timing((5.0, 5.0))}


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.floats(0, 100),
)
def test_percentiles_are_numpys(values, percent):
    expected = np.percentile(values, percent)
    assert Timing(tuple(values)).percentile(percent) == pytest.approx(expected, abs=1e-6)
    assert Timing(tuple(values)).median == pytest.approx(np.median(values), abs=1e-6)


def test_real_sleep_is_measured():
    found = paired_timing(
        {"nap": lambda: time.sleep(0.01), "rest": lambda: time.sleep(0.03)}, rounds=5
    )
    assert min(found["nap"].seconds) >= 0.01
    assert min(found["rest"].seconds) >= 0.03
    assert found["rest"].ratio(found["nap"]) > 1.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rounds": 0}, "rounds"),
        ({"rounds": 2.5}, "rounds"),
        ({"warmup": -1}, "warmup"),
        ({"least": 0}, "least"),
        ({"turn": -1.0}, "turn"),
        ({"turn": math.inf}, "turn"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": math.nan}, "seconds"),
    ],
)
def test_bad_numbers_are_named(options, words):
    with pytest.raises(OptionError, match=rf"^{words} \(="):
        paired_timing({"a": int}, **options)


def test_nothing_to_time_and_unpaired_values_are_refused():
    with pytest.raises(OptionError, match="at least one entry"):
        paired_timing({})
    with pytest.raises(OptionError, match="time both in one call"):
        Timing((1.0, 2.0)).ratio(Timing((1.0,)))
    with pytest.raises(OptionError, match="between 0 and 100"):
        Timing((1.0,)).percentile(101)
