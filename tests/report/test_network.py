"""The drawing of a network: proportions, words that do not meet, and plain text for terminals."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from drawn_words import meet, words
from hypothesis import given
from hypothesis import strategies as st

from convarium import report
from convarium.errors import ShapeError
from convarium.models import catalogue
from convarium.models.structure import Part

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("stem", "stage1", "layer4", "downsampling", "final", "neck")


def chain(stages: int, channels: int = 64, side: int = 224) -> list[Part]:
    """Input, stem, `stages` stages that each halve the map and double the channels, head."""
    parts = [Part("input", (3, side, side), 0, False), Part("stem", (64, side, side), 9408, False)]
    for i in range(stages):
        size = max(side >> (i + 1), 1)
        parts.append(Part(f"stage{i + 1}", (channels << i, size, size), 10 ** (i + 2), True))
    return [*parts, Part("head", (1000,), 2_049_000, False)]


def blocks(svg: str) -> list[ElementTree.Element]:
    """The coloured block of each part: the rectangles that name one."""
    found = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    tips = ((rect, rect.find(f"{SVG}title")) for rect in found)
    return [rect for rect, tip in tips if tip is not None and "%" not in (tip.text or "")]


part = st.builds(
    Part,
    st.sampled_from(NAMES),
    st.lists(st.integers(1, 100_000), min_size=1, max_size=4).map(tuple),
    st.integers(0, 10**10),
    st.booleans(),
)


@given(st.lists(part, min_size=1, max_size=12))
def test_no_words_meet_and_all_lie_inside(parts):
    svg = report.draw_network(parts, "a_network_with_a_long_name")
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    placed = [place for _, *place in words(svg)]
    assert not [pair for pair in combinations(placed, 2) if meet(*pair)]
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height for b in placed)
    drawn = [
        [float(rect.attrib[key]) for key in ("x", "y", "width", "height")] for rect in blocks(svg)
    ]
    areas = [(x, y, x + wide, y + high) for x, y, wide, high in drawn]
    assert len(areas) == len(parts)
    assert not [pair for pair in combinations(areas, 2) if meet(*pair)]
    assert not [(a, b) for a in areas for b in placed if meet(a, b)]


@pytest.mark.parametrize("stages", range(2, 9))
def test_height_and_width_are_logarithmic_in_size_and_channels(stages):
    drawn = blocks(report.draw_network(chain(stages), "net"))
    heights = [float(rect.attrib["height"]) for rect in drawn][2 : 2 + min(stages, 6)]
    widths = [float(rect.attrib["width"]) for rect in drawn][2 : 2 + stages]
    steps = [a - b for a, b in pairwise(heights)]
    # Halving takes the same height each time, but for sizes that are cut to whole numbers.
    assert all(step == pytest.approx(steps[0], rel=0.25) for step in steps)
    growth = [b - a for a, b in pairwise(widths)]
    assert all(step == pytest.approx(growth[0], abs=0.02) for step in growth)
    assert growth[0] > 0


def test_the_bars_are_shares_of_the_parameters():
    svg = report.draw_network(chain(3), "net")
    tips = [
        e.text for e in ElementTree.fromstring(svg).iter(f"{SVG}title") if "%" in (e.text or "")
    ]
    counts = [9408, 100, 1000, 10_000, 2_049_000]
    shares = [float(tip.split("\N{NO-BREAK SPACE}")[0]) for tip in tips]
    assert shares == pytest.approx([100 * n / sum(counts) for n in counts], abs=0.1)


def test_hostile_names_stay_words():
    svg = report.draw_network([Part("<script>", (3, 8), 1, True)], "</svg><script>")
    tags = {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert f"{SVG}script" not in tags


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "no-such-encoding"])
def test_lines_keep_to_the_width_and_the_encoding(width, encoding):
    parts = [Part.from_row(row) for row in catalogue.find("resnet50")["parts"]]
    lines = report.network_lines(parts, width=width, encoding=encoding)
    assert len(lines) == len(parts)
    if width >= 40:  # names, shapes and counts alone take 33
        assert max(len(line) for line in lines) <= width
    assert "".join(lines).isascii() == (encoding != "utf-8" or width < 40)
    for line, each in zip(lines, parts, strict=True):
        assert line.startswith(each.name)
        assert "x".join(map(str, each.shape)) in line


def test_bars_are_logarithmic_and_centred():
    parts = [Part("a", (1, 256), 0, False), Part("b", (4, 16), 5, True), Part("c", (16,), 5, False)]
    lines = report.network_lines(parts, width=60, encoding="ascii")
    bars = [line[9:].rstrip("5 ") for line in lines]
    lengths = [len(bar.strip()) for bar in bars]
    assert lengths[1] / lengths[0] == pytest.approx(math.log(16) / math.log(256), abs=0.05)
    assert lengths[2] <= 3
    middles = [len(bar) - len(bar.strip()) / 2 for bar in bars]
    assert middles == pytest.approx([middles[0]] * 3)
    assert [bar.strip()[0] for bar in bars] == [".", "+", "#"]  # 1, 4 and 16 channels


@pytest.mark.parametrize("parts", [[], [Part("a", (), 0, True)], [Part("a", (3, 0), 0, True)]])
def test_nothing_to_draw_is_refused(parts):
    with pytest.raises(ShapeError, match="at least one part"):
        report.draw_network(parts, "net")
    with pytest.raises(ShapeError, match="at least one part"):
        report.network_lines(parts)
