"""The confusion matrix and the most confused pairs."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from convarium import report
from convarium.errors import ShapeError

SVG = "{http://www.w3.org/2000/svg}"


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def tips(svg: str) -> list[str]:
    found = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    return [element.findtext(f"{SVG}title") or "" for element in found]


def test_every_count_is_written_where_it_belongs() -> None:
    confusion = np.array([[40, 3, 0], [0, 17, 5], [1, 0, 29]])
    svg = report.confusion_matrix(confusion, ["cat", "dog", "owl"])
    assert sorted(word for word in words(svg) if word.isdigit()) == sorted(
        ["40", "3", "17", "5", "1", "29"]
    )
    assert "dog, taken for owl: 5 of 22 (22.7\xa0%)" in tips(svg)
    label = ElementTree.fromstring(svg).attrib["aria-label"]
    assert label == "Confusion matrix of 3 classes: 86 of 95 samples lie on the diagonal."


def test_a_cell_stands_in_its_row_and_column() -> None:
    confusion = np.zeros((4, 4), np.int64)
    confusion[1, 2] = 7
    svg = report.confusion_matrix(confusion, ["a", "b", "c", "d"])
    root = ElementTree.fromstring(svg)
    placed = {
        element.text: (float(element.attrib["x"]), float(element.attrib["y"]))
        for element in root.iter(f"{SVG}text")
        if element.attrib.get("text-anchor") != "start"
    }
    columns = [e for e in root.iter(f"{SVG}text") if e.text == "c"]
    across = {float(element.attrib["x"]) for element in columns}
    down = {float(e.attrib["y"]) for e in root.iter(f"{SVG}text") if e.text == "b"}
    x, y = placed["7"]
    assert min(abs(x - other) for other in across) < 1
    assert min(abs(y - other) for other in down) < 2


@pytest.mark.parametrize("size", [2, 30])
def test_up_to_thirty_classes_are_drawn_in_full(size: int) -> None:
    confusion = np.eye(size, dtype=np.int64) * 1234
    svg = report.confusion_matrix(confusion, [f"class {k}" for k in range(size)])
    assert words(svg).count("1234") == size
    assert "<image" not in svg


def test_density_shows_errors_where_they_lie() -> None:
    confusion = np.eye(100, dtype=np.int64) * 9
    confusion[10, 70] = 1
    confusion[20, 30] = 4
    svg = report.confusion_matrix(confusion, [str(k) for k in range(100)])
    address = next(ElementTree.fromstring(svg).iter(f"{SVG}image")).attrib["href"]
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    opacity = np.asarray(picture)[..., 3]
    assert np.argwhere(opacity).tolist() == [[10, 70], [20, 30]]
    assert opacity[20, 30] == 255
    assert opacity[10, 70] < 255
    assert "30.8\xa0%" in words(svg)


def test_density_of_a_thousand_classes_without_an_error() -> None:
    confusion = np.eye(1000, dtype=np.int64)
    svg = report.confusion_matrix(confusion, [str(k) for k in range(1000)])
    ElementTree.fromstring(svg)
    assert len(svg) < 20_000


def test_pairs_come_in_order_and_leave_out_what_is_right() -> None:
    confusion = np.array([[40, 3, 0], [0, 17, 5], [3, 0, 29]])
    pairs = report.confused_pairs(confusion, ["cat", "dog", "owl"])
    assert [tuple(pair) for pair in pairs] == [
        ("dog", "owl", 5, 22),
        ("cat", "dog", 3, 43),
        ("owl", "cat", 3, 32),
    ]
    assert len(report.confused_pairs(confusion, ["cat", "dog", "owl"], limit=1)) == 1
    assert confusion[0, 0] == 40


def test_hostile_class_names_stay_names() -> None:
    names = ["<script>alert(1)</script>", "a\x00\ud800b"]
    svg = report.confusion_matrix(np.array([[1, 1], [1, 1]]), names)
    assert "<script" not in svg
    svg.encode("utf-8")
    assert any("<script>alert(1)</script>, taken for" in tip for tip in tips(svg))


def test_a_matrix_that_does_not_fit_the_classes_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"confusion \(of shape \(2, 3\)\) must have one row"):
        report.confusion_matrix(np.zeros((2, 3), np.int64), ["a", "b"])
    with pytest.raises(ShapeError, match="each of the 1 classes"):
        report.confused_pairs(np.zeros((2, 2), np.int64), ["a"])
