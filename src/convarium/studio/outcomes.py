"""What a finished classifier got right and wrong, and the samples behind each cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError, OptionError
from convarium.predict import Run, open_run
from convarium.progress import Progress
from convarium.report import confused_pairs
from convarium.studio.desk import Desk
from convarium.studio.opened import Opened, open_run_data
from convarium.studio.relabel import corrections_of
from convarium.studio.samples import read_data
from convarium.studio.shown import sample_shown
from convarium.tasks import ClassEvaluation

_PARTS: Final = ("test", "validation", "train")
_LARGEST: Final = 60  # classes whose whole matrix is sent
_PAIRS: Final = 30
_AT_ONCE: Final = 96


@dataclass(frozen=True)
class Outcome:
    """An evaluation of a part of a run's data.

    Args:
        evaluation: with the single predictions.
        names: of the samples, in its order; none where they are in the data alone.
        stored: whether the run's folder had it; else it was computed now.
    """

    evaluation: ClassEvaluation
    names: tuple[str, ...]
    stored: bool


def matrix(desk: Desk, run: str, part: str = "test") -> dict[str, Any]:
    """Accuracy, confusion, classes and calibration of a part of the data.

    Args:
        desk: knows the run.
        run: its name.
        part: test, validation or train; what the run did not store is evaluated now.

    Returns:
        How far the evaluation is, as `Jobs.ask` says it; then the figures.
    """
    told = _asked(desk, run, part)
    return told if told["state"] != "done" else {"state": "done", **figures(run, part, told)}


def figures(run: str, part: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of an outcome that is known."""
    found: Outcome = told["result"]
    evaluation = found.evaluation
    classes = list(evaluation.classes)
    small = len(classes) <= _LARGEST
    return {
        "run": run,
        "part": part,
        "stored": found.stored,
        "n": evaluation.n,
        "accuracy": evaluation.accuracy,
        "interval": list(evaluation.interval),
        "macro_f1": evaluation.macro_f1,
        "ece": evaluation.ece,
        "classes": classes,
        "confusion": evaluation.confusion.tolist() if small else None,
        "pairs": [p._asdict() for p in confused_pairs(evaluation.confusion, classes, _PAIRS)],
        "rows": [row.to_json() for row in evaluation.rows],
        "bins": [each._asdict() for each in evaluation.reliability if each.n],
    }


def samples(
    desk: Desk,
    run: str,
    part: str = "test",
    truth: str | None = None,
    said: str | None = None,
    start: int = 0,
    count: int = 24,
) -> dict[str, Any]:
    """Samples behind a cell of the matrix, or all wrong ones, the most confident first.

    Args:
        desk: knows the run.
        run: its name.
        part: of the data.
        truth, said: classes of the cell; both None takes what was named wrongly.
        start, count: which of them.

    Returns:
        How far the reading of the data is, as `Jobs.ask` says it; then the samples, and `remark`
        where the data is not that of the run: then a name may belong to another sample.
    """
    found = outcome(desk, run, part)
    told = read_data(desk, run)
    if told["state"] != "done":
        return told
    opened: Opened = told["result"][0]
    evaluation, dataset = found.evaluation, opened.dataset
    places = _places(evaluation, truth, said)
    mended = corrections_of(desk.folder(run))
    chosen = places[max(0, start) :][: min(max(0, count), _AT_ONCE)]
    rows = []
    for k in chosen.tolist():
        i = int(evaluation.ids[k])
        name = found.names[k] if found.names else dataset.name(i)
        shown = sample_shown(dataset, i, name)
        row = {
            "path": name,
            "truth": evaluation.classes[evaluation.targets[k]],
            "said": evaluation.classes[evaluation.labels[k]],
            "confidence": float(evaluation.confidences[k]),
            "corrected": mended.get(name),
        }
        rows.append({**row, **shown})
    found_rows = {"total": len(places), "start": start, "rows": rows}
    return {"state": "done", **found_rows, "remark": opened.remark}


def outcome(desk: Desk, run: str, part: str) -> Outcome:
    """The evaluation of a part: as it is stored, or as it was computed.

    Raises:
        OptionError: no such part, or the run's task has no classes to confuse.
        RunError: the run has no such part, or other data lies there now.
        DataError: it is not computed yet.
    """
    told = _asked(desk, run, part)
    if told["state"] != "done":
        raise DataError("The samples are being evaluated; ask again when that is done.")
    found: Outcome = told["result"]
    return found


def _asked(desk: Desk, run: str, part: str) -> dict[str, Any]:
    """The evaluation of a part, or how far it is."""
    if part not in _PARTS:
        raise OptionError(f"part (={part!r}) must be one of {', '.join(_PARTS)}.")
    opened = desk.opened(run)
    if opened.card["task"] != "classification":
        raise OptionError(
            f"The run's task is {opened.card['task']}, and a confusion matrix is of one class each."
        )

    key, folder, other = ("outcome", run, desk.version(run), part), opened.folder, desk.data
    stored = desk.known(key) or (stored_outcome(opened) if part == "test" else None)
    if stored is None:
        return desk.jobs.ask(key, lambda progress: _computed(folder, other, part, progress))
    desk.keep(key, stored)
    return {"state": "done", "result": stored}


def stored_outcome(run: Run) -> Outcome | None:
    """The evaluation of the test samples as the run's folder has it; None where it does not."""
    path = run.folder / "predictions.parquet"
    rows = _table(path, ["id", "name", "target", "label", "confidence"])
    if rows is None or not len(rows["id"]):
        return None
    known = ids_of(run.folder, "test")
    if known is not None and not np.isin(rows["id"], known).all():
        return None  # of other data
    classes = tuple(run.card["classes"])
    numbers = {name: k for k, name in enumerate(classes)}
    try:
        targets, labels = (
            np.array([numbers[word] for word in rows[column]], np.int64)
            for column in ("target", "label")
        )
    except KeyError:
        return None
    k = len(classes)
    confusion = np.bincount(targets * k + labels, minlength=k * k).reshape(k, k)
    ids, confidences = rows["id"].astype(np.int64), rows["confidence"].astype(np.float32)
    loss = run.card.get("result", {}).get("test", {}).get("loss", float("nan"))
    evaluation = ClassEvaluation(classes, confusion, loss, ids, targets, labels, confidences)
    return Outcome(evaluation, tuple(rows["name"]), stored=True)


def ids_of(folder: Path, part: str) -> NDArray[np.int64] | None:
    """Ids of the samples of a part as the run was split; None where it does not say."""
    rows = _table(folder / "splits.parquet", ["id", "part"])
    return None if rows is None else rows["id"][rows["part"] == part]


def _computed(folder: Path, other: str | None, part: str, progress: Progress) -> Outcome:
    """The evaluation of a part, by a network of its own, which nobody else runs meanwhile."""
    run = open_run(folder)
    chosen = run.part(open_run_data(folder, other, progress).dataset, part)
    progress.total += len(chosen)
    found: Any = run.predictor.evaluate(chosen, skipped=[], progress=progress)
    return Outcome(found, (), stored=False)


def _places(evaluation: ClassEvaluation, truth: str | None, said: str | None) -> NDArray[np.int64]:
    """Places of the samples asked for in the evaluation, the most confident first."""
    wanted = np.ones(evaluation.n, np.bool_)
    for word, column in ((truth, evaluation.targets), (said, evaluation.labels)):
        if word is None:
            continue
        if word not in evaluation.classes:
            raise OptionError(f"The run has no class {word!r}.")
        wanted &= column == evaluation.classes.index(word)
    if truth is None and said is None:
        wanted = evaluation.targets != evaluation.labels
    places = np.flatnonzero(wanted)
    return places[np.argsort(-evaluation.confidences[places], kind="stable")]


def _table(path: Path, columns: list[str]) -> dict[str, NDArray[Any]] | None:
    """Columns of a Parquet file; None where it is missing, damaged or of another task."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException):
        return None
    if set(columns) - set(table.column_names):
        return None
    return {name: table[name].to_numpy() for name in columns}
