"""The report's pages of the tasks that are not one class a sample: labels, and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.report import wording
from convarium.report.agreement import agreement, residual_histogram
from convarium.report.matrix import FULL_UP_TO
from convarium.report.page import Sample, balance_of, headline, scale_start, shared
from convarium.report.reliability import calibration_of
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from convarium.data import Skipped
    from convarium.tasks import LabelEvaluation, LabelRow, ValueEvaluation

_OUTPUTS_DRAWN = 12
_LOWEST = 20


def write_labels_page(
    path: str | Path,
    *,
    card: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    evaluation: LabelEvaluation,
    errors: Sequence[Sample],
    heatmaps: Sequence[Sample],
    skipped: Sequence[Skipped],
    alike: Sequence[tuple[Sample, Sample]] = (),
) -> Path:
    """Write the report of a run with several labels a sample; the arguments are `write_page`'s.

    Raises:
        RunError: the file cannot be written.
    """
    rows = evaluation.rows
    return write_filled(
        path,
        "labels.html.jinja",
        **shared(card, history, "F1", errors, heatmaps, skipped, alike),
        balance=balance_of(card, evaluation.classes, evaluation.targets.sum(0)),
        result=headline(card, evaluation, "val_f1"),
        figures=evaluation.figures(),
        exact=evaluation.exact,
        threshold=evaluation.threshold,
        calibration=calibration_of(card, evaluation),
        rows=rows,
        lowest=_lowest(rows),
        start=scale_start([row.interval.low for row in rows if row.n]),
        wrong=evaluation.n - evaluation.exact,
    )


def _lowest(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """Of more than 30 labels the 20 that fare worst; else none, since all are shown."""
    measured = [row for row in rows if row.n]
    return sorted(measured, key=lambda row: row.f1)[:_LOWEST] if len(rows) > FULL_UP_TO else []


def write_values_page(
    path: str | Path,
    *,
    card: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    evaluation: ValueEvaluation,
    errors: Sequence[Sample],
    heatmaps: Sequence[Sample],
    skipped: Sequence[Skipped],
    alike: Sequence[tuple[Sample, Sample]] = (),
) -> Path:
    """Write the report of a run that gives numbers; the arguments are `write_page`'s.

    Raises:
        RunError: the file cannot be written.
    """
    return write_filled(
        path,
        "values.html.jinja",
        **shared(card, history, "R2", errors, heatmaps, skipped, alike),
        result=headline(card, evaluation, "val_r2"),
        rows=evaluation.rows,
        drawings=_drawings(evaluation),
        moments=_moments(card),
        naive=_naive(card, evaluation),
    )


def _naive(card: Mapping[str, Any], evaluation: ValueEvaluation) -> dict[str, Any]:
    """Of a forecast the mean absolute errors beside those of simple rules, and the MASE."""
    rules = card.get("result", {}).get("baselines", [])
    mase = getattr(evaluation, "mase", None)
    if mase is None or not rules:
        return {}
    rows = [
        (row.name, row.unit, row.mae, mase[k], [rule["mae"][k] for rule in rules])
        for k, row in enumerate(evaluation.rows)
    ]
    names = [rule["name"] for rule in rules]
    means = [rule["mase"] for rule in rules]
    own = sum(mase) / len(mase)
    return {"rows": rows, "names": names, "means": means, "mase": own, "season": rules[0]["season"]}


def _drawings(evaluation: ValueEvaluation) -> list[tuple[str, str, str]]:
    """Name, predictions over truths, and residuals, of the first outputs."""
    drawn = []
    for k, row in enumerate(evaluation.rows[:_OUTPUTS_DRAWN]):
        truth, values = evaluation.targets[:, k], evaluation.values[:, k]
        drawn.append(
            (
                row.name,
                agreement(truth, values, row.name, row.unit),
                residual_histogram(evaluation.residuals[:, k], row.name, row.unit),
            )
        )
    return drawn


def _moments(card: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name with unit, mean and deviation of each output over the training samples."""
    targets = card.get("targets", {})
    columns = (targets.get(key, ()) for key in ("units", "mean", "std"))
    rows = zip(card.get("classes", ()), *columns, strict=False)
    return [
        (f"{name} [{unit}]" if unit else str(name), wording.number(mean), wording.number(std))
        for name, unit, mean, std in rows
    ]
