"""The report page: self-contained, escaped, accessible, and with the right numbers."""

import base64
import io
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from convarium import report
from convarium.data import Skipped
from convarium.errors import OptionError
from convarium.intervals import wilson
from convarium.report.wording import MISSING
from convarium.tasks import ClassEvaluation

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "{{ 7*7 }}{% raise %}",
    "</style></title>&amp;",
    "a\x00\x1b[31m\ud800\u202eb",
    "日本語",
]


class Page(HTMLParser):
    """Elements and texts of a page; every element must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.styles: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open and self.open[-1] == "style" else self.texts).append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def evaluation(confusion: np.ndarray, classes: list[str]) -> ClassEvaluation:
    truth, said = np.nonzero(confusion)
    times = confusion[truth, said]
    truth, said = np.repeat(truth, times), np.repeat(said, times)
    sure = np.ones(len(truth), np.float32)
    return ClassEvaluation(
        tuple(classes), confusion, 0.08312, np.arange(len(truth)), truth, said, sure
    )


def card(classes: list[str], **data: Any) -> dict[str, Any]:
    return {
        "task": "classification",
        "classes": classes,
        "model": {"name": "resnet8", "options": {"stem": "cifar"}},
        "preprocessing": {"steps": [{"op": "scale", "factor": 0.5}], "input_shape": [1, 8, 8]},
        "data": {"source": "digits", "counts": {"train": 1258, "test": 270}, **data},
        "recipe": {"epochs": 3, "augmentation": {"flip": False}},
        "result": {"validation": {"n": 269, "epoch": 2, "val_acc": 0.9777}},
        "library": {"torch": "2.13.0"},
    }


def history() -> list[dict[str, Any]]:
    values = [(1, 2.0, 0.5), (2, 1.0, 0.7), (3, 0.5, 0.9)]
    return [
        {
            "epoch": epoch,
            "train_loss": loss,
            "val_loss": loss,
            "train_acc": accuracy,
            "val_acc": accuracy,
            "lr": 0.01,
        }
        for epoch, loss, accuracy in values
    ]


def written(folder: Path, classes: list[str], confusion: np.ndarray, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "card": card(classes),
        "history": history(),
        "evaluation": evaluation(confusion, classes),
        "errors": [],
        "heatmaps": [],
        "skipped": [],
        **changes,
    }
    path = report.write_page(folder / "report.html", **arguments)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


def test_what_learns_at_which_rate_is_told(tmp_path: Path) -> None:
    sizes = {"rate": 0.5, "weight_decay": 0.05, "parameters": 12345}
    frozen = {"rate": 0.0, "weight_decay": 0.0, "parameters": 67}
    told = {
        **card(["a", "b"]),
        "recipe": {"learning_rate": 0.004},
        "groups": [{"name": "head weights", **sizes}, {"name": "frozen: stem, layer1", **frozen}],
    }
    texts = Page(written(tmp_path, ["a", "b"], np.eye(2, dtype=np.int64), card=told)).texts
    assert "Parameter groups" in texts
    rows = {name: texts[texts.index(name) + 1] for name in ("head weights", "frozen: stem, layer1")}
    assert rows["head weights"] == "12,345 parameters, peak rate 0.002, decay 0.05"
    assert rows["frozen: stem, layer1"] == "67 parameters"
    assert "Parameter groups" not in Page(digits_page(tmp_path)).texts


def digits_page(folder: Path) -> str:
    images = (load_digits().images[:2] * 255 / 16).round().astype(np.uint8)[..., None]
    heat = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    confusion = np.diag([20] * 10)
    confusion[3, 8] = 4
    return written(
        folder,
        [str(k) for k in range(10)],
        confusion,
        errors=[report.Picture(images[0], "said 8", "truth: 3")],
        heatmaps=[report.Picture(images[1], "1", "predicted 1", heat)],
        skipped=[Skipped("broken.png", "truncated")],
    )


def check_self_contained(text: str) -> Page:
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "form", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data", "poster"}:
                assert value.startswith(("data:", "#")), (tag, value)
            if name == "style":
                assert "url(" not in value
    for style in page.styles:
        assert "@import" not in style
        assert "url(" not in style
    return page


def test_nothing_is_loaded_from_outside(tmp_path: Path) -> None:
    page = check_self_contained(digits_page(tmp_path))
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert len(policies) == 1
    assert "default-src 'none'; img-src data:" in policies[0]


def test_the_numbers_are_on_the_page_with_n_and_interval(tmp_path: Path) -> None:
    text = Page(digits_page(tmp_path)).text
    low, high = wilson(200, 204)
    sentence = (
        "Of 204 test samples, kept apart from training and from every choice, 200 were named "
        f"correctly; on more samples drawn in the same way the accuracy should lie between "
        f"{100 * low:.1f} % and {100 * high:.1f} % (95 % interval, n = 204)."
    )
    assert sentence in text
    for part in ("98.0 %", "0.0831", "97.8 %", "11.8 %", "3 epochs", "1,258 samples", "4 of 24"):
        assert part in text
    for part in ("resnet8 on digits", "cifar", "augmentation.flip", "2.13.0", "broken.png"):
        assert part in text


def test_each_class_has_its_recall_with_interval(tmp_path: Path) -> None:
    text = Page(digits_page(tmp_path)).text
    low, high = wilson(20, 24)
    assert f"3 24 83.3 % {100 * low:.1f} % to {100 * high:.1f} %" in text
    assert "8 20 100.0 %" in text


def test_drawings_are_well_formed(tmp_path: Path) -> None:
    drawings = re.findall(r"<svg.*?</svg>", digits_page(tmp_path), re.DOTALL)
    assert len(drawings) == 5
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.attrib["aria-label"]
        assert "prefers-color-scheme:dark" in "".join(root.itertext())


def test_pictures_are_the_samples_pixel_by_pixel(tmp_path: Path) -> None:
    page = Page(digits_page(tmp_path))
    images = (load_digits().images[:2] * 255 / 16).round().astype(np.uint8)
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))))
        for image in page.all("img")
    ]
    assert len(shown) == 3
    assert np.array_equal(shown[0], np.kron(images[0], np.ones((20, 20), np.uint8)))
    assert np.array_equal(shown[1], np.kron(images[1], np.ones((20, 20), np.uint8)))
    assert shown[2].shape == (160, 160, 3)
    assert all(image["class"] == "pixels" for image in page.all("img"))


def test_heatmaps_have_a_colour_scale_and_name_the_class(tmp_path: Path) -> None:
    text = digits_page(tmp_path)
    page = Page(text)
    scales = [item for item in page.all("div") if item.get("class") == "scale"]
    assert len(scales) == 1
    assert scales[0]["aria-label"].startswith("Colour scale from 0 to 1")
    assert "--heat:linear-gradient(to right,#000004," in "".join(page.styles)
    assert "predicted 1" in page.text


def test_the_page_is_accessible(tmp_path: Path) -> None:
    page = Page(digits_page(tmp_path))
    assert page.all("html")[0]["lang"] == "en"
    assert any("width=device-width" in meta.get("content", "") for meta in page.all("meta"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert all(image["alt"].strip() for image in page.all("img"))
    assert all(cell.get("scope") in {"row", "col"} for cell in page.all("th"))
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    links = [link["href"][1:] for link in page.all("a")]
    assert sorted(links) == sorted(names)


def test_the_page_follows_the_readers_light_or_dark_setting(tmp_path: Path) -> None:
    page = Page(digits_page(tmp_path))
    assert {"name": "color-scheme", "content": "light dark"} in page.all("meta")
    assert "@media (prefers-color-scheme:dark){:root{" in page.styles[0]


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 1), np.uint8)
    heat = np.zeros((8, 8), np.float32)
    pictures = [report.Picture(image, name, name, heat) for name in HOSTILE]
    hostile = card(HOSTILE, source="/x/" + HOSTILE[1])
    hostile["recipe"] = {HOSTILE[0]: HOSTILE[3]}
    text = written(
        tmp_path,
        HOSTILE,
        np.ones((6, 6), np.int64),
        card=hostile,
        errors=pictures,
        heatmaps=pictures,
        skipped=[Skipped(f"{name}\udcff.jpg", name) for name in HOSTILE],
    )
    page = check_self_contained(text)
    for name in ("<script>alert(1)</script>", "{{ 7*7 }}{% raise %}", "</style></title>&amp;"):
        assert name in page.text
    assert "a��[31m��b" in page.text
    assert "49{" not in page.text
    assert len(page.all("img")) == 3 * len(HOSTILE)


def test_two_classes_and_a_bare_card(tmp_path: Path) -> None:
    confusion = np.array([[40, 0], [0, 1]])
    page = check_self_contained(written(tmp_path, ["cat", "dog"], confusion, card={}, history=[]))
    for part in ("No class was taken for another.", "No training history", "100.0 %"):
        assert part in page.text


def test_a_class_without_a_sample_is_shown_as_unmeasured(tmp_path: Path) -> None:
    page = Page(written(tmp_path, ["cat", "dog"], np.array([[5, 0], [0, 0]])))
    assert f"dog 0 {MISSING} not in the test {MISSING}" in page.text
    assert "nan" not in page.text


def test_an_empty_test_part_is_said(tmp_path: Path) -> None:
    page = Page(written(tmp_path, ["cat", "dog"], np.zeros((2, 2), np.int64)))
    assert "No test samples were measured." in page.text


def test_a_thousand_classes(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    confusion = np.diag(generator.integers(1, 20, 1000))
    confusion[generator.integers(0, 1000, 500), generator.integers(0, 1000, 500)] += 1
    text = written(tmp_path, [f"class {k}" for k in range(1000)], confusion)
    page = check_self_contained(text)
    assert "The 20 classes found least often" in page.text
    assert "All 1,000 classes" in page.text
    assert len(page.all("details")) == 1
    assert len(text) < 1_000_000


def test_training_balance_is_shown_where_the_card_has_it(tmp_path: Path) -> None:
    confusion = np.array([[5, 0], [0, 5]])
    known = card(["cat", "dog"], class_counts={"train": [7, 123]})
    page = Page(written(tmp_path, ["cat", "dog"], confusion, card=known))
    assert "in the training part, from 7 to 123." in page.text
    page = Page(written(tmp_path, ["cat", "dog"], confusion))
    assert "in the evaluated part, from 5 to 5." in page.text


def test_a_long_list_of_skipped_files_is_cut_and_counted(tmp_path: Path) -> None:
    skipped = [Skipped(f"{k}.jpg", "broken") for k in range(33)]
    page = Page(written(tmp_path, ["a", "b"], np.eye(2, dtype=np.int64), skipped=skipped))
    assert "33 samples" in page.text
    assert "And 13 more, in skipped.jsonl." in page.text


def test_an_old_report_is_replaced_whole(tmp_path: Path) -> None:
    digits_page(tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    digits_page(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_heatmap_page(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    shown = [report.Picture(image, HOSTILE[0], heat=np.ones((2, 2), np.float32))]
    path = report.heatmap_page(tmp_path / "heatmaps.html", shown, HOSTILE[3])
    page = check_self_contained(path.read_text(encoding="utf-8"))
    assert HOSTILE[0] in page.text
    assert HOSTILE[3] in page.text
    assert "1 picture " in page.text
    with pytest.raises(OptionError, match="at least one picture"):
        report.heatmap_page(tmp_path / "none.html", [], "title")
