"""The report of a run: which samples it shows, and the page that shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.data import Part
from convarium.report.explained import explain_samples, show_samples
from convarium.report.page import write_page
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
    )
