"""The simplest forecasts, and how large a change is: what a forecast is held against."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset, Part
from convarium.data.series.filling import filled
from convarium.data.series.forecasts import Forecasts, season_of
from convarium.data.series.samples import SeriesArrays
from convarium.data.series.series import Floats, Series
from convarium.errors import DataError

_ASKED = 100  # series, for the season


def forecasts_of(dataset: Dataset) -> Forecasts:
    """What a data set forecasts.

    Raises:
        DataError: nothing.
    """
    if dataset.forecasts is None:
        raise DataError(
            f"{dataset.source} is not read for forecasts; open it with task='forecast'."
        )
    return dataset.forecasts


def season_in(training: Part) -> int:
    """Steps after which the first target is alike, as most series have it; 1 without a season.

    Only the training part is looked at, and of a season only what fits into a window.
    """
    first = forecasts_of(training.dataset).channels[0]
    most = int(training.dataset.columns["window"])
    seasons: Counter[int] = Counter()
    curves = (filled(seen[first : first + 1])[0] for seen in _seen(training))
    there = (values for values in curves if not np.isnan(values).any())
    for values in itertools.islice(there, _ASKED):
        seasons[season_of(values, most)] += 1
    return max(seasons, key=lambda season: (seasons[season], -season), default=1)


def naive_forecasts(
    dataset: Dataset, ids: NDArray[np.int64], training: Part
) -> dict[str, NDArray[np.float64]]:
    """By name what two simple rules say of windows, `(N, K H)`.

    "naive" is the last value, "seasonal naive" the value one season before; without a season there
    is only the first. Of a window in which a target has no value at all, both say the mean of what
    the training part is to forecast.

    Args:
        dataset: of forecasts.
        ids: of windows.
        training: the part that the season and the means are taken from.
    """
    told, season = forecasts_of(dataset), season_in(training)
    found: dict[str, list[NDArray[np.float64]]] = {"naive": []}
    steps = np.arange(told.horizon)
    for i in ids.tolist():
        series: Series = dataset.read(i)
        past = filled(series.values)[list(told.channels)].astype(np.float64)
        found["naive"].append(np.repeat(past[:, -1], told.horizon))
        if season > 1:
            places = past.shape[1] - season + steps % season
            found.setdefault("seasonal naive", []).append(past[:, places].reshape(-1))
    outputs = len(told.channels) * told.horizon
    tables = {name: np.array(rows).reshape(-1, outputs) for name, rows in found.items()}
    targets = training.targets
    if targets is None:
        return tables
    means = targets.mean(axis=0, dtype=np.float64)
    return {name: np.where(np.isnan(rows), means, rows) for name, rows in tables.items()}


def scale_of(part: Part) -> tuple[float, ...]:
    """Of each output the mean change of its target over a season in a training part; 1 if none."""
    told, season = forecasts_of(part.dataset), season_in(part)
    total, count = np.zeros(len(told.channels)), np.zeros(len(told.channels))
    for values in _seen(part):
        seen = values[list(told.channels)]
        changes = np.abs(seen[:, season:] - seen[:, :-season], dtype=np.float64)
        total += np.nansum(changes, axis=1)
        count += np.isfinite(changes).sum(axis=1)
    sizes = np.where((total > 0) & (count > 0), total / np.maximum(count, 1), 1.0)
    return tuple(np.repeat(sizes, told.horizon).tolist())


def _seen(part: Part) -> Iterator[Floats]:
    """Of each series what the windows of a part hold, all channels."""
    samples, groups = part.dataset.samples, part.dataset.groups
    if not isinstance(samples, SeriesArrays) or groups is None:
        return
    for own in np.unique(groups[part.ids]):
        spans = samples.spans[part.ids[groups[part.ids] == own]]
        yield samples.values[:, spans.min() : spans.max()]
