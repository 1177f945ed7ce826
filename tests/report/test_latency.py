"""The picture of a latency: rates and times at their heights, a column a layer, words apart."""

from __future__ import annotations

import io
import itertools
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_words import meet, words
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from convarium import measure, report
from convarium.measure import BatchLatency, Latency, LayerTime, Profile
from convarium.report.latency import draw_latency

SVG = "{http://www.w3.org/2000/svg}"
PROCESSOR = "A processor of a rather long name @ 2.00 GHz"


def latency(times: dict[int, float]) -> Latency:
    """By hand: half of the median, and its double, are the percentiles."""
    rows = tuple(
        BatchLatency(size, 40, ms, ms / 2, 2 * ms, None, 1e3 * size / ms)
        for size, ms in times.items()
    )
    return Latency(rows, (1, 3, 32, 32), 2, "cpu", PROCESSOR, "float32", "2.13.0")


def profile(layers: list[tuple[str, str, float]], between: float = 1.0) -> Profile:
    total = sum(ms for *_, ms in layers) + between
    calls: dict[str, int] = {}
    rows = []
    for name, kind, ms in layers:
        rows.append(LayerTime(name, calls.get(name, 0), kind, ms, ms / total))
        calls[name] = calls.get(name, 0) + 1
    return Profile(tuple(rows), between, between / total, total, 20, (4, 3, 32, 32), 2, "cpu")


def columns(svg: str) -> list[tuple[float, float, float, float, str, str]]:
    """Left, top, width, height, colour and tip of each column."""
    found = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        tip = element.find(f"{SVG}title")
        if tip is not None:
            box = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
            found.append((*box, element.attrib["fill"], tip.text or ""))
    return found


def test_curves_show_the_time_of_a_sample_and_the_rate():
    svg = draw_latency(latency({8: 16.0, 1: 4.0, 2: 4.0}), "net")  # 4, 2, 2 ms a sample
    lines = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    thick = [e.attrib["points"] for e in lines if e.attrib["stroke-width"] == "2"]
    each, rates = ([tuple(map(float, p.split(","))) for p in line.split()] for line in thick)
    low = 64 + 250 - 40
    heights = [low - y for _, y in each]
    assert heights == pytest.approx([heights[0], heights[0] / 2, heights[0] / 2], abs=0.02)
    heights = [low - y for _, y in rates]  # 250, 500, 500
    assert heights == pytest.approx([heights[0], 2 * heights[0], 2 * heights[0]], abs=0.02)
    steps = [b[0] - a[0] for a, b in itertools.pairwise(each)]
    assert steps[1] == pytest.approx(2 * steps[0], abs=0.02)  # 1 to 2, and 2 to 8
    assert len(list(ElementTree.fromstring(svg).iter(f"{SVG}polygon"))) == 2
    texts = [text for text, *_ in words(svg)]
    assert min(texts.count(n) for n in ("1", "2", "8")) >= 2
    assert any(PROCESSOR in text and "2 threads" in text for text in texts)


def test_a_column_a_call_as_high_as_its_time_and_in_its_kinds_colour():
    layers = [("a", "Conv2d", 4.0), ("b", "ReLU", 1.0), ("a", "Conv2d", 2.0), ("c", "Tanh", 0.5)]
    svg = draw_latency(latency({4: 8.0}), "net", profile(layers, 0.5))
    found = columns(svg)
    heights = [height for _, _, _, height, _, _ in found]
    assert [h / heights[0] for h in heights] == pytest.approx([1, 0.25, 0.5, 0.125], abs=0.005)
    assert [c[0] for c in found] == sorted(c[0] for c in found)
    assert found[0][4] == found[2][4]
    assert len({c[4] for c in found}) == 3
    assert "a (call 2), Conv2d: 2 ms, 25.0" in found[2][5]
    texts = " ".join(text for text, *_ in words(svg)).replace("\N{NO-BREAK SPACE}", " ")
    assert "Conv2d 75.0 %" in texts
    assert "between the layers 6.2 %" in texts
    assert "Longest: a 4 ms, 50.0 %; a (call 2) 2 ms, 25.0 %" in texts
    assert "Milliseconds a sample" not in texts
    assert "8 ms a pass of 4" in texts


def test_kinds_beyond_three_share_a_colour():
    layers = [(str(k), f"Kind{k}", 10.0 - k) for k in range(6)]
    svg = draw_latency(latency({1: 50.0}), "net", profile(layers))
    colours = [c[4] for c in columns(svg)]
    assert len(set(colours)) == 4
    assert colours[3] == colours[4] == colours[5]
    assert any(text.startswith("3 other kinds") for text, *_ in words(svg))


name = st.sampled_from(("stem.conv", "layer1.0.conv1", "x" * 90, "", "7", "a.b.c.d.e"))
kind = st.sampled_from(("Conv2d", "A" * 60, "ReLU", "BatchNorm2d", "GELU"))
layer = st.tuples(name, kind, st.floats(0, 1e5))


@given(
    st.dictionaries(st.integers(1, 100_000), st.floats(1e-3, 1e6), min_size=1, max_size=9),
    st.none() | st.lists(layer, max_size=30),
    st.floats(1e-3, 10),
)
def test_words_do_not_meet_and_lie_inside(times, layers, between):
    found = None if layers is None else profile(layers, between)
    svg = draw_latency(latency(times), "a network with a long name " * 4, found)
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    placed = words(svg)
    assert all(b[1] >= 0 and b[2] >= 0 and b[3] <= width and b[4] <= height for b in placed)
    assert not [pair for pair in itertools.combinations(placed, 2) if meet(*pair)]
    for left, top, wide, high, *_ in columns(svg):
        assert 0 <= left <= left + wide <= width
        assert 0 <= top <= top + high <= height
        assert high >= 0


def test_what_was_measured_is_drawn_and_painted():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    shape = (2, 1, 16, 16)
    found = measure.latency(model, shape, batch_sizes=(1, 2), seconds=0.05)
    svg = draw_latency(found, "net", measure.profile(model, shape, rounds=3))
    assert len(columns(svg)) == 3
    with Image.open(io.BytesIO(report.svg_as_png(svg, scale=1))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 820
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_hostile_names_stay_words():
    svg = draw_latency(latency({1: 1.0}), "</svg><script>", profile([("<script>", "<b>", 1.0)]))
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert not {f"{SVG}script", f"{SVG}b"} & tags
