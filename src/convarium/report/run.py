"""The report of a run: which samples it shows, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convarium import files
from convarium.data import Part
from convarium.report.explained import explain_samples, show_samples
from convarium.report.page import write_page
from convarium.report.pictures import Picture
from convarium.report.task_pages import write_labels_page, write_values_page

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
_HEATMAPS = 12
_ALIKE = 12


def report_run(run: Run, history: History, evaluation: Evaluation, part: Part) -> Path:
    """Write `report.html` into the run's folder.

    It shows the worst errors, and heatmaps of samples spread over the classes or the numbers.

    Args:
        run: the finished run.
        history: of its training.
        evaluation: of `part`.
        part: the test samples.

    Raises:
        RunError: the page cannot be written.
    """
    worst = Part(part.dataset, evaluation.worst(_ERRORS))
    examples = Part(part.dataset, evaluation.examples(_HEATMAPS))
    return _PAGES[evaluation.shown_as](
        run.folder / "report.html",
        card=run.card,
        history=history.rows,
        evaluation=evaluation,
        errors=show_samples(run, worst, most=_ERRORS),
        heatmaps=explain_samples(run, examples, most=_HEATMAPS).pictures,
        skipped=part.dataset.skipped,
        alike=_alike(run, part),
    )


def _alike(run: Run, part: Part) -> list[tuple[Picture, Picture]]:
    """The test pictures most like a training picture, each beside that one."""
    file = run.folder / "lookalikes.jsonl"
    rows = files.read_jsonl(file) if file.exists() and part.listed else []
    pairs = []
    for row in [row for row in rows if row["part"] == "test"][:_ALIKE]:
        test, train = (part.dataset.read(row[key]) for key in ("id", "train_id"))
        note = f"{row['bits']} of 256 bits differ"
        pairs.append((Picture(test, row["name"], note), Picture(train, row["train_name"], "")))
    return pairs
