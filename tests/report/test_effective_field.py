"""The effective field as a drawing: the right places, areas and outlines, for one to three axes."""

from __future__ import annotations

import base64
import io
import itertools
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from convarium import report
from convarium.errors import OptionError
from convarium.measure import effective_receptive_field, receptive_field
from convarium.measure.effective import EffectiveField
from convarium.report import wording
from convarium.report.effective_field import areas

SVG = "{http://www.w3.org/2000/svg}"
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def drawn(rank: int, shape: tuple[int, ...], kernel: int = 3) -> tuple[str, EffectiveField]:
    """Of a network with equal weights, so that each place of the field has the same share."""
    model = CONVOLUTIONS[rank](1, 1, kernel, bias=False)
    nn.init.ones_(model.weight)
    network = nn.Sequential(model)
    found = effective_receptive_field(network, torch.zeros(1, 1, *shape))
    field = receptive_field(network, (1, 1, *shape))
    return report.draw_effective_field(found, field, "net"), found


def images(svg: str) -> list[np.ndarray]:
    """The opacities of each picture in the drawing."""
    found = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}image"):
        data = base64.b64decode(element.attrib["href"].partition(",")[2])
        found.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3])
    return found


def outlines(svg: str) -> list[list[tuple[float, float]]]:
    lines = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    orange = [e.attrib["points"] for e in lines if e.attrib["stroke"] == "var(--miss)"]
    return [[tuple(map(float, p.split(","))) for p in points.split()] for points in orange]


def test_an_image_shows_where_the_weight_lies():
    svg, found = drawn(2, (8, 12), 5)
    # The middle position of 4 x 8 is (2, 4): inputs 2 to 6 and 4 to 8, each with 1 / 25.
    wanted = np.zeros((8, 12))
    wanted[2:7, 4:9] = 255
    weight, _, level = images(svg)[:3]
    assert (weight == wanted).all()
    assert set(np.unique(level)) == {0, 90, 255}
    assert (level == 255).sum() == found.area_50 == 13
    assert (level > 0).sum() == found.area_95 == 24


def test_the_outline_is_that_of_the_theoretical_field():
    svg, _ = drawn(2, (8, 12), 5)
    left, right = outlines(svg)
    pixel = 330 / 12
    xs, ys = [x for x, _ in left], [y for _, y in left]
    assert max(xs) - min(xs) == pytest.approx(5 * pixel, abs=0.02)
    assert max(ys) - min(ys) == pytest.approx(5 * pixel, abs=0.02)
    box = next(ElementTree.fromstring(svg).iter(f"{SVG}image"))
    assert min(xs) - float(box.attrib["x"]) == pytest.approx(4 * pixel, abs=0.02)
    assert min(ys) - float(box.attrib["y"]) == pytest.approx(2 * pixel, abs=0.02)
    assert len({a[0] - b[0] for a, b in zip(left, right, strict=True)}) == 1


def test_the_outline_ends_at_the_borders_of_the_input():
    model = nn.Sequential(nn.Conv2d(1, 1, 9, padding=4))
    found = effective_receptive_field(model, torch.zeros(1, 1, 6, 6))
    svg = report.draw_effective_field(found, receptive_field(model, (1, 1, 6, 6)), "net")
    xs = [x for x, _ in outlines(svg)[0]]
    assert max(xs) - min(xs) == pytest.approx(330, abs=0.02)


def test_a_signal_is_a_curve_over_its_areas():
    svg, found = drawn(1, (20,), 4)
    root = ElementTree.fromstring(svg)
    (curve,) = [e for e in root.iter(f"{SVG}polyline") if e.attrib["stroke-width"] == "1.5"]
    points = [tuple(map(float, p.split(","))) for p in curve.attrib["points"].split()]
    heights = [y for _, y in points]
    low, high = max(heights), min(heights)
    first = found.position[0]
    assert [k for k, y in enumerate(heights) if y == high] == list(range(first, first + 4))
    assert heights.count(low) == 16
    edges = sorted(line[0][0] for line in outlines(svg))
    pixel = points[1][0] - points[0][0]
    assert edges[1] - edges[0] == pytest.approx(4 * pixel, abs=0.02)
    tinted = [e for e in root.iter(f"{SVG}rect") if e.attrib["fill"] == "var(--band)"]
    widths = sorted(float(e.attrib["width"]) / pixel for e in tinted)
    assert widths == pytest.approx([found.area_50, found.area_95], abs=0.01) == [2, 4]


def test_a_volume_is_summed_along_each_axis():
    svg, _ = drawn(3, (4, 6, 8))
    shapes = [picture.shape for picture in images(svg)[:3]]
    assert shapes == [(6, 8), (4, 8), (4, 6)]
    assert [int((picture == 255).sum()) for picture in images(svg)[:3]] == [9, 9, 9]
    assert len(outlines(svg)) == 3
    assert "summed along depth" in svg


@pytest.mark.parametrize(
    "shape", [(5,), (1000,), (7, 7), (2, 900), (900, 2), (600, 600), (3, 5, 90)]
)
def test_words_do_not_meet_and_lie_inside(shape):
    n = int(np.prod(shape))
    values = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middle = tuple(k / 2 for k in shape)
    found = EffectiveField(
        "a.layer", middle, values / values.sum(), middle, middle, n // 3, n // 2, n, 4
    )  # fmt: skip
    field = receptive_field(CONVOLUTIONS[len(shape)](1, 1, 1), (1, 1, *shape))
    svg = report.draw_effective_field(found, field, "a network with a rather long name")
    root = ElementTree.fromstring(svg)
    placed = []
    for element in root.iter(f"{SVG}text"):
        size, text = float(element.attrib["font-size"]), element.text or ""
        wide = wording.width(text, size)
        shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.attrib["text-anchor"]]
        left, y = float(element.attrib["x"]) - shift * wide, float(element.attrib["y"])
        placed.append((left, y - 0.8 * size, left + wide, y + 0.2 * size))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height for b in placed)
    for one, other in itertools.combinations(placed, 2):
        across = one[0] < other[2] - 0.01 and other[0] < one[2] - 0.01
        assert not (across and one[1] < other[3] - 0.01 and other[1] < one[3] - 0.01)
    assert max(max(picture.shape) for picture in images(svg)) <= 256 if len(shape) == 2 else True


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=40))
def test_areas_are_the_fewest_places_that_hold_a_share(numbers):
    values = np.array(numbers) / sum(numbers)
    level = areas(values)
    for k, share in enumerate((0.5, 0.95)):
        inside = values[level <= k]
        assert inside.sum() >= share - 1e-9
        assert inside.sum() - inside.min() < share + 1e-9
        outside = values[level > k]
        assert not len(outside) or outside.max() <= inside.min()


def test_areas_are_as_large_as_what_was_measured():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.Tanh(), nn.Conv2d(3, 2, 5))
    found = effective_receptive_field(model, torch.randn(3, 1, 20, 20))
    level = areas(found.values.numpy())
    assert ((level == 0).sum(), (level <= 1).sum()) == (found.area_50, found.area_95)


def test_the_png_holds_the_maps_too():
    svg, _ = drawn(2, (8, 12), 5)
    with Image.open(io.BytesIO(report.svg_as_png(svg, scale=1))) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    box = next(ElementTree.fromstring(svg).iter(f"{SVG}image"))
    x, y = float(box.attrib["x"]), float(box.attrib["y"])
    size = 330 / 12
    inside = pixels[round(y + 4.5 * size), round(x + 6.5 * size)]
    assert np.abs(inside - np.array([42, 120, 170])).max() <= 2
    outside = pixels[round(y + 0.5 * size), round(x + 1.5 * size)]
    assert np.abs(outside - 255).max() <= 2


def test_four_axes_are_refused():
    values = torch.ones(2, 2, 2, 2, dtype=torch.float64) / 16
    found = EffectiveField("", (0,) * 4, values, (0.0,) * 4, (0.0,) * 4, 1, 1, 1, 1)
    field = receptive_field(nn.Conv1d(1, 1, 1), (1, 1, 4))
    with pytest.raises(OptionError, match="three axes at most"):
        report.draw_effective_field(found, field, "net")
