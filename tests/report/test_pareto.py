"""The picture of latency against accuracy: names that do not meet, right places, both themes."""

from __future__ import annotations

import io
import math
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_words import box, meet
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from convarium import report
from convarium.errors import OptionError
from convarium.measure.choice import choose
from convarium.measure.chosen import pareto_front
from convarium.report import palette
from convarium.report.pareto import TradeOff, draw_choices, draw_trade_offs

SVG = "{http://www.w3.org/2000/svg}"
Boxes = list[tuple[float, float, float, float]]


def draw(points: list[TradeOff]) -> str:
    return draw_trade_offs(points, title="title", across="ms on a machine", up="top-1 in %")


def marked(values: list[tuple[float, float]]) -> list[TradeOff]:
    """Points with names, those of the front marked."""
    front = set(pareto_front(values))
    return [
        TradeOff(f"network_{i}", ms, accuracy, i in front)
        for i, (ms, accuracy) in enumerate(values)
    ]


def texts(svg: str) -> dict[str, ElementTree.Element]:
    return {e.text or "": e for e in ElementTree.fromstring(svg).iter(f"{SVG}text")}


def circles(svg: str) -> Boxes:
    found = ElementTree.fromstring(svg).iter(f"{SVG}circle")
    values = [[float(e.attrib[key]) for key in ("cx", "cy", "r")] for e in found]
    return [(x - r, y - r, x + r, y + r) for x, y, r in values]


value = st.tuples(st.floats(0.01, 5000), st.floats(1, 99))


@settings(max_examples=25)
@given(st.lists(value, min_size=1, max_size=30))
def test_no_names_meet_each_other_a_dot_or_the_border(values):
    svg = draw(marked(values))
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    placed = [box(e) for text, e in texts(svg).items() if text.startswith("network_")]
    everything = [box(e) for e in texts(svg).values()]
    assert not [pair for pair in combinations(placed, 2) if meet(*pair)]
    assert not [(a, b) for a in placed for b in circles(svg) if meet(a, b)]
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height for b in everything)
    assert len(circles(svg)) == len(values)


def test_a_name_without_a_line_is_nearest_to_its_own_dot():
    times = {"onnx": 0.354, "folded": 0.853, "compiled": 0.88, "eager": 0.979, "openvino": 7.94}
    svg = draw([TradeOff(f"{k} fp32, 1 thread", ms, 100.0, k == "onnx") for k, ms in times.items()])
    dots = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in sorted(circles(svg))]
    thin = [
        e
        for e in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
        if e.get("stroke-width") == "0.8"
    ]
    boxes = {text: box(e) for text, e in texts(svg).items() if text.endswith("thread")}
    beside = 0
    for name, (x0, y0, x1, y1) in boxes.items():
        away = [math.hypot(max(x0 - x, x - x1, 0), max(y0 - y, y - y1, 0)) for x, y in dots]
        own = list(times).index(name.split()[0])
        beside += away.index(min(away)) == own
    assert len(boxes) >= 4
    assert beside >= len(boxes) - len(thin)
    wide = [(x0 - 4, y0, x1 + 4, y1) for x0, y0, x1, y1 in boxes.values()]
    assert not any(meet(one, other) for one, other in combinations(wide, 2))


def test_the_names_of_a_usual_front_are_all_there():
    """Twelve networks, each a little slower and better than the one before, and others beneath."""
    front = [(10 * 1.35**i, 70 + 14 * (1 - math.exp(-i / 4))) for i in range(12)]
    others = [(ms * 1.3, accuracy - 1.5) for ms, accuracy in front]
    names = texts(draw(marked(front + others)))
    assert {f"network_{i}" for i in range(12)} <= set(names)


def test_places_are_logarithmic_in_time_and_straight_in_accuracy():
    points = marked([(1.0, 60.0), (10.0, 70.0), (100.0, 80.0)])
    places = sorted(
        (float(e.attrib["cx"]), float(e.attrib["cy"]))
        for e in ElementTree.fromstring(draw(points)).iter(f"{SVG}circle")
    )
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.02)
    assert x2 > x0
    assert y2 < y0


@settings(max_examples=60)
@given(st.floats(0.003, 5000), st.floats(1, 1e4))
def test_any_range_of_times_has_three_numbers_or_more_at_their_places(fastest, factor):
    svg = draw(marked([(fastest, 60.0), (fastest * factor, 70.0)]))
    foot = 520 - 78 + 17
    told = [(text, e) for text, e in texts(svg).items() if e.attrib["y"] == str(foot)]
    assert 3 <= len(told) <= 10
    assert not [pair for pair in combinations([box(e) for _, e in told], 2) if meet(*pair)]
    (left, *_), (right, *_) = ([(a + c) / 2] for a, _, c, _ in circles(svg))
    for text, element in told:
        if factor > 1.05:  # so that rounding to hundredths of a pixel does not matter
            share = (float(element.attrib["x"]) - left) / (right - left)
            assert fastest * factor**share == pytest.approx(float(text), rel=2e-3)


def test_the_line_is_the_stairs_of_the_front():
    svg = draw(marked([(1.0, 60.0), (4.0, 70.0), (5.0, 65.0)]))
    lines = [
        [tuple(map(float, pair.split(","))) for pair in e.attrib["points"].split()]
        for e in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
        if e.attrib["stroke"] == "var(--accent)"
    ]
    ((start, corner, end),) = lines
    assert start[1] == corner[1]
    assert corner[0] == end[0]
    assert end[1] < start[1]


def test_hostile_names_stay_words_and_names_without_room_show_on_hover():
    points = [TradeOff("</svg><script>", 1.0, 50.0 + i / 1000, i == 0) for i in range(30)]
    svg = draw(points)
    root = ElementTree.fromstring(svg)
    assert f"{SVG}script" not in {element.tag for element in root.iter()}
    tips = [e.text for e in root.iter(f"{SVG}title")]
    assert len(tips) == 30
    assert all(tip.startswith("</svg><script>: 1 ms, 50.0") for tip in tips)


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_painted_for_light_and_dark(dark):
    svg = draw(marked([(1.0, 60.0), (4.0, 70.0)]))
    theme = palette.DARK if dark else palette.LIGHT
    with Image.open(io.BytesIO(report.svg_as_png(svg, scale=1, dark=dark))) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for left, top, right, bottom in circles(svg):
        x, y = round((left + right) / 2), round((top + bottom) / 2)
        assert np.abs(pixels[y, x] - ImageColor.getrgb(theme["accent"])).max() <= 2
    assert np.abs(pixels[8, 8] - ImageColor.getrgb(theme["card"])).max() <= 2


@pytest.mark.parametrize("ms", [0.0, -1.0, math.inf, math.nan])
def test_a_latency_that_has_no_logarithm_is_refused(ms):
    with pytest.raises(OptionError, match="points"):
        draw([TradeOff("a", ms, 50.0, True)])


def test_choices_are_drawn_with_their_conditions(tmp_path):
    found = choose(input_shape=(1, 3, 16, 16), pattern="resnet[23]?_cifar", cache=tmp_path)
    names = texts(draw_choices(found))
    assert {"resnet20_cifar", "resnet32_cifar"} & set(names)
    words = " ".join(names)
    assert "1x3x16x16" in words
    assert "CIFAR-10" in words
    signals = choose(input_shape=(1, 3, 64), pattern="resnet10", cache=tmp_path)
    assert "No published accuracy" in " ".join(texts(draw_choices(signals)))
