"""How the field grows, as a drawing: places on the axes, words that do not meet, many layers."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from drawn_words import meet, words
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium import report
from convarium.errors import OptionError
from convarium.measure import receptive_field
from convarium.measure.field import Field, ReceptiveField

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("stem.conv", "layer1.0.conv1", "a.b.c.d.e.f", "x" * 90, ":add", "", "block2.3:cat", "7")


def made(layers: list[tuple[str, tuple[int, ...]]], inputs: tuple[int, ...]) -> ReceptiveField:
    """A field by hand: a row for each layer and its sizes."""
    rank = len(inputs)
    one, zero = (1,) * rank, (0,) * rank
    rows = [
        Field(name, "Conv", (1, 1, *one), size, one, zero, zero, size, "exact")
        for name, size in layers
    ]
    return ReceptiveField(**vars(rows[-1]), input_shape=(1, 1, *inputs), rows=tuple(rows))


def curves(svg: str) -> list[list[tuple[float, float]]]:
    """The lines of the field, in the order of their axes: thick ones that are not in the key."""
    found = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}polyline"):
        points = [tuple(map(float, p.split(","))) for p in element.attrib["points"].split()]
        if float(element.attrib["stroke-width"]) >= 2 and points[-1][0] > 700:
            found.append(points)
    return found


sizes = st.tuples(st.integers(1, 100_000), st.integers(1, 100_000))
layer = st.tuples(st.sampled_from(NAMES), sizes)


@given(st.lists(layer, min_size=1, max_size=30), sizes)
def test_words_do_not_meet_and_lie_inside(layers, inputs):
    svg = report.draw_field_growth(made(layers, inputs), "a network with a long name")
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    placed = words(svg)
    assert all(b[1] >= 0 and b[2] >= 0 and b[3] <= width and b[4] <= height for b in placed)
    assert not [pair for pair in itertools.combinations(placed, 2) if meet(*pair)]
    for points in curves(svg):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_heights_stand_for_sizes():
    (points,) = curves(report.draw_field_growth(made([("a", (5,)), ("b", (9,))], (10,)), "net"))
    (_, first), (_, flat), (_, second), (_, end) = points
    assert (first, second) == (flat, end)
    # On a straight axis from 0, heights above it are as 5 to 9; the axis lies at 420 - 66.
    assert (354 - second) / (354 - first) == pytest.approx(9 / 5, abs=0.01)


def test_far_growth_has_a_logarithmic_axis():
    layers = [(str(k), (4**k,)) for k in range(1, 6)]
    (points,) = curves(report.draw_field_growth(made(layers, (64,)), "net"))
    levels = list(dict.fromkeys(y for _, y in points))
    steps = [a - b for a, b in itertools.pairwise(levels)]
    assert steps == pytest.approx([steps[0]] * 4, abs=0.02)


def test_the_input_and_the_layer_that_covers_it_are_marked():
    svg = report.draw_field_growth(made([("a", (5,)), ("b", (20,)), ("c", (30,))], (10,)), "net")
    texts = [text for text, *_ in words(svg)]
    assert "input 10" in texts
    assert "as large as the input from b on" in texts
    root = ElementTree.fromstring(svg)
    (tint,) = [r for r in root.iter(f"{SVG}rect") if "fill-opacity" in r.attrib]
    left, wide = float(tint.attrib["x"]), float(tint.attrib["width"])
    assert left == pytest.approx(62 + (820 - 62 - 24) / 3, abs=0.01)  # the second of three
    assert left + wide == pytest.approx(820 - 24, abs=0.01)
    alone = report.draw_field_growth(made([("a", (5,))], (10,)), "net")
    assert "as large as" not in alone


def test_axes_that_grow_alike_share_a_line():
    both = report.draw_field_growth(made([("a", (3, 3)), ("b", (5, 5))], (9, 9)), "net")
    assert len(curves(both)) == 1
    assert "input 9" in [text for text, *_ in words(both)]
    apart = report.draw_field_growth(made([("a", (3, 3)), ("b", (5, 7))], (9, 12)), "net")
    assert len(curves(apart)) == 2
    texts = [text for text, *_ in words(apart)]
    assert {"height", "width", "input 9 (height)", "input 12 (width)"} <= set(texts)
    flat = report.draw_field_growth(made([("a", (3, 5, 5))], (9, 9, 9)), "net")
    assert {"depth", "height and width"} <= {text for text, *_ in words(flat)}


def test_networks_of_texts_have_one_axis_too():
    model = nn.Sequential(nn.Embedding(9, 4), Turned(), nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 5))
    drawn = report.draw_field_growth(receptive_field(model, (1, 16)), "net")
    assert len(curves(drawn)) == 1
    texts = [text for text, *_ in words(drawn)]
    assert "input 16" in texts
    assert any(text.startswith("7 inputs at 3") for text in texts)


class Turned(nn.Module):
    """Places and channels exchanged."""

    def forward(self, x):
        return x.transpose(1, 2)


def test_branches_that_see_less_are_dots():
    svg = report.draw_field_growth(made([("a", (9,)), ("b", (3,)), ("c", (11,))], (20,)), "net")
    circles = list(ElementTree.fromstring(svg).iter(f"{SVG}circle"))
    assert len(circles) == 2  # the branch, and the end of the line
    assert any("branches that see less" in text for text, *_ in words(svg))
    chain = report.draw_field_growth(made([("a", (3,)), ("b", (9,))], (20,)), "net")
    assert not any("branches" in text for text, *_ in words(chain))


def test_four_hundred_layers_have_a_few_names():
    layers = [nn.Conv1d(1, 1, 3, padding=1) for _ in range(400)]
    svg = report.draw_field_growth(receptive_field(nn.Sequential(*layers), (1, 1, 64)), "net")
    under = [b for b in words(svg) if 354 < b[2] < 390]
    assert 8 <= len(under) <= 40
    (points,) = curves(svg)
    assert len(points) == 2 * 400
    assert len(svg) < 40_000


def test_parts_with_many_layers_get_their_names_first():
    layers = [("stem.conv", (3,)), *((f"body.{k}", (5 + k,)) for k in range(60)), ("end", (70,))]
    texts = [text for text, *_ in words(report.draw_field_growth(made(layers, (200,)), "net"))]
    assert "body" in texts
    assert "body.3" not in texts


def test_what_cannot_be_followed_is_drawn_up_to_there():
    class Sorts(nn.Module):
        def forward(self, x):
            return x.sort(2).values

    known = nn.Sequential(nn.Conv1d(1, 1, 3), Sorts(), nn.Conv1d(1, 1, 3))
    svg = report.draw_field_growth(receptive_field(known, (1, 1, 20)), "net")
    assert "after that unknown: sort" in " ".join(text for text, *_ in words(svg))
    with pytest.raises(OptionError, match="no layer whose field is known: unknown: sort"):
        report.draw_field_growth(receptive_field(Sorts(), (1, 1, 20)), "net")


def test_hostile_names_stay_words():
    svg = report.draw_field_growth(made([("<script>", (3,))], (9,)), "</svg><script>")
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert f"{SVG}script" not in tags
    assert math.isfinite(float(ElementTree.fromstring(svg).attrib["width"]))
