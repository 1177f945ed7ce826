"""Panels of lines: values at their heights, words that do not meet, points that have no place."""

from __future__ import annotations

import itertools
import math
from xml.etree import ElementTree

import pytest
from drawn_words import meet, words
from hypothesis import given
from hypothesis import strategies as st

from convarium.report.panels import Line, draw_key, draw_panel
from convarium.report.svg import Drawing

SVG = "{http://www.w3.org/2000/svg}"
BOX = (20.0, 10.0, 380.0, 250.0)


def drawn(lines: list[Line], **options) -> ElementTree.Element:
    drawing = Drawing(420, 270, "test")
    draw_panel(drawing, BOX, lines, heading="A heading", across="places", **options)
    return ElementTree.fromstring(drawing.text())


def paths(root: ElementTree.Element, thick: str = "2") -> list[list[tuple[float, float]]]:
    """The points of every line of a thickness."""
    found = root.iter(f"{SVG}polyline")
    points = [e.attrib["points"] for e in found if e.attrib["stroke-width"] == thick]
    return [[tuple(map(float, pair.split(","))) for pair in each.split()] for each in points]


def straight(values: list[float]) -> Line:
    return Line("line", [(float(k), v, v, v) for k, v in enumerate(values)])


def test_heights_stand_for_values():
    (points,) = paths(drawn([straight([2.0, 4.0, 8.0])]))
    low = 10 + 250 - 40
    heights = [low - y for _, y in points]
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.02)
    assert heights[2] == pytest.approx(4 * heights[0], abs=0.02)
    assert [x for x, _ in points] == pytest.approx([74, (74 + 388) / 2, 388])


def test_logarithmic_axes_make_equal_factors_equally_long():
    line = Line("line", [(float(2**k), 10.0**k, 10.0**k, 10.0**k) for k in range(-2, 3)])
    (points,) = paths(drawn([line], logarithmic=(True, True)))
    for axis in (0, 1):
        steps = [b[axis] - a[axis] for a, b in itertools.pairwise(points)]
        assert steps == pytest.approx([steps[0]] * 4, abs=0.03)


def test_the_band_reaches_from_the_lowest_to_the_highest():
    root = drawn([Line("line", [(0.0, 1.0, 2.0, 4.0), (1.0, 2.0, 3.0, 4.0)])])
    (area,) = root.iter(f"{SVG}polygon")
    corners = [tuple(map(float, pair.split(","))) for pair in area.attrib["points"].split()]
    low = 10 + 250 - 40
    unit = low - corners[0][1]
    assert [(low - y) / unit for _, y in corners] == pytest.approx([1, 2, 4, 4], abs=0.01)
    assert 0 < float(area.attrib["fill-opacity"]) < 1
    assert not list(drawn([straight([1.0, 2.0])]).iter(f"{SVG}polygon"))


def test_a_single_point_is_a_dot_on_its_range():
    root = drawn([Line("line", [(8.0, 1.0, 2.0, 3.0)])], logarithmic=(True, False), ticks=[8])
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert not paths(root)
    assert "8" in [text for text, *_ in words(root)]


def test_what_has_no_place_is_left_out():
    values = [(0.0, 1.0, 1.0, 1.0), (1.0, 0.0, 0.0, 0.0), (2.0, 1.0, math.nan, 1.0), (3.0, 2, 2, 2)]
    (points,) = paths(drawn([Line("line", values)], logarithmic=(False, True)))
    assert len(points) == 2
    nothing = drawn([Line("line", [(0.0, math.inf, math.inf, math.inf)])])
    assert "Nothing was recorded." in [text for text, *_ in words(nothing)]
    assert "Nothing was recorded." in [text for text, *_ in words(drawn([]))]


def test_panels_that_hold_the_same_values_have_the_same_axis():
    (alone,) = paths(drawn([straight([1.0, 2.0])]))
    (beside,) = paths(drawn([straight([1.0, 2.0])], held=[4.0]))
    low = 10 + 250 - 40
    assert low - beside[0][1] == pytest.approx((low - alone[0][1]) / 2, abs=0.02)


def test_the_key_tells_where_the_next_may_begin():
    drawing = Drawing(400, 40, "test")
    end = draw_key(drawing, 10, 20, Line("one network", (), "miss", "6 5", 2.5))
    root = ElementTree.fromstring(drawing.text())
    ((_, left, _, right, _),) = words(root)
    assert 40 < left < right < end
    ((start, _), (stop, _)) = paths(root)[0]
    assert 10 == start < stop < left
    assert len(list(root.iter(f"{SVG}circle"))) == 3


number = st.floats(1e-9, 1e9)
point = st.tuples(st.floats(1, 2000), number).map(lambda p: (p[0], p[1] / 2, p[1], 2 * p[1]))


@given(
    st.lists(st.lists(point, max_size=12), max_size=3),
    st.tuples(st.booleans(), st.booleans()),
    st.lists(st.integers(1, 2000), max_size=9),
    st.booleans(),
)
def test_nothing_leaves_the_box_and_no_words_meet(lines, logarithmic, ticks, shares):
    if shares:  # these lie in [0, 1]
        lines = [[(x, *(min(v, 1.0) for v in rest)) for x, *rest in line] for line in lines]
    places = [x for line in lines for x, *_ in line]
    ticks = [t for t in ticks if places and min(places) <= t <= max(places)]
    made = [Line("line", sorted(line), dot=2.0) for line in lines]
    root = drawn(made, logarithmic=logarithmic, ticks=ticks, shares=shares)
    x, y, wide, high = BOX
    for points in [*paths(root), *paths(root, "1")]:
        assert all(x - 0.01 <= a <= x + wide and y <= b <= y + high for a, b in points)
    placed = words(root)
    assert all(b[1] >= 0 and b[2] >= y - 1 and b[3] <= x + wide + 0.1 for b in placed)
    assert all(b[4] <= y + high for b in placed)
    assert not [pair for pair in itertools.combinations(placed, 2) if meet(*pair)]
