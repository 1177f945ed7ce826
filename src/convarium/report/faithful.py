"""Measures of faithfulness, of samples and as rows of a table: the heatmap's and its controls'."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from convarium.explain.methods import joined
from convarium.report import wording

if TYPE_CHECKING:
    from convarium.explain.controls import Controlled, SampleMean
    from convarium.predict import Run

_WORDS = {
    "deletion": "Deletion: the score while the hottest positions go first",
    "insertion": "Insertion: the score while the hottest positions come first",
    "average_drop": "Average drop, in %, where only the heat shows the input",
}


def scored(run: Run) -> Literal["probability", "score"]:
    """What measures of faithfulness follow in a run."""
    return "probability" if run.card["task"] == "classification" else "score"


def with_scores(
    rows: Sequence[dict[str, Any]], parts: Sequence[Mapping[str, Controlled]]
) -> dict[str, Controlled]:
    """The scores of several batches as those of one, and each sample's in its row."""
    scores = joined(parts)
    for number, row in enumerate(rows if scores else ()):
        row["faithfulness"] = {word: _told(each, number) for word, each in scores.items()}
    return scores


def _told(scores: Controlled, row: int) -> dict[str, float | None]:
    """One sample's score and its controls, for JSON."""
    columns = {"score": scores.score, "random": scores.random, "edges": scores.edges}
    told = {name: None if each is None else float(each[row]) for name, each in columns.items()}
    return {k: v if v is not None and math.isfinite(v) else None for k, v in told.items()}


def score_rows(scores: Mapping[str, Controlled]) -> list[dict[str, Any]]:
    """What the page shows of each measure."""
    rows = []
    for name, each in scores.items():
        means = each.means()
        rows.append(
            {
                "name": _WORDS.get(name, name),
                "better": each.better,
                "score": wording.number(means.score.value),
                "random": wording.number(means.random.value),
                "edges": wording.number(None if means.edges is None else means.edges.value),
                "gain": _gain(means.over_random),
                "gain_edges": wording.MISSING
                if means.over_edges is None
                else _gain(means.over_edges),
                "n": means.score.n,
            }
        )
    return rows


def score_json(scores: Mapping[str, Controlled]) -> dict[str, Any]:
    """The means with their intervals, for programs; what is no number is null."""
    return {
        name: {
            "better": each.better,
            **{key: _json(value) for key, value in vars(each.means()).items()},
        }
        for name, each in scores.items()
    }


def _gain(mean: SampleMean) -> str:
    if mean.n == 1:
        return f"{_signed(mean.value)} (one sample)"
    low, high = mean.interval
    return f"{_signed(mean.value)} ({_signed(low)} to {_signed(high)})"


def _signed(value: float) -> str:
    text = wording.number(value)
    return f"+{text}" if value > 0 else text.replace("-", "\N{MINUS SIGN}")


def _json(mean: SampleMean | None) -> dict[str, Any] | None:
    if mean is None:
        return None
    numbers = [mean.value, *mean.interval]
    value, low, high = (number if math.isfinite(number) else None for number in numbers)
    return {"value": value, "interval": [low, high], "n": mean.n}
