"""Texts and series with their predictions and the heat along them, ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from convarium.data import Dataset, Part, Skipped
from convarium.explain.looking import device_of
from convarium.explain.methods import attributed
from convarium.report.explained import about, first_batches, records_of, row_of
from convarium.report.sequences import ExplainedSequences, HeatedSeries, HeatedTokens
from convarium.report.series import heated_series
from convarium.report.texts import heated_text

if TYPE_CHECKING:
    from convarium.predict import Run

#: How a sample of each kind is drawn with its heat.
HEATED: Final[dict[str, Callable[..., tuple[HeatedSeries | HeatedTokens, dict[str, Any]]]]] = {
    "texts": heated_text,
    "series": heated_series,
}
_METHOD = "hires_cam"  # exact where a mean or maximum over time goes into one linear layer


def explain_sequences(
    run: Run,
    data: Part | Dataset,
    *,
    most: int = 48,
    target: int | None = None,
    layer: str | Sequence[str] | None = None,
    method: str = _METHOD,
) -> ExplainedSequences:
    """Predict and explain the first samples of `data`, each by itself, so that nothing is padded.

    Args:
        run: an opened run.
        data: texts or series; labels are shown where they are known.
        most: how many at most.
        target: the class to explain; None means each sample's predicted class.
        layer: where to read the maps; None means the network's own choice.
        method: name of a method of `convarium.explain`.

    Raises:
        OptionError: the network has no such layer, or there is no such method.
    """
    layers = (layer,) if isinstance(layer, str) else tuple(layer or ())
    dataset = data.dataset if isinstance(data, Part) else data
    device = device_of(run.model)
    sequences, rows, skipped, ids = [], [], list[Skipped](), []
    for batch in first_batches(data, run, most, skipped):
        for record, name in records_of(run, data, batch):
            x = run.preprocessing.apply(dataset.read(record.id)).unsqueeze(0).to(device)
            heat = attributed(run.model, x, method=method, target=target, layers=layers)
            classes = run.card["classes"]
            row, note = row_of(heat, 0, classes, (name, record.sentence()))
            values = heat.display()[0].cpu().numpy().astype(np.float32)
            note = f"{about(record, name)}, {note}"
            drawn = HEATED[run.preprocessing.kind]
            sequence, told = drawn(run, data, record.id, values, row["target"], note)
            sequences.append(sequence)
            rows.append({**row, **told})
            ids.append(record.id)
    return ExplainedSequences(tuple(sequences), tuple(rows), tuple(skipped), tuple(ids))
