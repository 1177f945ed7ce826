"""Intervals that say how far a measured number can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.errors import OptionError


class Interval(NamedTuple):
    """A confidence interval, ends included."""

    low: float
    high: float

    def or_none(self) -> Interval | None:
        """The interval for JSON: None where an end is not finite."""
        return self if all(map(math.isfinite, self)) else None


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a share of `successes` in `n` independent trials.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n); (0, 1) where n is 0.

    Raises:
        OptionError: not 0 <= successes <= n, or a confidence outside (0, 1).

    >>> [round(end, 4) for end in wilson(98, 100)]
    [0.93, 0.9945]

    References:
        Wilson (1927), "Probable inference, the law of succession, and statistical inference",
        Journal of the American Statistical Association 22, 209-212.
    """
    if not 0 <= successes <= n:
        raise OptionError(f"successes (={successes}) must lie between 0 and n (={n}).")
    z = _quantile(confidence)
    if n == 0:
        return Interval(0.0, 1.0)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return Interval(low, high)


def newcombe(
    first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95, *, phi: float = 0.0
) -> Interval:
    """Newcombe's interval for the difference of two shares, from Wilson's intervals of each.

    With p, (l, u) of the first and q, (m, v) of the second, and d = p - q:
    d - sqrt((p - l)^2 - 2 phi (p - l)(v - q) + (v - q)^2) to
    d + sqrt((u - p)^2 - 2 phi (u - p)(q - m) + (q - m)^2).

    Args:
        first, second: successes and n of each.
        confidence: of the interval.
        phi: correlation of pairs that were measured twice; 0 where the samples are others.

    Raises:
        OptionError: as `wilson`.

    >>> [round(end, 4) for end in newcombe((56, 70), (48, 80))]
    [0.0524, 0.3339]

    References:
        Newcombe (1998), "Interval estimation for the difference between independent proportions:
        comparison of eleven methods", Statistics in Medicine 17, 873-890, method 10; and
        "Improved confidence intervals for the difference between binomial proportions based on
        paired data", 2635-2650, method 10.
    """
    low, high = wilson(*first, confidence)
    below, above = wilson(*second, confidence)
    if not first[1] or not second[1]:
        return Interval(-1.0, 1.0)
    one, other = first[0] / first[1], second[0] / second[1]

    def half(own: float, others: float) -> float:
        return math.sqrt(max(0.0, own * own - 2 * phi * own * others + others * others))

    gap = one - other
    return Interval(gap - half(one - low, above - other), gap + half(high - one, other - below))


def newcombe_pairs(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = 0.95
) -> Interval:
    """`newcombe` for two answers about each of the same samples: share of `first` less `second`.

    phi is the correlation of the pairs with Newcombe's correction for continuity; 0 where one of
    the four margins is empty. (-1, 1) without samples.

    Args:
        first, second: `(N,)`, whether each answer is right.
        confidence: of the interval.

    >>> both = np.arange(100) < 90
    >>> [round(end, 4) for end in newcombe_pairs(both, both)]
    [-0.0353, 0.0353]

    References:
        Newcombe (1998), "Improved confidence intervals for the difference between binomial
        proportions based on paired data", Statistics in Medicine 17, 2635-2650, method 10.
    """
    a, d = int((first & second).sum()), int((~first & ~second).sum())
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    n = a + b + c + d
    product = float(a * d - b * c)
    if product > 0:
        product = max(product - n / 2, 0.0)
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    phi = product / math.sqrt(margins) if margins else 0.0
    return newcombe((a + b, n), (a + c, n), confidence, phi=phi)


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of `n` samples.

    Args:
        statistic: takes sample numbers `(n,)`, drawn with replacement, and gives the value.
        n: number of samples, at least 1.
        resamples: number of draws.

    Raises:
        OptionError: n or resamples below 1, or a confidence outside (0, 1).

    References:
        Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7.
    """
    _quantile(confidence)
    if n < 1 or resamples < 1:
        raise OptionError(f"n (={n}) and resamples (={resamples}) must be at least 1.")
    generator = np.random.Generator(np.random.PCG64(seeds.derive(seed, "bootstrap")))
    values = [statistic(generator.integers(0, n, n)) for _ in range(resamples)]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))


def of_mean(values: NDArray[np.float64], *, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Bootstrap interval of the mean of independent values `(n,)`, wide enough for few of them.

    The resampled means of few values spread too little, and never beyond the values. So the ends of
    the percentile interval are moved away from the mean by sqrt(n / (n - 1)) t / z, with t
    Student's quantile for n - 1 degrees of freedom and z the normal one: 9 times as far for two
    values, 1.02 times for a hundred. A single value has no interval: NaN.

    Raises:
        OptionError: no value, or a confidence outside (0, 1).

    >>> [round(end, 2) for end in of_mean(np.array([1.0, 2.0, 3.0]))]
    [-0.69, 4.69]

    References:
        Hesterberg (2015), "What teachers should know about the bootstrap", The American
        Statistician 69, 371-386, arXiv:1411.5279: intervals of few samples are too narrow.
    """
    n, mean = len(values), float(np.mean(values)) if len(values) else math.nan
    ends = bootstrap(lambda rows: float(values[rows].mean()), n, confidence=confidence, seed=seed)
    if n == 1:
        return Interval(math.nan, math.nan)
    wider = math.sqrt(n / (n - 1)) * _student(n - 1, confidence) / _quantile(confidence)
    return Interval(*(mean + wider * (end - mean) for end in ends))


def _student(degrees: int, confidence: float) -> float:
    """The quantile t of Student's distribution with a share `confidence` between -t and t.

    References:
        Abramowitz and Stegun (1964), "Handbook of mathematical functions", 26.7.5, for three and
        more degrees, to 0.1 %; one and two have closed forms.
    """
    if degrees == 1:
        return math.tan(math.pi * confidence / 2)
    if degrees == 2:
        return confidence * math.sqrt(2 / (1 - confidence * confidence))
    z = _quantile(confidence)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(degrees) ** k for k, term in enumerate(terms, start=1))


def block_bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    block: int,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic of `n` times, drawn in blocks on a circle.

    Times that follow each other are alike; drawn one by one, they would look like more than they
    are. The first block follows the last one, so that each time is drawn equally often.

    Args:
        statistic: takes numbers of times `(n,)` and gives the value.
        n: number of times, at least 1.
        block: times that are drawn together, from 1 to n.
        resamples: number of draws.

    Raises:
        OptionError: n or resamples below 1, a block below 1 or above n, or a confidence outside
            (0, 1).

    References:
        Politis, Romano (1992), "A circular block-resampling procedure for stationary data", in
        Exploring the limits of bootstrap, 263-270.
    """
    _quantile(confidence)
    if n < 1 or resamples < 1 or not 1 <= block <= n:
        raise OptionError(
            f"n (={n}) and resamples (={resamples}) must be at least 1, and block (={block}) from "
            "1 to n."
        )
    generator = np.random.Generator(np.random.PCG64(seeds.derive(seed, "block bootstrap")))
    within, blocks = np.arange(block), -(-n // block)
    values = []
    for _ in range(resamples):
        starts = generator.integers(0, n, blocks)
        values.append(statistic(((starts[:, None] + within) % n).reshape(-1)[:n]))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))


def _quantile(confidence: float) -> float:
    """The normal quantile z with a share `confidence` between -z and z."""
    if not 0 < confidence < 1:
        raise OptionError(f"confidence (={confidence}) must lie between 0 and 1, such as 0.95.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
