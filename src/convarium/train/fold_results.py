"""What the folds of a cross-validation say together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from convarium.errors import OptionError
from convarium.intervals import Interval


@dataclass(frozen=True)
class FoldResult:
    """The result of one fold on the samples that it did not train on.

    Args:
        fold: its number, from 1.
        n: samples tested.
        score: of the task's metric.
        loss: mean loss.
        best_epoch: the epoch whose weights were tested.
    """

    fold: int
    n: int
    score: float
    loss: float
    best_epoch: int


@dataclass(frozen=True)
class CrossValidation:
    """The folds together.

    Args:
        folds: the results.
        metric: name of the score.
        mean: of the folds' scores.
        interval: 95 % interval of the mean.
    """

    folds: tuple[FoldResult, ...]
    metric: str
    mean: float
    interval: Interval

    @property
    def n(self) -> int:
        """Samples tested in all."""
        return sum(fold.n for fold in self.folds)

    def sentence(self) -> str:
        """Mean with its interval, folds and n."""
        low, high = self.interval
        return (
            f"mean {self.metric} {self.mean:.4f} of {len(self.folds)} folds ({self.n} samples), "
            f"95 % interval {low:.4f} to {high:.4f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return {
            "format_version": 1,
            "metric": self.metric,
            "n": self.n,
            "mean": self.mean,
            "interval": list(self.interval),
            "folds": [asdict(fold) for fold in self.folds],
        }


def cross_validation(folds: Sequence[FoldResult], metric: str) -> CrossValidation:
    """The mean m over K folds, and its 95 % interval, which stays where scores can be.

    g(m) -+ g'(m) t s / sqrt(K), taken back by g, with t of K - 1 degrees of freedom and the folds'
    standard deviation s. For shares g is the logit, so that the interval lies between 0 and 1;
    where a score is below 0, as R2 can be, g is -log(1 - m), and it lies below 1. The folds train
    on shared samples, so that the interval is somewhat too narrow; no unbiased one exists.

    Args:
        folds: the results of two folds or more, with scores up to 1.
        metric: name of the score.

    Raises:
        OptionError: fewer than two folds.

    References:
        Student (1908), "The probable error of a mean", Biometrika 6; Newcombe (2001), "Logit
        confidence intervals and the inverse sinh transformation", The American Statistician 55;
        Bengio, Grandvalet (2004), "No unbiased estimator of the variance of K-fold
        cross-validation", JMLR 5, theorem 1.
    """
    if len(folds) < 2:
        raise OptionError(f"folds (={len(folds)}) must be two or more for an interval.")
    scores = [fold.score for fold in folds]
    return CrossValidation(tuple(folds), metric, statistics.fmean(scores), _interval(scores))


def _interval(scores: Sequence[float]) -> Interval:
    """The 95 % interval of the scores' mean."""
    mean = statistics.fmean(scores)
    half = _student(len(scores) - 1) * statistics.stdev(scores) / math.sqrt(len(scores))
    if half == 0 or mean in (0.0, 1.0):  # as far as numbers tell
        return Interval(mean, mean)
    if min(scores) < 0:
        below = half / (1 - mean)
        return Interval(1 - (1 - mean) * math.exp(below), 1 - (1 - mean) * math.exp(-below))
    spread = half / (mean * (1 - mean))
    odds = mean / (1 - mean)
    return Interval(_share_of(odds, -spread), _share_of(odds, spread))


def _share_of(odds: float, shift: float) -> float:
    """The share whose logit is log(odds) + shift, also where its odds are beyond all numbers."""
    return 1 / (1 + math.exp(min(700.0, -shift)) / odds)


def _student(freedom: int, confidence: float = 0.95) -> float:
    """The t with a share `confidence` of Student's distribution between -t and t, by bisection.

    With theta = atan(t / sqrt(freedom)), t grows with theta and so does the share.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _share(middle, freedom) < confidence else (low, middle)
    return math.tan((low + high) / 2) * math.sqrt(freedom)


def _share(theta: float, freedom: int) -> float:
    """Student's distribution between -t and t (Abramowitz, Stegun 1964, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = freedom % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(3 if odd else 2, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    return 2 / math.pi * (theta + sine * total) if odd else sine * total
