"""The pen's drawings as PNG files, for whoever cannot show SVG; matplotlib paints them."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError
from convarium.report import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100.0
_POINTS = 72.0 / _DPI
_Point = tuple[float, float]
_ANCHORS = {"start": "left", "middle": "center", "end": "right"}


def svg_as_png(svg: str, *, scale: float = 2.0, dark: bool = False) -> bytes:
    """Paint an SVG of this room as a PNG: lines, outlines, rectangles, dots, pictures, level words.

    Args:
        svg: what `draw_network` gives, or another drawing of these.
        scale: pixels of the PNG to one of the drawing.
        dark: the colours for dark surroundings.

    Raises:
        OptionError: the text is not such an SVG, or `scale` is not above 0.

    >>> from convarium.report.svg import Drawing
    >>> svg_as_png(Drawing(40, 20, "nothing").text())[1:4]
    b'PNG'
    """
    if not scale > 0:
        raise OptionError(f"scale (={scale!r}) must be above 0.")
    try:
        root = ElementTree.fromstring(svg)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise OptionError(f"svg (={svg[:40]!r}...) must be an SVG of this room.") from error
    theme = palette.DARK if dark else palette.LIGHT
    figure = _empty(width, height, theme["card"])
    axes = figure.axes[0]
    for plain, some in itertools.groupby(_placed(root, (0.0, 0.0)), _is_plain_line):
        if plain:
            _paint_lines(axes, some, theme)
        else:
            for element, corner in some:
                _paint(axes, element, theme, corner)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI * scale, metadata={"Software": None})
    return file.getvalue()


def _empty(width: float, height: float, paper: str) -> Figure:
    """A sheet of this many pixels whose coordinates are the drawing's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=paper)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return figure


def _placed(
    root: ElementTree.Element, corner: _Point
) -> Iterator[tuple[ElementTree.Element, _Point]]:
    """Each element of a drawing and of those placed in it, with its own drawing's corner."""
    for element in root:
        if element.tag.rpartition("}")[2] == "svg":
            inner = (corner[0] + _at(element, "x"), corner[1] + _at(element, "y"))
            yield from _placed(element, inner)
        else:
            yield element, corner


def _is_plain_line(placed: tuple[ElementTree.Element, _Point]) -> bool:
    """Whether an element is a line without dashes."""
    element, _ = placed
    kind = element.tag.rpartition("}")[2]
    return kind == "polyline" and not element.attrib.get("stroke-dasharray")


def _paint_lines(
    axes: Axes,
    lines: Iterable[tuple[ElementTree.Element, _Point]],
    theme: Mapping[str, str],
) -> None:
    """Put lines that follow each other on the sheet, all at once, in their order."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    paths, thick, colours = [], [], []
    for element, corner in lines:
        paths.append(np.add(_points(element), corner))
        thick.append(_at(element, "stroke-width") * _POINTS)
        strength = float(element.attrib.get("stroke-opacity", "1"))
        stroke = _colour(element, "stroke", theme)
        colours.append(to_rgba(stroke, strength if stroke != "none" else 0))
    ends: dict[str, Any] = {"capstyle": "projecting", "joinstyle": "round"}
    drawn = LineCollection(paths, linewidths=thick, colors=colours, zorder=1, **ends)
    axes.add_collection(drawn, autolim=False)


def _paint(
    axes: Axes, element: ElementTree.Element, theme: Mapping[str, str], corner: _Point
) -> None:
    """Put one element on the sheet; what is none of the pen's, as a style, is passed over."""
    from matplotlib import patches
    from matplotlib.transforms import Affine2D

    kind = element.tag.rpartition("}")[2]
    fill = _colour(element, "fill", theme)
    place = (_at(element, "x"), _at(element, "y"))
    there: dict[str, Any] = {"transform": Affine2D().translate(*corner) + axes.transData}
    strength = float(element.attrib.get("fill-opacity", "1"))
    plain: dict[str, Any] = {"facecolor": fill, "linewidth": 0, "alpha": strength, **there}
    if kind == "polyline":
        x, y = zip(*_points(element), strict=True)
        thick = _at(element, "stroke-width") * _POINTS
        dashes = _dashes(element, thick)
        stroke = _colour(element, "stroke", theme)
        strength = float(element.attrib.get("stroke-opacity", "1"))
        look: dict[str, Any] = {"color": stroke, "linewidth": thick, "linestyle": dashes}
        axes.plot(x, y, alpha=strength, zorder=1, **look, **there)
    elif kind == "polygon":
        axes.add_patch(patches.Polygon(_points(element), **plain))
    elif kind == "circle":
        centre = (_at(element, "cx"), _at(element, "cy"))
        axes.add_patch(patches.Circle(centre, _at(element, "r"), **plain))
    elif kind == "rect":
        size = (_at(element, "width"), _at(element, "height"))
        axes.add_patch(patches.Rectangle(place, *size, **plain))
    elif kind == "image":
        (left, top), wide, high = place, _at(element, "width"), _at(element, "height")
        box = (left, left + wide, top + high, top)
        options: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "zorder": 1}
        options |= there
        axes.imshow(_pixels(element), extent=box, **options)
    elif kind == "text":
        _write(axes, element, fill, there)


def _write(axes: Axes, element: ElementTree.Element, colour: str, there: Mapping[str, Any]) -> None:
    """A line of text, its baseline at the element's place."""
    get = element.attrib.get
    weight = "bold" if int(get("font-weight", "400")) >= 600 else "normal"
    axes.text(
        _at(element, "x"),
        _at(element, "y"),
        element.text or "",
        color=colour,
        fontsize=0.92 * float(get("font-size", "12")) * _POINTS,  # DejaVu's letters are wide
        fontfamily="DejaVu Sans",
        fontweight=weight,
        horizontalalignment=_ANCHORS[get("text-anchor", "start")],
        verticalalignment="baseline",
        parse_math=False,
        **there,
    )


def _dashes(element: ElementTree.Element, thick: float) -> Any:
    """Dashes as matplotlib counts them, in widths of the line."""
    lengths = element.attrib.get("stroke-dasharray", "").split()
    return (0, [float(n) * _POINTS / thick for n in lengths]) if lengths else "solid"


def _pixels(element: ElementTree.Element) -> NDArray[np.uint8]:
    """The picture of a `data:` address."""
    from PIL import Image

    data = base64.b64decode(element.attrib["href"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGBA"))


def _points(element: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = (pair.split(",") for pair in element.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]


def _at(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib.get(name, "0"))


def _colour(element: ElementTree.Element, attribute: str, theme: Mapping[str, str]) -> str:
    """A colour of the palette by its `var(--name)`."""
    value = element.attrib.get(attribute, "none")
    return theme.get(value.removeprefix("var(--").removesuffix(")"), "none")
