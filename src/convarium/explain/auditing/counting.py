"""Shares with their intervals, two answers about the same samples, and many tests at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.intervals import Interval, newcombe, newcombe_pairs, wilson

Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class Rate:
    """A share of samples with Wilson's interval.

    Attributes:
        successes: how many.
        n: of how many.
        confidence: of the interval.
    """

    successes: int
    n: int
    confidence: float = 0.95

    @classmethod
    def of(cls, happened: Truths) -> Rate:
        """The share of truths."""
        return cls(int(happened.sum()), len(happened))

    @property
    def value(self) -> float:
        """The share; NaN of no sample."""
        return self.successes / self.n if self.n else math.nan

    @property
    def interval(self) -> Interval:
        """Wilson's."""
        return wilson(self.successes, self.n, self.confidence)

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "value": or_none(self.value),
            "interval": list(self.interval),
            "successes": self.successes,
            "n": self.n,
        }


@dataclass(frozen=True)
class Difference:
    """A share less another one.

    Attributes:
        first, second: the shares.
        interval: of first - second, Newcombe's.
        p: probability of a difference as large, or larger, were there none; one-sided. NaN where
            it was not tested.
    """

    first: Rate
    second: Rate
    interval: Interval
    p: float = math.nan

    @classmethod
    def of_pairs(
        cls,
        first: Truths,
        second: Truths,
        confidence: float = 0.95,
        *,
        donors: NDArray[np.int64] | None = None,
    ) -> Difference:
        """Two answers about each of the same samples: paired interval, exact McNemar test.

        Args:
            first, second: answers.
            confidence: of the interval.
            donors: what each pair got its content from. Pairs of one donor are no independent
                evidence about donors, so each of these has one voice in the test: the sign of its
                sum. The interval is that of the samples.
        """
        one, other = Rate.of(first), Rate.of(second)
        voices = first.astype(np.int64) - second
        if donors is not None:
            voices = np.bincount(np.unique(donors, return_inverse=True)[1], weights=voices)
        interval = newcombe_pairs(first, second, confidence)
        return cls(one, other, interval, sign_test(*_signs(voices)))

    @classmethod
    def of_others(cls, first: Rate, second: Rate, confidence: float = 0.95) -> Difference:
        """Shares of different samples."""
        interval = newcombe((first.successes, first.n), (second.successes, second.n), confidence)
        return cls(first, second, interval)

    @property
    def value(self) -> float:
        """The difference of the shares."""
        return self.first.value - self.second.value

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "value": or_none(self.value),
            "interval": list(self.interval),
            "p": or_none(self.p),
            "first": self.first.to_mapping(),
            "second": self.second.to_mapping(),
        }


def sign_test(more: int, less: int) -> float:
    """P(X >= more) for X of more + less fair coins: McNemar's exact test, one-sided.

    >>> sign_test(3, 0), sign_test(0, 0)
    (0.125, 1.0)

    References:
        McNemar (1947), "Note on the sampling error of the difference between correlated proportions
        or percentages", Psychometrika 12, 153-157; exact by the binomial distribution.
    """
    n = more + less
    ways = sum(math.comb(n, k) for k in range(more, n + 1))
    return float(ways / 2**n)


def holm(values: Sequence[float]) -> list[float]:
    """The p values of several tests, adjusted for one false finding in all of them.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    References:
        Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal
        of Statistics 6, 65-70.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = highest
    return adjusted


def or_none(value: float) -> float | None:
    """None for what is no finite number, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


def _signs(voices: NDArray[Any]) -> tuple[int, int]:
    """How many are above and below 0."""
    return int((voices > 0).sum()), int((voices < 0).sum())
