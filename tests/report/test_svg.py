"""The pen: escaped text, round ticks, straight and logarithmic axes."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from convarium.report.svg import Axis, Drawing, round_values


@pytest.mark.parametrize(
    ("low", "high", "values"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.9, 1, [0.9, 0.92, 0.94, 0.96, 0.98, 1.0]),
        (0, 2500, [0, 500, 1000, 1500, 2000, 2500]),
        (-3, 3, [-3, -2, -1, 0, 1, 2, 3]),
        (5, 5, [5]),
    ],
)
def test_round_values(low: float, high: float, values: list[float]) -> None:
    assert round_values(low, high) == values


def test_an_axis_maps_its_ends_to_its_pixels() -> None:
    straight = Axis(2, 4, 100, 0)
    assert [straight(value) for value in (2, 3, 4)] == [100, 50, 0]
    logarithmic = Axis(0.01, 100, 0, 80, logarithmic=True)
    assert [logarithmic(value) for value in (0.01, 1, 100)] == pytest.approx([0, 40, 80])
    assert logarithmic.ticks() == pytest.approx([0.01, 0.1, 1, 10, 100])


def test_ticks_of_many_decades_are_few_and_round() -> None:
    for decades in (8, 30, 300):
        ticks = Axis(10.0**-decades, 1, 0, 100, logarithmic=True).ticks()
        assert 4 <= len(ticks) <= 7
        assert all(math.log10(tick) == pytest.approx(round(math.log10(tick))) for tick in ticks)
        factors = {round(math.log10(b / a)) for a, b in pairwise(ticks)}
        assert len(factors) == 1


def test_hostile_words_stay_words() -> None:
    drawing = Drawing(100, 50, 'label "<&>\x00')
    drawing.words(0, 10, "<script>alert(1)</script>\x1b", tip='"&<')
    drawing.rectangle((0, 0, 10, 10), "hit", tip="</title><script>")
    root = ElementTree.fromstring(drawing.text())
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert "script" not in names
    assert "<script>alert(1)</script>�" in [element.text for element in root.iter()]


def test_a_drawing_in_a_drawing_keeps_one_style() -> None:
    outer, inner = Drawing(100, 50, "outer"), Drawing(50, 50, "inner")
    inner.words(1, 1, "word")
    outer.place(inner, 50, 0)
    text = outer.text()
    assert text.count("<style>") == 1
    assert "word" in text
    ElementTree.fromstring(text)
