"""Series with their predictions and the heat along them, ready to be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, Part, Series
from convarium.report.explained import about, first_batches, records_of
from convarium.report.sequences import HeatedSeries

if TYPE_CHECKING:
    from convarium.predict import Run

_SHOWN = 8  # curves of a series


def show_series(run: Run, data: Part | Dataset, *, most: int = 48) -> tuple[HeatedSeries, ...]:
    """The first series of `data` with their predictions, without heat.

    Args:
        run: an opened run.
        data: series; labels are shown where they are known.
        most: how many at most.
    """
    return tuple(
        plain_series(data, record.id, record.sentence(), about(record, name))
        for batch in first_batches(data, run, most, [])
        for record, name in records_of(run, data, batch)
    )


def plain_series(data: Part | Dataset, i: int, title: str, note: str = "") -> HeatedSeries:
    """A series of a data set as it was read, without heat."""
    dataset = data.dataset if isinstance(data, Part) else data
    series: Series = dataset.read(i)
    return _drawn(dataset, series, np.zeros(series.length, np.float32), title, note)


def heated_series(
    run: Run, data: Part | Dataset, i: int, heat: NDArray[np.float32], title: str, note: str
) -> tuple[HeatedSeries, dict[str, Any]]:
    """A series with the heat along it, ready to be drawn, and the heat for programs."""
    dataset = data.dataset if isinstance(data, Part) else data
    series: Series = dataset.read(i)
    drawn = _drawn(dataset, series, along(heat, series.length), title, note)
    return drawn, {"heat": heat.round(4).tolist()}


def along(heat: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """The heat at the time steps of the file, which a resampled series has another number of."""
    if len(heat) == length:
        return heat
    places = np.linspace(0, len(heat) - 1, length)
    return np.interp(places, np.arange(len(heat)), heat).astype(np.float32)


def _drawn(
    dataset: Dataset, series: Series, heat: NDArray[np.float32], title: str, note: str
) -> HeatedSeries:
    """The first curves of a series with its heat."""
    names: tuple[str, ...] = getattr(dataset.samples, "channels", ())
    if series.channels > _SHOWN:
        note = f"{note}; {_SHOWN} of {series.channels} channels"
    return HeatedSeries(series.values[:_SHOWN], heat, title, note, names[:_SHOWN])
