"""Texts and series with their predictions and the heat along them, ready to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, Part, Skipped
from convarium.explain.looking import device_of
from convarium.explain.methods import attributed, faithfulness
from convarium.report.explained import (
    about,
    checked_layers,
    first_batches,
    peaks,
    records_of,
    row_of,
)
from convarium.report.faithful import scored, with_scores
from convarium.report.sequences import HeatedSeries, HeatedTokens
from convarium.report.series import heated_series
from convarium.report.texts import heated_text

if TYPE_CHECKING:
    from convarium.explain.controls import Controlled
    from convarium.predict import Run
    from convarium.tasks import Record


class ExplainedSequences(NamedTuple):
    """Explained texts or series.

    Args:
        sequences: each with its heat.
        rows: one mapping each: name, prediction, target, logit, method, layer, status, note, heat.
        skipped: what could not be read.
        ids: of the samples, in the order of the sequences.
        scores: of each measure of faithfulness, over the samples; empty where not asked for.
    """

    sequences: tuple[HeatedSeries | HeatedTokens, ...]
    rows: tuple[dict[str, Any], ...]
    skipped: tuple[Skipped, ...]
    ids: tuple[int, ...]
    scores: Mapping[str, Controlled]


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
    shared: bool = False,
    faithful: bool = False,
) -> ExplainedSequences:
    """Predict and explain the first samples of `data`, each by itself, so that nothing is padded.

    Args:
        run: an opened run.
        data: texts or series; labels are shown where they are known.
        most: how many at most.
        target: the class to explain; None means each sample's predicted class.
        layer: where to read the maps; None means the network's own choice; several are fused.
        method: name of a method of `convarium.explain`.
        shared: one scale for all samples, so that their heat can be compared.
        faithful: measure deletion, insertion and, of series, average drop too, with their controls.

    Raises:
        OptionError: the network has no such layer, there is no such method, or several layers are
            to share a scale.
    """
    layers, skipped = checked_layers(layer, shared), list[Skipped]()
    found = [
        _explained(run, data, record, name, method, target, layers, faithful)
        for batch in first_batches(data, run, most, skipped)
        for record, name in records_of(run, data, batch)
    ]
    highest = max((one.peak for one in found), default=0) or 1
    sequences, rows = [], []
    for one in found:
        heat = one.heat * np.float32(one.peak / highest) if shared else one.heat
        drawn = HEATED[run.preprocessing.kind]
        sequence, told = drawn(run, data, one.id, heat, one.row["target"], one.note)
        sequences.append(sequence)
        rows.append({**one.row, **told})
    scores = with_scores(rows, [one.scores for one in found if one.scores])
    ids = tuple(one.id for one in found)
    return ExplainedSequences(tuple(sequences), tuple(rows), tuple(skipped), ids, scores)


class _Explained(NamedTuple):
    """One sample: its heat in [0, 1], the largest value before that, and what is said of it."""

    id: int
    heat: NDArray[np.float32]
    peak: float
    row: dict[str, Any]
    note: str
    scores: Mapping[str, Controlled]


def _explained(
    run: Run,
    data: Part | Dataset,
    record: Record,
    name: str,
    method: str,
    target: int | None,
    layers: Sequence[str],
    faithful: bool,
) -> _Explained:
    dataset = data.dataset if isinstance(data, Part) else data
    x = run.preprocessing.apply(dataset.read(record.id)).unsqueeze(0).to(device_of(run.model))
    heat = attributed(run.model, x, method=method, target=target, layers=layers)
    row, note = row_of(heat, 0, run.card["classes"], (name, record.sentence()))
    return _Explained(
        id=record.id,
        heat=heat.display()[0].cpu().numpy().astype(np.float32),
        peak=float(peaks(heat)),
        row=row,
        note=f"{about(record, name)}, {note}",
        scores=faithfulness(run.model, x, heat, output=scored(run)) if faithful else {},
    )
