"""One reading of every series: copies, lengths, missing values, rates, and what cannot be read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium.data.parallel import ordered, processors
from convarium.data.samples import Samples
from convarium.data.series.samples import facts_of
from convarium.data.series.series import Series
from convarium.data.skipping import Skipped
from convarium.data.surveying import SeriesSurvey, Survey
from convarium.errors import DataError
from convarium.progress import Progress

_BLOCK = 64


def survey_series(samples: Samples, progress: Progress | None) -> tuple[Survey, list[Skipped]]:
    """Read every series once; also what cannot be read, or has other channels than most.

    In the survey a series is 1 high and as wide as it has time steps.
    """
    n = len(samples)
    digests, widths = np.zeros(n, np.uint64), np.zeros(n, np.int32)
    channels, missing = np.zeros(n, np.int32), np.zeros(n, np.int64)
    rates = np.full(n, np.nan)
    reasons: dict[int, str] = {}

    def block(start: int) -> dict[int, str]:
        failed = {}
        for i in range(start, min(start + _BLOCK, n)):
            try:
                series: Series = samples.read(i)
            except DataError as error:
                failed[i] = str(error)
                continue
            digests[i], _, widths[i], channels[i], *_ = facts_of(series)
            missing[i] = np.count_nonzero(np.isnan(series.values))
            rates[i] = math.nan if series.rate is None else series.rate
        return failed

    workers = 0 if getattr(samples, "in_memory", False) else processors()
    starts = range(0, n, _BLOCK)
    for start, failed in zip(starts, ordered(block, starts, workers), strict=True):
        reasons |= failed
        if progress is not None:
            progress.advance(min(_BLOCK, n - start))
    usual = _most(channels[digests != 0])
    for i in np.flatnonzero((digests != 0) & (channels != usual)).tolist():
        digests[i] = widths[i] = 0
        reasons[i] = f"it has {channels[i]} channels, and most have {usual}"
    broken = np.array(sorted(reasons), np.int64)
    skipped = [Skipped(samples.name(i), reasons[i]) for i in broken.tolist()]
    told = SeriesSurvey(missing, rates)
    heights = (widths > 0).astype(np.int32)
    return Survey(digests, heights, widths, broken, usual, series=told), skipped


def _most(values: NDArray[np.int32]) -> int:
    """What stands there most often; 1 where there is nothing."""
    found, times = np.unique(values, return_counts=True)
    return int(found[times.argmax()]) if len(found) else 1


@dataclass(frozen=True)
class SeriesFacts:
    """Facts of some series.

    Args:
        series: how many there are.
        missing: how many of them lack values.
        values: how many values are missing.
        rates: series of each rate in steps a second, as text.
    """

    series: int
    missing: int
    values: int
    rates: dict[str, int]

    @classmethod
    def of(cls, survey: Survey, ids: NDArray[np.int64]) -> SeriesFacts:
        """Of the series `ids` of a survey."""
        told = survey.series
        if told is None:
            return cls(len(ids), 0, 0, {})
        missing, rates = told.missing[ids], told.rates[ids]
        found, times = np.unique(rates[~np.isnan(rates)], return_counts=True)
        words = [f"{rate:g}" for rate in found.tolist()]
        return cls(
            len(ids),
            int(np.count_nonzero(missing)),
            int(missing.sum()),
            dict(zip(words, times.tolist(), strict=True)),
        )
