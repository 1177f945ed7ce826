"""Preprocessing of series from training data: channels, length, rate, each channel's moments."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Part
from convarium.data.series.filling import filled
from convarium.data.series.series import Series
from convarium.data.series.sound import resampled
from convarium.data.series.steps import SeriesOptions, SeriesPreprocessing
from convarium.errors import OptionError


def fit_series(
    part: Part, ids: NDArray[np.int64], *, series: SeriesOptions | None = None
) -> SeriesPreprocessing:
    """`fit_preprocessing` for series; `ids` are those whose moments are taken.

    The rate is the one that most training files have. A channel that never changes gets a
    deviation of 1.

    Raises:
        OptionError: forecasts, from windows whose level and size are lost.
    """
    options = SeriesOptions() if series is None else series
    if options.normalise == "series" and part.dataset.forecasts is not None:
        raise OptionError(
            "normalise='series' loses the level and size of a window, from which a forecast goes "
            "on; leave it out."
        )
    dataset, survey = part.dataset, part.dataset.survey()
    rate = _most(survey.series.rates[part.ids]) if survey.series is not None else None
    longest = _longest(part, rate)
    moments: tuple[tuple[float, ...], ...] = ((), ())
    if options.normalise == "training":
        moments = _moments(part, ids, rate)
    doubled = 2 if options.missing == "mark" else 1
    names: tuple[str, ...] = getattr(dataset.samples, "channels", ())
    return SeriesPreprocessing(
        (doubled * survey.channels, longest),
        moments[0],
        moments[1],
        classes=part.classes,
        options=options,
        channels=names,
        rate=rate,
    )


def _most(rates: NDArray[np.float64]) -> float | None:
    """The rate that most series have; None where none says one."""
    found, times = np.unique(rates[~np.isnan(rates)], return_counts=True)
    return float(found[times.argmax()]) if len(found) else None


def _longest(part: Part, rate: float | None) -> int:
    """Time steps of the longest series of the part, at the common rate."""
    survey = part.dataset.survey()
    lengths = survey.widths[part.ids].astype(np.float64)
    if rate is not None and survey.series is not None:
        own = survey.series.rates[part.ids]
        lengths = lengths * np.where(np.isnan(own), 1.0, rate / np.where(np.isnan(own), 1.0, own))
    return max(1, math.ceil(float(lengths.max(initial=1)) - 1e-6))


def _moments(
    part: Part, ids: NDArray[np.int64], rate: float | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel over all time steps of some series, without gaps."""
    channels = part.dataset.survey().channels
    count, total = np.zeros(channels), np.zeros(channels)
    shift: NDArray[np.float64] | None = None
    squares = np.zeros(channels)
    for i in ids.tolist():
        series: Series = part.dataset.read(i)
        exact = filled(series.values).astype(np.float64)
        there = ~np.isnan(exact[:, 0])
        exact = np.where(there[:, None], exact, 0)
        if series.rate is not None and series.rate != rate:
            moved_to = resampled(Series(exact.astype(np.float32), series.rate), rate)
            exact = moved_to.values.astype(np.float64)
        shift = exact.mean(1) * there if shift is None else shift
        moved = (exact - shift[:, None]) * there[:, None]
        count += there * exact.shape[1]
        total += moved.sum(1)
        squares += (moved**2).sum(1)
    count = np.maximum(count, 1)
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    if shift is not None:
        mean = mean + shift
    std = np.sqrt(variance)
    std[std <= 1e-9 * np.abs(mean)] = 1
    std[std == 0] = 1
    return tuple(mean.tolist()), tuple(std.tolist())
