"""SVG drawings as PNG: the right pixels in the right colours."""

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image, ImageColor

from convarium import report
from convarium.errors import OptionError
from convarium.report import palette, pictures
from convarium.report.svg import Drawing


def pixels(svg: str, **options) -> np.ndarray:
    with Image.open(io.BytesIO(report.svg_as_png(svg, **options))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def close(pixel: np.ndarray, colour: str) -> bool:
    return bool(np.abs(pixel - np.array(ImageColor.getrgb(colour))).max() <= 2)


def test_rectangles_dots_outlines_and_lines_have_their_places_and_colours():
    drawing = Drawing(100, 60, "test")
    drawing.rectangle((10, 20, 30, 10), "hit")
    drawing.dot(70, 20, "miss", radius=8)
    drawing.area([(50, 40), (90, 40), (90, 55), (50, 55)], "band")
    drawing.line([(0, 5), (100, 5)], "ink", thick=4)
    drawing.rectangle((10, 40, 30, 10), "hit", strength=0.5)
    for theme, dark in ((palette.LIGHT, False), (palette.DARK, True)):
        image = pixels(drawing.text(), scale=2, dark=dark)
        assert image.shape == (120, 200, 3)
        assert close(image[50, 50], theme["hit"])
        assert close(image[38, 50], theme["card"])  # just above the rectangle
        assert close(image[40, 140], theme["miss"])
        assert close(image[90, 140], theme["band"])
        assert close(image[10, 100], theme["ink"])
        assert close(image[90, 50], palette.tinted(theme, "hit", 0.5))


def test_drawings_in_drawings_keep_their_places():
    inner, middle, outer = Drawing(20, 20, "a"), Drawing(50, 40, "b"), Drawing(100, 60, "c")
    inner.rectangle((0, 0, 10, 10), "hit")
    inner.line([(0, 15), (10, 15)], "ink", thick=4)
    inner.picture((10, 0, 10, 10), pictures.address(np.full((1, 1, 3), 7, np.uint8)))
    middle.place(inner, 20, 10)
    outer.place(middle, 30, 20)
    image = pixels(outer.text(), scale=1)
    card, hit, ink = (palette.LIGHT[name] for name in ("card", "hit", "ink"))
    assert close(image[35, 55], hit)
    assert close(image[45, 55], ink)
    assert close(image[35, 65], "#070707")
    assert close(image[5, 5], card)
    assert close(image[15, 5], card)


def test_lines_are_as_strong_as_they_say():
    drawing = Drawing(100, 20, "test")
    drawing.line([(0, 10), (100, 10)], "miss", thick=8, strength=0.25)
    image = pixels(drawing.text(), scale=1)
    assert close(image[10, 50], palette.tinted(palette.LIGHT, "miss", 0.25))


def test_areas_are_as_strong_as_they_say():
    drawing = Drawing(100, 60, "test")
    drawing.area([(10, 10), (90, 10), (90, 50), (10, 50)], "hit", strength=0.25)
    image = pixels(drawing.text(), scale=1)
    assert close(image[30, 50], palette.tinted(palette.LIGHT, "hit", 0.25))


def test_dashes_leave_gaps_of_their_length():
    drawing = Drawing(100, 20, "test")
    drawing.line([(0, 10), (100, 10)], "ink", thick=4, dashes="20 20")
    image = pixels(drawing.text(), scale=1)
    # The caps are half as long as the line is thick: dashes from 0 to 22, 38 to 62, 78 to 100.
    assert [close(image[10, x], palette.LIGHT["ink"]) for x in (10, 50, 90)] == [True] * 3
    assert [close(image[10, x], palette.LIGHT["card"]) for x in (30, 70)] == [True] * 2


def test_pictures_are_painted_in_their_order_with_whole_pixels():
    colours = np.zeros((2, 3, 4), np.uint8)
    colours[0, :, 0], colours[1, :, 1] = 200, 100
    colours[..., 3] = 255
    colours[1, 2, 3] = 0
    drawing = Drawing(100, 60, "test")
    drawing.rectangle((0, 0, 100, 60), "hit")
    drawing.picture((10, 20, 60, 30), pictures.address(colours))
    drawing.rectangle((10, 20, 20, 15), "miss")
    image = pixels(drawing.text(), scale=1)
    assert image.shape == (60, 100, 3)
    assert close(image[27, 20], palette.LIGHT["miss"])  # on top of the picture
    assert image[27, 40].tolist() == image[33, 68].tolist() == [200, 0, 0]
    assert image[43, 20].tolist() == image[37, 48].tolist() == [0, 100, 0]
    assert close(image[43, 60], palette.LIGHT["hit"])  # through the clear one
    assert close(image[43, 75], palette.LIGHT["hit"])


def test_later_elements_cover_earlier_ones_and_words_are_written():
    drawing = Drawing(100, 40, "test")
    drawing.line([(0, 20), (100, 20)], "ink", thick=6)
    drawing.rectangle((0, 0, 50, 40), "card")
    drawing.words(60, 34, "words $x_1$", size=10)
    image = pixels(drawing.text(), scale=1)
    assert close(image[20, 25], palette.LIGHT["card"])
    assert close(image[20, 75], palette.LIGHT["ink"])
    assert image[26:36, 60:].min() < 120  # dark letters on the light card


@pytest.mark.parametrize(
    ("svg", "options", "words"),
    [
        ("no svg", {}, "must be an SVG"),
        ("<svg/>", {}, "must be an SVG"),
        ("<svg width='x' height='1'/>", {}, "must be an SVG"),
        (Drawing(1, 1, "").text(), {"scale": 0}, "scale"),
        (Drawing(1, 1, "").text(), {"scale": float("nan")}, "scale"),
    ],
)
def test_what_cannot_be_painted_is_refused(svg, options, words):
    with pytest.raises(OptionError, match=words):
        report.svg_as_png(svg, **options)


def test_lines_that_follow_each_other_are_painted_at_once_in_their_order(monkeypatch):
    drawing = Drawing(100, 40, "test")
    drawing.line([(0, 20), (100, 20)], "hit", thick=8)
    drawing.line([(20, 0), (20, 40)], "miss", thick=8)
    drawing.line([(0, 20), (30, 20)], "ink", thick=4)
    drawing.rectangle((60, 0, 10, 40), "card")
    drawing.line([(80, 0), (80, 40)], "miss", thick=8)
    monkeypatch.setattr(Axes, "plot", None)  # one call a line takes seconds where there are many
    image, theme = pixels(drawing.text(), scale=1), palette.LIGHT
    found = [image[y, x] for x, y in ((50, 20), (20, 30), (20, 20), (65, 20), (80, 20))]
    expected = ("hit", "miss", "ink", "card", "miss")
    assert all(close(a, theme[b]) for a, b in zip(found, expected, strict=True))
