"""Heat along series and texts."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from convarium import report
from convarium.errors import OptionError, ShapeError

SVG = "{http://www.w3.org/2000/svg}"


def lines(svg: str, colour: str) -> list[list[float]]:
    """The x of each line of a colour."""
    found = ElementTree.fromstring(svg).iter(f"{SVG}polyline")
    return [
        [float(pair.split(",")[0]) for pair in line.attrib["points"].split()]
        for line in found
        if line.attrib["stroke"] == f"var(--{colour})"
    ]


def series(length: int, hot: slice, channels: int = 1) -> report.HeatedSeries:
    heat = np.zeros(length, np.float32)
    heat[hot] = 1
    values = np.sin(np.arange(length, dtype=np.float32) / 9)[None].repeat(channels, 0)
    return report.HeatedSeries(values, heat, "up", "a note", tuple("abc"[:channels]))


@pytest.mark.parametrize("length", [50, 5000])
def test_the_curve_is_coloured_where_the_heat_is(length: int) -> None:
    svg = report.draw_series(series(length, slice(length // 2, length * 3 // 4)))
    (whole,) = lines(svg, "soft")
    (hot,) = lines(svg, "miss")
    start, width = min(whole), max(whole) - min(whole)
    assert (min(hot) - start) / width == pytest.approx(0.5, abs=0.03)
    assert (max(hot) - start) / width == pytest.approx(0.75, abs=0.03)
    assert len(whole) < 1500


def test_every_channel_has_its_curve_and_gaps_stay_gaps() -> None:
    shown = series(40, slice(0, 0), channels=3)
    svg = report.draw_series(shown)
    assert len(lines(svg, "soft")) == 3
    assert lines(svg, "miss") == []
    values = shown.values.copy()
    values[1, 20] = np.nan
    broken = report.draw_series(report.HeatedSeries(values, shown.heat, "up"))
    assert len(lines(broken, "soft")) == 4
    constant = report.HeatedSeries(np.full((1, 1), np.inf, np.float32), np.ones(1, "f4"), "one")
    assert lines(report.draw_series(constant), "soft") == []


def test_a_page_of_texts_has_each_token_on_its_own_colour(tmp_path: Path) -> None:
    tokens = ["not", " a", " <b>good</b>", "\n film", "日本"]
    heat = np.array([1, 0, -0.5, 0.25, 0], np.float32)
    texts = [report.HeatedTokens(tokens, heat, "negative", "a note"), series(30, slice(3, 9))]
    page = report.sequence_page(tmp_path / "texts.html", texts, "title").read_text("utf-8")
    spans = re.findall(r'<span style="background:rgb\(([\d .]+) / ([\d.]+)\)" [^>]*>([^<]*)<', page)
    assert [text for _, _, text in spans] == [
        "not", " a", " &lt;b&gt;good&lt;/b&gt;", "  film", "日本",
    ]  # fmt: skip
    strengths = [float(strength) for _, strength, _ in spans]
    np.testing.assert_allclose(strengths, 0.6 * np.abs(heat), atol=1e-3)
    assert len({colour for colour, _, _ in spans}) == 2
    assert "<script" not in page
    assert page.count("<svg") == 1


def test_what_does_not_fit_is_an_error(tmp_path: Path) -> None:
    one = np.ones(3, np.float32)
    with pytest.raises(ShapeError, match=r"\(C, T\)"):
        report.HeatedSeries(np.zeros((1, 4), np.float32), one, "up")
    with pytest.raises(ShapeError, match="2 names for 1"):
        report.HeatedSeries(np.zeros((1, 3), np.float32), one, "up", channels="ab")
    with pytest.raises(ShapeError, match="2 tokens"):
        report.HeatedTokens(["a", "b"], one, "up")
    with pytest.raises(OptionError, match=r"\[0, 1\]"):
        report.HeatedSeries(np.zeros((1, 3), np.float32), -one, "up")
    with pytest.raises(OptionError, match=r"\[-1, 1\]"):
        report.HeatedTokens(["a", "b", "c"], np.nan * one, "up")
    with pytest.raises(OptionError, match="at least one series"):
        report.sequence_page(tmp_path / "none.html", [], "title")


def test_a_step_between_holes_is_a_dot_and_steps_are_whole() -> None:
    values = np.full((1, 5), np.nan, np.float32)
    values[0, 2] = 1
    svg = report.draw_series(report.HeatedSeries(values, np.zeros(5, "f4"), "up"))
    assert svg.count("<circle") == 1
    one = report.draw_series(report.HeatedSeries(values[:, 2:3], np.ones(1, "f4"), "up"))
    assert one.count("<circle") == 1
    assert ">0.5<" not in one.split("<image")[1]
