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


def _quantile(confidence: float) -> float:
    """The normal quantile z with a share `confidence` between -z and z."""
    if not 0 < confidence < 1:
        raise OptionError(f"confidence (={confidence}) must lie between 0 and 1, such as 0.95.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
