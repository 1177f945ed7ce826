"""Figures of stated probabilities: ranking, calibration; exact, in double precision.

References:
    Hanley, McNeil (1982), "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", Radiology 143; Guo et al. (2017), "On Calibration of Modern Neural
    Networks", arXiv:1706.04599, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15
MEMORY_BUDGET = 2**28  # bytes of probabilities that a meter keeps, 256 MiB


class Bin(NamedTuple):
    """One bin of a reliability diagram.

    Args:
        low, high: its ends; `low` is outside, `high` inside.
        n: how many stated probabilities lie in it.
        stated: their mean; NaN where there is none.
        observed: the share of them that came true; NaN where there is none.
    """

    low: float
    high: float
    n: int
    stated: float
    observed: float


def reliability(
    stated: NDArray[np.float32], came_true: NDArray[np.bool_], bins: int = BINS
) -> tuple[Bin, ...]:
    """Stated probabilities against what came true, in bins of equal width over ]0, 1].

    Args:
        stated: probabilities, any shape.
        came_true: whether each did, of the same shape.
        bins: how many.
    """
    exact = stated.ravel().astype(np.float64)
    place = np.clip(np.ceil(exact * bins).astype(np.int64) - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, exact, bins) / n
        shares = np.bincount(place, came_true.ravel().astype(np.float64), bins) / n
    rows = zip(n.tolist(), means.tolist(), shares.tolist(), strict=True)
    return tuple(Bin(k / bins, (k + 1) / bins, *row) for k, row in enumerate(rows))


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: sum_b n_b / n |observed_b - stated_b|, over the bins in use.

    >>> calibration_error([Bin(0.0, 0.5, 1, 0.25, 0.0), Bin(0.5, 1.0, 3, 0.75, 1.0)])
    0.25
    """
    n = sum(each.n for each in bins)
    return float(sum(each.n * abs(each.observed - each.stated) for each in bins if each.n) / n)


def reliability_rows(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    """The bins in use, JSON-able."""
    return [each._asdict() for each in bins if each.n]


def auroc(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """Share of (positive, negative) pairs that the scores put in order; ties count one half.

    NaN where there is no positive or no negative.

    >>> auroc(np.float32([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][positive].sum() - yes * (yes + 1) / 2) / (yes * no))


def average_precision(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> float:
    """sum_n (R_n - R_{n-1}) P_n over the distinct scores, the highest first; not interpolated.

    NaN where there is no positive.

    >>> round(average_precision(np.float32([0.1, 0.4, 0.35, 0.8]), np.arange(4) >= 2), 4)
    0.8333
    """
    yes = int(positive.sum())
    if not yes:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(positive[order])
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    precision = hits[last] / (last + 1)
    return float((np.diff(hits[last], prepend=0) * precision).sum() / yes)


def mean_of(values: Sequence[float]) -> float:
    """The mean of those that are not NaN; NaN where all are."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def or_none(value: float | None) -> float | None:
    """The value, with None for NaN: JSON has no NaN."""
    return None if value is None or np.isnan(value) else value


class Kept:
    """Rows of probabilities, kept while all fit into `MEMORY_BUDGET` bytes; beyond it none are."""

    def __init__(self, budget: int = MEMORY_BUDGET) -> None:
        self._left = budget
        self._rows: list[NDArray[np.float32]] | None = []

    def add(self, rows: NDArray[np.float32]) -> None:
        """Take in the rows `(B, K)` of a batch."""
        self._left -= rows.nbytes
        if self._left < 0:
            self._rows = None
        if self._rows is not None:
            self._rows.append(rows)

    def all(self) -> NDArray[np.float32] | None:
        """All rows `(N, K)`, or None where they would not fit."""
        return None if self._rows is None else np.concatenate(self._rows)
