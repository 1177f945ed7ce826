"""Paired timing: candidates take turns, so that whatever else the machine does slows all alike.

warm-up, dropped -> rounds: a b c, b c a, c a b, ... -> the seconds of each, side by side
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from convarium.errors import OptionError
from convarium.graph.wrappers import all_eager
from convarium.graph.writes import unwatched, watched

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """How long one candidate took in each round.

    Attributes:
        seconds: one value a round, in the order of the rounds.
    """

    seconds: tuple[float, ...]

    @property
    def n(self) -> int:
        """Number of measurements."""
        return len(self.seconds)

    @property
    def median(self) -> float:
        """Half of the rounds took at most so many seconds."""
        return self.percentile(50)

    def percentile(self, percent: float) -> float:
        """So many per cent of the rounds took at most this, linear between two of them; seconds.

        Raises:
            OptionError: `percent` is not in [0, 100].

        >>> Timing((4.0, 1.0, 2.0)).percentile(75)
        3.0
        """
        if not 0 <= percent <= 100:
            raise OptionError(f"percent (={percent}) must lie between 0 and 100.")
        ordered = sorted(self.seconds)
        place = (len(ordered) - 1) * percent / 100
        below = math.floor(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    def ratio(self, reference: Timing) -> float:
        """Median of the ratios of values that were taken in the same round; 2 is half as fast.

        Raises:
            OptionError: the two were not timed together: their numbers of rounds differ.

        >>> Timing((2.0, 9.0, 6.0)).ratio(Timing((1.0, 3.0, 3.0)))
        2.0
        """
        if self.n != reference.n:
            raise OptionError(
                f"reference has {reference.n} rounds and this {self.n}; time both in one call."
            )
        pairs = zip(self.seconds, reference.seconds, strict=True)
        return statistics.median(own / other for own, other in pairs)


def paired_timing(
    calls: Mapping[str, Call],
    *,
    rounds: int = 10,
    warmup: int = 1,
    seconds: float = math.inf,
    least: int = 3,
    turn: float = 0.0,
    synchronize: Call | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time several callables in alternation; each round, another one begins.

    What slows the machine for a while slows all of them, and `Timing.ratio` compares values that
    were taken side by side. Inside `untouched`, one more round goes first, so that weights that a
    call writes into are copied before.

    Args:
        calls: what to time, by name.
        rounds: how often each is timed.
        warmup: rounds before them, which are not counted.
        seconds: time limit of the whole: no round begins after it, warm-up rounds only in its first
            half; but one warm-up round, where any is asked for, and `least` rounds always run.
        least: rounds that are timed even past the limit; `rounds` if that is smaller.
        turn: seconds of a turn, which repeats its call and gives the median of all but the first:
            that one pays for the caches, and for the threads that the candidate before it left
            spinning. With 0 a turn is one call.
        synchronize: waits for work that a call leaves running, as on a GPU; its time counts.
        clock: gives the time in seconds.

    Raises:
        OptionError: no calls, or numbers that are too small.

    >>> found = paired_timing({"short": lambda: sum(range(9)), "long": lambda: sum(range(9999))})
    >>> found["long"].n, found["long"].ratio(found["short"]) > 1
    (10, True)
    """
    _check(calls, rounds=rounds, warmup=warmup, seconds=seconds, least=least, turn=turn)
    wait = synchronize or _nothing
    if watched():  # what writes into weights is seen once, and not while the clock runs
        with all_eager():
            for call in calls.values():
                call()
                wait()
    with unwatched():
        return _rounds(calls, rounds, warmup, seconds, least, turn, wait, clock)


def _rounds(
    calls: Mapping[str, Call],
    rounds: int,
    warmup: int,
    seconds: float,
    least: int,
    turn: float,
    wait: Call,
    clock: Callable[[], float],
) -> dict[str, Timing]:
    """Warm up, then time in turns."""
    start = clock()
    for done in range(warmup):
        if done and clock() - start > seconds / 2:
            break
        for call in calls.values():
            call()
            wait()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for done in range(rounds):
        if done >= least and clock() - start > seconds:
            break
        first = done % len(order)
        for name in order[first:] + order[:first]:
            taken[name].append(_turn(calls[name], turn, wait, clock))
    return {name: Timing(tuple(values)) for name, values in taken.items()}


def _turn(call: Call, seconds: float, wait: Call, clock: Callable[[], float]) -> float:
    """Seconds of one call, by itself or among many of its own kind."""
    taken: list[float] = []
    whole = 0.0
    while not taken or (seconds and (len(taken) < 2 or whole < seconds)):
        wait()
        before = clock()
        call()
        wait()
        taken.append(clock() - before)
        whole += taken[-1]
    return statistics.median(taken[1:] or taken)


def _check(
    calls: Mapping[str, Call],
    *,
    rounds: int,
    warmup: int,
    seconds: float,
    least: int,
    turn: float,
) -> None:
    if not calls:
        raise OptionError("calls (={}) must have at least one entry.")
    for name, value, low in (("rounds", rounds, 1), ("warmup", warmup, 0), ("least", least, 1)):
        if type(value) is not int or value < low:
            raise OptionError(f"{name} (={value!r}) must be a whole number of {low} or more.")
    if not 0 <= turn < math.inf:
        raise OptionError(f"turn (={turn!r}) must be a number of seconds, 0 or more.")
    if not seconds > 0:
        raise OptionError(f"seconds (={seconds!r}) must be above 0; math.inf sets no limit.")


def _nothing() -> None:
    """Wait for nothing: the processor's work is done when a call returns."""
