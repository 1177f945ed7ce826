"""Series with their predictions and the heat along them, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, Part, Series, SeriesPreprocessing, Skipped
from convarium.explain.auditing.counting import or_none
from convarium.explain.methods import attributed
from convarium.report.explained import first_batches
from convarium.report.sequences import ExplainedSequences, HeatedSeries
from convarium.report.texts import about, records_of

if TYPE_CHECKING:
    from convarium.predict import Run

_SHOWN = 8  # curves of a series
_METHOD = "hires_cam"  # exact where the mean over time goes into one linear layer


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


def explain_series(
    run: Run,
    data: Part | Dataset,
    *,
    most: int = 48,
    target: int | None = None,
    layer: str | Sequence[str] | None = None,
    method: str = _METHOD,
) -> ExplainedSequences:
    """Predict and explain the first series of `data`, each by itself, so that nothing is padded.

    Args:
        run: an opened run.
        data: series; labels are shown where they are known.
        most: how many at most.
        target: the class to explain; None means each series' predicted class.
        layer: where to read the maps; None means the network's own choice.
        method: name of a method of `convarium.explain`.

    Raises:
        OptionError: the network has no such layer, or there is no such method.
    """
    layers = (layer,) if isinstance(layer, str) else tuple(layer or ())
    dataset = data.dataset if isinstance(data, Part) else data
    steps = cast("SeriesPreprocessing", run.preprocessing)
    found, rows, skipped, ids = [], [], list[Skipped](), []
    for batch in first_batches(data, run, most, skipped):
        for record, name in records_of(run, data, batch):
            series: Series = dataset.read(record.id)
            x = steps.apply(series).unsqueeze(0)
            x = x.to(next(run.model.parameters()).device)
            heat = attributed(run.model, x, method=method, target=target, layers=layers)
            values = heat.display()[0].cpu().numpy().astype(np.float32)
            named = "" if heat.target is None else run.card["classes"][heat.target[0]]
            note = f"{about(record, name)}, predicted {record.sentence()}"
            status = heat.status[0]
            note = note if status == "fine" else f"{note}; {status}"
            found.append(_drawn(dataset, series, _along(values, series.length), named, note))
            ids.append(record.id)
            rows.append(
                {
                    "name": name,
                    "prediction": record.sentence(),
                    "target": named,
                    "logit": or_none(float(heat.logit[0])),
                    "method": heat.method,
                    "layer": heat.layer,
                    "status": status,
                    "note": heat.note,
                    "heat": values.round(4).tolist(),
                }
            )
    return ExplainedSequences(tuple(found), tuple(rows), tuple(skipped), tuple(ids))


def _along(heat: NDArray[np.float32], length: int) -> NDArray[np.float32]:
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
