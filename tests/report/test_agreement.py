"""Predictions over truths, and residuals: every sample is drawn where it belongs."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_words import meet, words
from PIL import Image

from convarium.errors import ShapeError
from convarium.report import svg_as_png
from convarium.report.agreement import agreement, residual_histogram

SVG = "{http://www.w3.org/2000/svg}"


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.normal(20, 5, n).astype(np.float32)
    return truth, (truth + generator.normal(0, 2, n)).astype(np.float32)


def diagonal(svg: str) -> list[list[float]]:
    lines = [e for e in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
             if "stroke-dasharray" in e.attrib]  # fmt: skip
    assert len(lines) == 1
    return [[float(v) for v in pair.split(",")] for pair in lines[0].attrib["points"].split()]


def test_dots_are_as_far_from_the_dashed_line_as_predictions_from_truths():
    truth, values = drawn(50)
    svg = agreement(truth, values, "age", "years")
    dots = [(float(e.attrib["cx"]), float(e.attrib["cy"]))
            for e in ElementTree.fromstring(svg).iter(f"{SVG}circle")]  # fmt: skip
    (x0, y0), (x1, y1) = diagonal(svg)
    assert len(dots) == 50
    ends = [truth.min(), truth.max()]
    xs = [dots[int(np.argmin(truth))][0], dots[int(np.argmax(truth))][0]]
    scale = (xs[1] - xs[0]) / (ends[1] - ends[0])
    for (x, y), true, value in zip(dots, truth, values, strict=True):
        assert x == pytest.approx(xs[0] + scale * (true - ends[0]), abs=0.1)
        on_line = y0 + (x - x0) / (x1 - x0) * (y1 - y0)
        rise = -(y1 - y0) / (x1 - x0) * scale
        assert on_line - y == pytest.approx(rise * (value - true), abs=0.1)


def test_many_samples_become_a_density_with_its_weight_on_the_line():
    truth, values = drawn(5000)
    svg = agreement(truth, values)
    root = ElementTree.fromstring(svg)
    assert not list(root.iter(f"{SVG}circle"))
    address = next(root.iter(f"{SVG}image")).attrib["href"]
    picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    level = np.asarray(picture)[..., 3].astype(float)
    rows, columns = np.nonzero(level)
    assert np.corrcoef(-rows, columns)[0, 1] > 0.8
    assert (level > 0).sum() < 5000


@pytest.mark.parametrize("outlier", [None, 500.0])
def test_bars_count_every_residual(outlier):
    truth, values = drawn(400)
    residuals = (values - truth).astype(np.float64)
    if outlier:
        residuals[0] = outlier
    svg = residual_histogram(residuals, "age", "years")
    root = ElementTree.fromstring(svg)
    titles = [title.text.split()[0] for title in root.iter(f"{SVG}title")]
    counts = [int(text) for text in titles if text.isdigit()]
    assert sum(counts) == 400
    text = " ".join(root.itertext())
    sizes = np.abs(residuals)
    beyond = int((sizes > 2 * np.percentile(sizes, 95)).sum())
    assert (f"{beyond} beyond the ends" in text) == (beyond > 0)
    assert "[years]" in text
    heights = sorted(float(e.attrib["height"]) for e in root.iter(f"{SVG}rect"))
    assert heights[-1] / heights[0] == pytest.approx(max(counts) / min(counts), rel=0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_words_do_not_meet_and_the_drawings_can_be_painted(dark):
    truth, values = drawn(60)
    for svg in (
        agreement(truth, values, "a very long name of a number" * 3, "kg/m2"),
        residual_histogram((values - truth).astype(np.float64) * 1e-5, "age", "years"),
    ):
        found = words(svg)
        assert not [(a, b) for k, a in enumerate(found) for b in found[:k] if meet(a, b)]
        assert svg_as_png(svg, dark=dark)[1:4] == b"PNG"


def test_numbers_that_are_all_equal_are_drawn():
    same = np.full(3, 7.0, np.float32)
    assert len(list(ElementTree.fromstring(agreement(same, same)).iter(f"{SVG}circle"))) == 3
    svg = residual_histogram(np.zeros(3))
    assert "3 samples" in [title.text for title in ElementTree.fromstring(svg).iter(f"{SVG}title")]


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="as many numbers"):
        agreement(np.zeros(3, np.float32), np.zeros(2, np.float32))
    with pytest.raises(ShapeError, match="at least one"):
        residual_histogram(np.zeros(0))
