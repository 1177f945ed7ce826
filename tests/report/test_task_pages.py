"""The pages of labels and of numbers: self-contained, escaped, and with the measured numbers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from convarium import report, tasks
from convarium.data import Batch, Skipped
from convarium.report.page import write_page
from convarium.report.task_pages import write_labels_page, write_values_page
from convarium.report.wording import MISSING

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = ("<script>alert(1)</script>", "{{ 7*7 }}{% raise %}", "a\x00\u202eb")


class Page(HTMLParser):
    """Texts, links and addresses of a page; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.names: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag not in {"script", "iframe", "object", "embed", "form", "base"}
        for name in ("src", "href"):
            assert (values.get(name) or "#").startswith(("data:", "#"))
        self.names += [values["id"]] if "id" in values else []
        self.links += [values["href"][1:]] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def gathered(task: Any, outputs: torch.Tensor, target: torch.Tensor) -> Any:
    meter, index = task.meter(), torch.arange(len(target))
    meter.add(outputs, Batch((index,), target, None, index, None))
    return meter.evaluation()


def card(task: str, names: tuple[str, ...], metric: str) -> dict[str, Any]:
    return {
        "task": task,
        "classes": list(names),
        "model": {"name": "resnet8"},
        "preprocessing": {"steps": [{"op": "scale"}], "input_shape": [1, 8, 8]},
        "data": {"source": "t.csv", "counts": {"train": 10, "test": 5}, "class_counts": {}},
        "result": {"validation": {"n": 9, "epoch": 2, f"val_{metric}": 0.75}},
        "targets": {"units": ["mm", ""], "mean": [10.0, 40.0], "std": [2.0, 20.0]},
    }


def history(metric: str) -> list[dict[str, float]]:
    return [
        {"epoch": k, "train_loss": 1 / k, "val_loss": 1 / k, "lr": 0.1,
         f"train_{metric}": 0.2 * k, f"val_{metric}": -5.0 + k}
        for k in (1, 2)
    ]  # fmt: skip


def written(write: Any, folder: Path, evaluation: Any, metric: str, task: str, **more: Any) -> str:
    names = evaluation.names if task == "regression" else evaluation.classes
    image = np.zeros((8, 8, 1), np.uint8)
    picture = report.Picture(image, "a picture", "truth: x", np.zeros((8, 8), np.float32))
    arguments = {
        "card": card(task, names, metric),
        "history": history(metric),
        "errors": [picture],
        "heatmaps": [picture],
        "skipped": [Skipped("broken.png", "truncated")],
        **more,
    }
    path = write(folder / "report.html", evaluation=evaluation, **arguments)
    return path.read_text(encoding="utf-8")


def labels(names: tuple[str, ...] = ("sky", "sea", "tree")) -> tasks.LabelEvaluation:
    generator = torch.Generator().manual_seed(0)
    target = torch.bernoulli(torch.tensor([0.5, 0.3, 0.0]).expand(80, 3), generator=generator)
    outputs = 2 * torch.randn(80, 3, generator=generator) + 2 * target - 1
    return gathered(tasks.Multilabel(names, temperature=1.25), outputs, target)


def numbers(names: tuple[str, ...] = ("width", "age")) -> tasks.ValueEvaluation:
    generator = torch.Generator().manual_seed(0)
    task = tasks.Regression(names, ("mm", ""), (10.0, 40.0), (2.0, 20.0))
    outputs = torch.randn(80, 2, generator=generator)
    target = task.stated(outputs + 0.5 * torch.randn(80, 2, generator=generator))
    return gathered(task, outputs, target)


def check_links(page: Page) -> None:
    assert sorted(page.links) == sorted(page.names)
    assert len(set(page.names)) == len(page.names)


def test_the_page_of_labels_has_every_label_and_its_figures(tmp_path):
    found = labels()
    text = written(write_labels_page, tmp_path, found, "f1", "multilabel")
    page = Page(text)
    check_links(page)
    low, high = found.interval
    for part in (
        f"{100 * found.score:.1f} %",
        f"between {100 * low:.1f} % and {100 * high:.1f} % (95 % interval, n = 80)",
        f"{found.exact} got all labels right",
        f"{100 * found.micro_f1:.1f} %",
        f"{found.figures()['auroc']:.4f}",
        "75.0 %",
        f"tree 0 {MISSING} not in the test",
        f"{80 - found.exact} of 80 test pictures lack a label",
        "1.25",
        "broken.png",
    ):
        assert part in page.text
    for row in found.rows[:2]:
        interval = f"{100 * row.interval.low:.1f} % to {100 * row.interval.high:.1f} %"
        assert f"{row.name} {row.n} {100 * row.recall:.1f} % {interval}" in page.text
    assert "nan" not in page.text
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) == 5
    assert all(ElementTree.fromstring(drawing).attrib["aria-label"] for drawing in drawings)


def test_the_page_of_numbers_has_every_number_with_its_unit(tmp_path):
    found = numbers()
    text = written(write_values_page, tmp_path, found, "r2", "regression")
    page = Page(text)
    check_links(page)
    low, high = found.interval
    for part in (f"{found.score:.3f}", f"between {low:.3f} and {high:.3f}", "0.750", "n = 80",
                 "mean of 2 numbers", "2 outputs", "width [mm] 10 2"):  # fmt: skip
        assert part in page.text
    for row in found.rows:
        assert f"{row.name} {row.unit or MISSING} {row.mae:.3g}" in page.text
        assert f"{row.r2_interval.low:.3g} to {row.r2_interval.high:.3g}" in page.text
    assert len(re.findall(r"<svg.*?</svg>", text, re.DOTALL)) == 3 + 2 * 2


def test_one_number_has_its_errors_in_the_headline(tmp_path):
    task = tasks.Regression(("age",), ("years",), (40.0,), (20.0,))
    outputs = torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    found = gathered(task, outputs, task.stated(outputs) + 3)
    page = Page(written(write_values_page, tmp_path, found, "r2", "regression"))
    assert "3 years 95 % interval 3 to 3" in page.text


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_hostile_names_stay_names(tmp_path, kind):
    if kind == "labels":
        text = written(write_labels_page, tmp_path, labels(HOSTILE), "f1", "multilabel")
    else:
        text = written(write_values_page, tmp_path, numbers(HOSTILE[:2]), "r2", "regression")
    page = Page(text)
    for name in HOSTILE[:2]:
        assert name in page.text
    assert "49{" not in page.text


def test_a_bare_card_and_a_score_below_zero_are_shown(tmp_path):
    task = tasks.Regression(("age",), ("",), (0.0,), (1.0,))
    target = torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    found = gathered(task, -target, target)
    assert found.score < 0
    text = written(write_values_page, tmp_path, found, "r2", "regression", card={}, history=[])
    assert f"{found.score:.3f}" in Page(text).text
    text = written(write_labels_page, tmp_path, labels(), "f1", "multilabel", card={}, history=[])
    assert "No training history was recorded." in Page(text).text


def test_classes_show_ranking_and_calibration(tmp_path):
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 6, (80,), generator=generator)
    outputs = torch.randn(80, 6, generator=generator) + 2 * torch.eye(6)[target]
    names = tuple(f"c{k}" for k in range(6))
    found = gathered(tasks.Classification(names, temperature=1.5), outputs, target)
    page = Page(written(write_page, tmp_path, found, "acc", "classification"))
    check_links(page)
    for part in (f"{100 * found.stated.top(5):.1f} %", f"{found.auroc:.4f}", "Temperature 1.5",
                 f"{100 * found.ece:.1f} %", f"{found.stated.nll:.3g}"):  # fmt: skip
        assert part in page.text


def test_a_hundred_labels_fold_away_and_the_worst_stand_first(tmp_path):
    generator = torch.Generator().manual_seed(0)
    target = torch.bernoulli(torch.full((60, 100), 0.3), generator=generator)
    outputs = 2 * torch.randn(60, 100, generator=generator) + 2 * target - 1
    names = tuple(f"label {k}" for k in range(100))
    found = gathered(tasks.Multilabel(names), outputs, target)
    fitted = {"temperature": 1.5, "ece_before": 0.123, "ece_after": 0.045, "n": 60}
    whole = {**card("multilabel", names, "f1"), "calibration": fitted}
    text = written(write_labels_page, tmp_path, found, "f1", "multilabel", card=whole)
    page = Page(text)
    assert "The 20 labels of the lowest F1" in page.text
    assert "All 100 labels" in page.text
    worst = min(found.rows, key=lambda row: row.f1)
    assert page.text.index(worst.name + " ") < page.text.index("All 100 labels")
    assert "60 validation samples, whose calibration error went from 12.3 % to 4.5 %" in page.text
