"""The report of a run: which samples it shows, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convarium import files
from convarium.data import Part
from convarium.report.explained import explain_samples, show_samples
from convarium.report.explained_sequences import HEATED, explain_sequences
from convarium.report.field_page import write_fields_page
from convarium.report.galleries import Galleries, galleries_of
from convarium.report.page import Sample, write_page
from convarium.report.pictures import Picture
from convarium.report.sequences import HeatedTokens
from convarium.report.series import show_series
from convarium.report.task_pages import write_labels_page, write_values_page
from convarium.report.texts import show_texts
from convarium.tasks import FieldEvaluation

if TYPE_CHECKING:
    from convarium.predict import Run
    from convarium.tasks import Evaluation
    from convarium.train import History

# which page shows the evaluation of a task
_PAGES: dict[str, Callable[..., Path]] = {
    "classes": write_page,
    "labels": write_labels_page,
    "values": write_values_page,
}
_ERRORS = 12
_ALIKE = 12
_WORDS = 60


def report_run(run: Run, history: History, evaluation: Evaluation, part: Part) -> Path:
    """Write `report.html` into the run's folder.

    It shows the worst errors, and heatmaps of right and wrong, confident and unsure answers; of
    labels and numbers heatmaps of samples spread over them. Of fields it shows maps instead.

    Args:
        run: the finished run.
        history: of its training.
        evaluation: of `part`.
        part: the test samples.

    Raises:
        RunError: the page cannot be written.
    """
    if isinstance(evaluation, FieldEvaluation):
        return write_fields_page(
            run.folder / "report.html",
            card=run.card,
            history=history.rows,
            evaluation=evaluation,
            dataset=part.dataset,
            skipped=part.dataset.skipped,
        )
    worst = Part(part.dataset, evaluation.worst(_ERRORS))
    return _PAGES[evaluation.shown_as](
        run.folder / "report.html",
        card=run.card,
        history=history.rows,
        evaluation=evaluation,
        errors=_show(run, worst),
        heatmaps=_heatmaps(run, part, galleries_of(evaluation)),
        skipped=part.dataset.skipped,
        alike=_alike(run, part),
    )


def _show(run: Run, part: Part) -> Sequence[Sample]:
    """The samples of a part with their predictions."""
    if run.preprocessing.kind == "texts":
        return show_texts(run, part, most=_ERRORS)
    if run.preprocessing.kind == "series":
        return show_series(run, part, most=_ERRORS)
    return show_samples(run, part, most=_ERRORS)


def _heatmaps(run: Run, part: Part, galleries: Galleries) -> list[Sample]:
    """The heatmaps of each gallery, with its heading as their group."""
    if not galleries:
        return []
    groups = {int(i): heading for heading, ids in galleries.items() for i in ids}
    some = Part(part.dataset, np.array(list(groups), np.int64))
    if run.preprocessing.kind in HEATED:
        along = explain_sequences(run, some, most=len(groups))
        heated = zip(along.sequences, along.ids, strict=True)
        return [replace(each, group=groups[i]) for each, i in heated]
    found = explain_samples(run, some, most=len(groups))
    pairs = zip(found.pictures, found.ids, strict=True)
    return [replace(picture, group=groups[i]) for picture, i in pairs]


def _alike(run: Run, part: Part) -> list[tuple[Sample, Sample]]:
    """The test samples most like a training sample, each beside that one."""
    file = run.folder / "lookalikes.jsonl"
    rows = files.read_jsonl(file) if file.exists() and part.listed else []
    pairs: list[tuple[Sample, Sample]] = []
    for row in [row for row in rows if row["part"] == "test"][:_ALIKE]:
        test, train = (part.dataset.read(row[key]) for key in ("id", "train_id"))
        if run.preprocessing.kind == "texts":
            own = (row[key] for key in ("name", "train_name"))
            one, other = (_plain(text, name) for text, name in zip((test, train), own, strict=True))
            pairs.append((one, other))
            continue
        note = f"{row['bits']} of 256 bits differ"
        pairs.append((Picture(test, row["name"], note), Picture(train, row["train_name"], "")))
    return pairs


def _plain(text: str, name: str) -> HeatedTokens:
    """A text in words, without heat."""
    words = [f"{word} " for word in text.split()[:_WORDS]]
    return HeatedTokens(words, np.zeros(len(words), np.float32), name)
