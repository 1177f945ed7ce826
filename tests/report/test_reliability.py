"""The reliability diagram: bars where they belong, gaps to what was stated, counts below."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from drawn_words import meet, words

from convarium.errors import ShapeError
from convarium.report.reliability import reliability_diagram
from convarium.tasks import Bin

SVG = "{http://www.w3.org/2000/svg}"
BINS = [
    Bin(0.0, 0.2, 0, float("nan"), float("nan")),
    Bin(0.2, 0.4, 10, 0.3, 0.1),
    Bin(0.4, 0.6, 40, 0.5, 0.5),
    Bin(0.6, 0.8, 20, 0.7, 0.9),
    Bin(0.8, 1.0, 1, 0.95, 1.0),
]


def rectangles(svg: str, colour: str) -> list[dict[str, float]]:
    found = [e for e in ElementTree.fromstring(svg).iter(f"{SVG}rect")
             if e.attrib["fill"] == f"var(--{colour})"]  # fmt: skip
    return [{k: float(e.attrib[k]) for k in ("x", "y", "width", "height")} for e in found]


def test_gaps_lie_between_what_was_stated_and_what_came_true():
    svg = reliability_diagram(BINS)
    gaps = rectangles(svg, "miss")
    used = [each for each in BINS if each.n]
    assert len(gaps) == len(rectangles(svg, "hit")) == len(rectangles(svg, "soft")) == len(used)
    drawn = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    lines = [e.attrib["points"] for e in drawn if "stroke-dasharray" in e.attrib]
    assert len(lines) == 1
    (x0, y0), (x1, y1) = ([float(v) for v in p.split(",")] for p in lines[0].split())
    for gap, each in zip(gaps, used, strict=True):
        ends = sorted(y0 + share * (y1 - y0) for share in (each.stated, each.observed))
        assert gap["y"] == pytest.approx(ends[0], abs=0.02)
        assert gap["y"] + gap["height"] == pytest.approx(ends[1], abs=0.02)
        assert gap["x"] >= x0 + each.low * (x1 - x0)
        assert gap["x"] + gap["width"] <= x0 + each.high * (x1 - x0)


def test_counts_are_drawn_in_proportion_and_told():
    svg = reliability_diagram(BINS)
    bars = rectangles(svg, "soft")
    heights = [bar["height"] for bar in bars]
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.01)
    assert heights[1] == pytest.approx(2 * heights[2], rel=0.01)
    root = ElementTree.fromstring(svg)
    assert "Reliability of 71 stated probabilities" in root.attrib["aria-label"]
    assert "stated 30.0\xa0%, came true 10.0\xa0%, n 10" in root.attrib["aria-label"]
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "40 stated" in titles


def test_words_do_not_meet_and_stay_inside():
    svg = reliability_diagram(BINS)
    root, found = ElementTree.fromstring(svg), words(svg)
    assert not [(a, b) for k, a in enumerate(found) for b in found[:k] if meet(a, b)]
    assert all(left >= 0 and right <= float(root.attrib["width"]) for _, left, _, right, _ in found)


def test_nothing_stated_is_refused():
    with pytest.raises(ShapeError, match="at least one"):
        reliability_diagram(BINS[:1])
