"""The report: one HTML page that holds everything it shows and asks nothing of the outside."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.report import wording
from convarium.report.balance import class_balance
from convarium.report.learning import curves
from convarium.report.matrix import FULL_UP_TO, confused_pairs, confusion_matrix
from convarium.report.pictures import Picture
from convarium.report.reliability import calibration_of
from convarium.report.sequences import HeatedSeries, HeatedTokens, shown
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from convarium.data import Skipped
    from convarium.tasks import ClassEvaluation, ClassRow, Evaluation

Sample = Picture | HeatedTokens | HeatedSeries  # as a page shows it

_LOWEST = 20
_STACKED_FROM = 16
_SKIPPED_SHOWN = 20


def write_page(
    path: str | Path,
    *,
    card: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    evaluation: ClassEvaluation,
    errors: Sequence[Sample],
    heatmaps: Sequence[Sample],
    skipped: Sequence[Skipped],
    alike: Sequence[tuple[Sample, Sample]] = (),
) -> Path:
    """Write the report of a run as one HTML file, atomically.

    The page loads nothing from outside, runs no script, and follows the reader's light or dark
    setting. Every foreign word on it (classes, files, settings) is escaped.

    Args:
        path: the HTML file.
        card: the run's card; what it lacks is left out of the page. Where it has
            `data.class_counts.train` (counts in class order) the page shows the balance of the
            training classes, else that of the evaluated ones.
        history: rows as in history.jsonl.
        evaluation: of the test part.
        errors: the most confident errors, the most confident first.
        heatmaps: pictures with `heat`; those of one `group` stand together.
        skipped: samples left out, with the reason.
        alike: test pictures, each beside a training picture that it looks like.

    Raises:
        RunError: the file cannot be written.
    """
    return write_filled(
        path,
        "page.html.jinja",
        **shared(card, history, "accuracy", errors, heatmaps, skipped, alike),
        balance=balance_of(card, evaluation.classes, evaluation.confusion.sum(axis=1)),
        result=_result(card, evaluation),
        calibration=calibration_of(card, evaluation),
        matrix=confusion_matrix(evaluation.confusion, evaluation.classes),
        matrix_full=len(evaluation.classes) <= FULL_UP_TO,
        stacked=_STACKED_FROM <= len(evaluation.classes) <= FULL_UP_TO,
        pairs=confused_pairs(evaluation.confusion, evaluation.classes),
        table=_class_table(evaluation),
        wrong=evaluation.n - evaluation.correct,
    )


def shared(
    card: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    score: str,
    errors: Sequence[Sample],
    heatmaps: Sequence[Sample],
    skipped: Sequence[Skipped],
    alike: Sequence[tuple[Sample, Sample]] = (),
) -> dict[str, Any]:
    """What the page of every task shows, for its template; `score` names a learning curve."""
    return {
        "title": _title(card),
        "subtitle": _subtitle(card),
        "learning": _learning(card, history, score),
        "things": _things(card),
        "errors": [shown(sample) for sample in errors],
        "galleries": [
            (heading, [shown(sample) for sample in some])
            for heading, some in itertools.groupby(heatmaps, key=attrgetter("group"))
        ],
        "data": _source(card),
        "alike": [(shown(test), shown(train)) for test, train in alike],
        "alike_count": card.get("data", {}).get("alike", {}).get("test", 0),
        "skipped": skipped[:_SKIPPED_SHOWN],
        "skipped_count": len(skipped),
        "settings": _settings(card),
        "baselines": [] if card.get("task") == "forecast" else _baselines(card),
    }


def _baselines(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was measured beside the network on the same samples."""
    found: list[dict[str, Any]] = card.get("result", {}).get("baselines", [])
    return found


def _things(card: Mapping[str, Any]) -> str:
    """What the samples are called."""
    steps = card.get("preprocessing", {}).get("steps", [])
    first = str(steps[0].get("op")) if steps else ""
    named = {"read_text": "texts", "read_series": "series", "read_fields": "fields"}
    return named.get(first, "pictures")


def _title(card: Mapping[str, Any]) -> str:
    source = card.get("data", {}).get("source")
    name = card.get("model", {}).get("name") or "Report"
    return f"{name} on {PurePath(str(source)).name or source}" if source else str(name)


def _subtitle(card: Mapping[str, Any]) -> str:
    parts = [str(card["task"])] if "task" in card else []
    named = {"regression": "outputs", "forecast": "outputs", "downscale": "variables"}
    word = named.get(str(card.get("task")), "classes")
    parts += [wording.counted(len(card["classes"]), word)] if "classes" in card else []
    shape = card.get("preprocessing", {}).get("input_shape")
    if shape:
        parts.append("input " + " \N{MULTIPLICATION SIGN} ".join(str(side) for side in shape))
    return " · ".join(parts)


def _result(card: Mapping[str, Any], evaluation: ClassEvaluation) -> dict[str, Any]:
    """The headline: accuracy, its interval, and what guessing would reach."""
    if not evaluation.n:
        return {"n": 0}
    return {
        **headline(card, evaluation, "val_acc"),
        "correct": evaluation.correct,
        "accuracy": evaluation.accuracy,
        "baseline": evaluation.confusion.sum(axis=1).max() / evaluation.n,
        "macro_f1": evaluation.macro_f1,
        "macro_f1_interval": evaluation.macro_f1_interval,
        **evaluation.figures(),
    }


def headline(card: Mapping[str, Any], evaluation: Evaluation, key: str) -> dict[str, Any]:
    """The score, its interval, and what the validation samples said under `key`."""
    low, high = evaluation.interval
    validation = card.get("result", {}).get("validation", {})
    return {
        "n": evaluation.n,
        "score": evaluation.score,
        "low": low,
        "high": high,
        "start": scale_start([low]),
        "loss": evaluation.loss,
        "validation": validation.get(key),
        "validation_n": validation.get("n", 0),
    }


def _learning(
    card: Mapping[str, Any], history: Sequence[Mapping[str, Any]], score: str
) -> dict[str, Any]:
    kept = card.get("result", {}).get("validation", {}).get("epoch")
    quantities = ("loss", score, "learning rate")
    return {
        "epochs": len(history),
        "kept": kept,
        "last": card.get("recipe", {}).get("keep") == "last",
        "panels": [curves(history, [quantity], kept=kept) for quantity in quantities],
    }


def scale_start(lows: Sequence[float]) -> float:
    """Where a scale that ends at 1 begins: a round tenth below the lowest value."""
    lowest = min(lows, default=0.0)
    return max(0.0, int(10 * lowest - 1e-9) / 10)


def _class_table(evaluation: ClassEvaluation) -> dict[str, Any]:
    """All classes, and beyond 30 the ones that are found least often."""
    measured = [row for row in evaluation.rows if row.n]
    lowest: list[ClassRow] = []
    if len(evaluation.rows) > FULL_UP_TO:
        lowest = sorted(measured, key=lambda row: (row.recall, -row.n))[:_LOWEST]
    return {
        "rows": evaluation.rows,
        "lowest": lowest,
        "start": scale_start([row.interval[0] for row in measured]),
    }


def _source(card: Mapping[str, Any]) -> dict[str, Any]:
    """Where the data came from, its parts, and the steps to the network's input."""
    data = card.get("data", {})
    steps = card.get("preprocessing", {}).get("steps", [])
    return {
        "source": data.get("source"),
        "fingerprint": data.get("fingerprint"),
        "spacing": _spacing(data),
        "seen": {word: f"{share:.1%}" for word, share in data.get("seen", {}).items()},
        "counts": {part: n for part, n in data.get("counts", {}).items() if part != "skipped"},
        "steps": [_step(step) for step in steps],
    }


def _spacing(data: Mapping[str, Any]) -> str | None:
    """Of volumes the median from voxel to voxel along depth, height and width, and its unit."""
    steps = data.get("spacing", {}).get("median")
    if not steps:
        return None
    words = " \N{MULTIPLICATION SIGN} ".join(wording.number(step) for step in steps)
    return f"{words} {data.get('unit', '')}".rstrip()


def balance_of(
    card: Mapping[str, Any], classes: Sequence[str], evaluated: NDArray[np.int64]
) -> dict[str, Any]:
    """Samples of each class: of the training part where the card has them, else the evaluated."""
    counts = card.get("data", {}).get("class_counts", {}).get("train")
    known = counts is not None and len(counts) == len(classes)
    balance = counts if known else evaluated.tolist()
    return {
        "drawing": class_balance(balance, classes),
        "part": "training" if known else "evaluated",
        "smallest": min(balance),
        "largest": max(balance),
    }


def _step(step: Mapping[str, Any]) -> tuple[str, str]:
    """A preprocessing step as (name, its settings)."""
    rest = dict(step)
    name = next((rest.pop(key) for key in ("op", "step") if key in rest), "step")
    return str(name), wording.setting(rest) if rest else ""


def _settings(card: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Tables of (name, value), each with its heading; empty ones are left out."""
    model = card.get("model", {})
    name = {"name": model["name"]} if model.get("name") else {}
    tables = {
        "Model": {**name, **model.get("options", {})},
        "Training": card.get("recipe", {}),
        "Parameter groups": _groups(card),
        "Precision and layout": card.get("probe", {}),
        "Split": card.get("split", {}),
        "Versions": card.get("library", {}),
    }
    return [(heading, wording.flatten(values)) for heading, values in tables.items() if values]


def _groups(card: Mapping[str, Any]) -> dict[str, str]:
    """What learns at which peak rate and with which decay, and what does not learn."""
    peak = card.get("recipe", {}).get("learning_rate", math.nan)
    told = {}
    for group in card.get("groups", []):
        size = f"{wording.count(group['parameters'])} parameters"
        rate = f"{size}, peak rate {wording.number(peak * group['rate'])}"
        rate += f", decay {wording.number(group['weight_decay'])}"
        told[group["name"]] = rate if group["rate"] else size
    return told
