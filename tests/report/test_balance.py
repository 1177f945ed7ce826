"""Samples per class as SVG."""

from xml.etree import ElementTree

import pytest

from convarium import report
from convarium.errors import ShapeError

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_the_counts() -> None:
    svg = report.class_balance([1200, 300, 0], ["cat", "<b>dog</b>", "owl"])
    root = ElementTree.fromstring(svg)
    lengths = [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")]
    assert lengths[0] == pytest.approx(4 * lengths[1], abs=0.1)
    assert lengths[2] < 1
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert words == ["cat", "1,200", "<b>dog</b>", "300", "owl", "0"]


def test_a_thousand_classes_become_one_outline() -> None:
    svg = report.class_balance(range(1000), [str(k) for k in range(1000)])
    root = ElementTree.fromstring(svg)
    assert len(list(root.iter(f"{SVG}polygon"))) == 1
    assert "from 0 to 999 samples" in root.attrib["aria-label"]
    assert "1,000 classes, the largest first" in list(root.itertext())


@pytest.mark.parametrize("counts", [[1, 2], []])
def test_counts_that_do_not_fit_the_classes_are_an_error(counts: list[int]) -> None:
    with pytest.raises(ShapeError, match="one number for each"):
        report.class_balance(counts, ["a"] if counts else [])
