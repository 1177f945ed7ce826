"""The simplest forecasts, and how large a change is: what a forecast is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset, Part
from convarium.data.series.filling import filled
from convarium.data.series.forecasts import Forecasts
from convarium.data.series.samples import SeriesArrays
from convarium.data.series.series import Series
from convarium.errors import DataError


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


def naive_forecasts(dataset: Dataset, ids: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """By name what two simple rules say of windows, `(N, K H)`.

    "naive" is the last value, "seasonal naive" the value one season before; without a season there
    is only the first.
    """
    told = forecasts_of(dataset)
    found: dict[str, list[NDArray[np.float64]]] = {"naive": []}
    steps = np.arange(told.horizon)
    for i in ids.tolist():
        series: Series = dataset.read(i)
        past = filled(series.values)[list(told.channels)].astype(np.float64)
        found["naive"].append(np.repeat(past[:, -1], told.horizon))
        if told.season > 1:
            places = past.shape[1] - told.season + steps % told.season
            found.setdefault("seasonal naive", []).append(past[:, places].reshape(-1))
    return {name: np.array(rows) for name, rows in found.items()}


def scale_of(part: Part) -> tuple[float, ...]:
    """Of each output the mean change of its target over a season in a training part; 1 if none."""
    dataset, told = part.dataset, forecasts_of(part.dataset)
    samples, groups = dataset.samples, dataset.groups
    total, count = np.zeros(len(told.channels)), np.zeros(len(told.channels))
    if isinstance(samples, SeriesArrays) and groups is not None:
        for own in np.unique(groups[part.ids]):
            spans = samples.spans[part.ids[groups[part.ids] == own]]
            seen = samples.values[list(told.channels), spans.min() : spans.max()]
            changes = np.abs(seen[:, told.season :] - seen[:, : -told.season], dtype=np.float64)
            total += np.nansum(changes, axis=1)
            count += np.isfinite(changes).sum(axis=1)
    sizes = np.where((total > 0) & (count > 0), total / np.maximum(count, 1), 1.0)
    return tuple(np.repeat(sizes, told.horizon).tolist())
