"""How good distributions of fine fields are: CRPS, and where the truth falls in them.

    CRPS(F, y) = integral of (F(z) - [z >= y])^2 dz

0 is best, and for a single value it is the mean absolute error. Truth is (n, H, W); cells where it
is missing (NaN) do not count.

References:
    Gneiting, Raftery 2007, "Strictly proper scoring rules, prediction, and estimation", Journal of
    the American Statistical Association 102, eqs. 20 and 21.
    Gneiting, Ranjan 2011, "Comparing density forecasts using threshold- and quantile-weighted
    scoring rules", Journal of Business and Economic Statistics 29, eq. 7 (quantiles).
    Ferro 2014, "Fair scores for ensemble forecasts", Quarterly Journal of the Royal Meteorological
    Society 140, eq. 4 (CRPS of draws).
    Hamill 2001, "Interpretation of rank histograms for verifying ensemble forecasts", Monthly
    Weather Review 129.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.errors import OptionError
from convarium.tasks.field_scores import mean_of

Array = NDArray[Any]
Floats = NDArray[np.float64]


def crps_normal(truth: Array, mean: Array, spread: Array, areas: Array | None = None) -> float:
    """CRPS of normal distributions, by its closed form; the mean by area."""
    return mean_of(normal_cells(truth, mean, spread), areas)


def normal_cells(truth: Array, mean: Array, spread: Array) -> Floats:
    """`crps_normal` of each cell and time."""
    y, m, s = (np.asarray(values, np.float64) for values in (truth, mean, spread))
    z = (y - m) / s
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    found: Floats = s * (z * (2 * _normal(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return found


def crps_quantiles(
    truth: Array, quantiles: Array, levels: Sequence[float], areas: Array | None = None
) -> float:
    """CRPS of quantiles: twice the mean quantile loss over the levels, see `level_weights`.

    Args:
        truth: (n, H, W).
        quantiles: (Q, n, H, W).
        levels: of the quantiles, between 0 and 1.
        areas: of the cells.

    Raises:
        OptionError: there are other numbers of quantiles than levels.
    """
    return mean_of(quantile_cells(truth, quantiles, levels), areas)


def quantile_cells(truth: Array, quantiles: Array, levels: Sequence[float]) -> Floats:
    """`crps_quantiles` of each cell and time."""
    if len(levels) != len(quantiles):
        raise OptionError(f"levels (={list(levels)}) must be {len(quantiles)}, one a quantile.")
    found = np.zeros(np.shape(truth))
    for level, weight, quantile in zip(levels, level_weights(levels), quantiles, strict=True):
        apart = np.asarray(truth, np.float64) - quantile
        found += 2 * weight * np.maximum(level * apart, (level - 1) * apart)
    return found


def level_weights(levels: Sequence[float]) -> list[float]:
    """What each level counts in the integral over all of them: half the way between its neighbours.

    The quantile loss is 0 at the levels 0 and 1, so the outermost reach there by the trapezoid
    rule. The sum is 1; levels at equal distances, as 1/4, 1/2, 3/4, count alike.

    Example:
        >>> [round(w, 3) for w in level_weights([0.05, 0.25, 0.5, 0.75, 0.95])]
        [0.132, 0.237, 0.263, 0.237, 0.132]
    """
    ends = np.array([0.0, *levels, 1.0])
    between = (ends[2:] - ends[:-2]) / 2
    found: list[float] = (between / between.sum()).tolist()
    return found


def crps_members(truth: Array, members: Array, areas: Array | None = None) -> float:
    """CRPS of the members of an ensemble as they are: mean |x - y| - mean |x - x'| / 2.

    Args:
        truth: (n, H, W).
        members: (M, n, H, W).
        areas: of the cells.
    """
    return mean_of(member_cells(truth, members), areas)


def member_cells(truth: Array, members: Array, *, fair: bool = False) -> Floats:
    """`crps_members` of each cell and time.

    Args:
        truth: (n, H, W).
        members: (M, n, H, W).
        fair: what is to be expected of the distribution that the members, two or more, are draws
            of (Ferro 2014, eq. 4); else of themselves, which is more, as there are few of them.
    """
    x = np.sort(np.asarray(members, np.float64), axis=0)
    m = len(x)
    rank = (2 * np.arange(m) + 1 - m).reshape(-1, *[1] * (x.ndim - 1))
    pairs = m * (m - 1) if fair else m**2
    between = (rank * x).sum(0) / pairs  # half of the mean of |x - x'|
    found: Floats = np.abs(x - truth).mean(0) - between
    return found


def rank_histogram(
    truth: Array, members: Array, *, seed: int = 0, areas: Array | None = None
) -> Floats:
    """The share of cells and times in which the truth has each rank among the members, (M + 1,).

    It is flat where the truth might be one of the members; equal values share ranks at random. Of
    quantiles it is the difference of their levels where these are right.

    Args:
        truth: (n, H, W).
        members: (M, n, H, W).
        seed: of the ranks of equal values.
        areas: of the cells; None counts all alike.
    """
    counts = rank_counts(truth, members, seed=seed, areas=areas)
    found: Floats = counts / max(counts.sum(), 1e-12)
    return found


def rank_counts(
    truth: Array, members: Array, *, seed: int = 0, areas: Array | None = None
) -> Floats:
    """`rank_histogram` before it is divided by the area of all that is known."""
    known = ~np.isnan(truth)
    y = np.asarray(truth, np.float64)[known]
    x = np.asarray(members, np.float64)[:, known]
    below, equal = (x < y).sum(0), (x == y).sum(0)
    numbers = seeds.uniform(np.arange(y.size), seed, "rank histogram")
    ranks = below + np.floor(numbers * (equal + 1)).astype(int)
    weights = None if areas is None else np.broadcast_to(areas, known.shape)[known]
    return np.bincount(ranks, weights, minlength=len(x) + 1).astype(np.float64)


def _normal(z: Floats) -> Floats:
    """The normal distribution's probability below z."""
    found: Floats = (1 + np.vectorize(math.erf, otypes=[float])(z / math.sqrt(2))) / 2
    return found
