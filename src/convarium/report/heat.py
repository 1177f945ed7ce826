"""Heatmaps over pictures as PNG files, with their colour scale and the class they speak for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convarium import files
from convarium.errors import OptionError
from convarium.report import wording
from convarium.report.pictures import (
    SMALLEST_SIDE,
    Picture,
    blend,
    colour,
    heat_colours,
    png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHEET_LIMIT = 120
_DPI = 160
_COLUMNS = 3
# Inches: width of a cell, side of a picture, edges, lines of text, room for the scale.
_CELL, _SIDE, _EDGE, _LINE, _FOOT = 3.2, 1.42, 0.12, 0.2, 0.55
_FONT = "DejaVu Sans"
_INK, _SOFT = "#1b222b", "#5a6572"
SCALE_TEXT = "relative to the strongest in the picture"
SHARED_TEXT = "relative to the strongest in all pictures"


def heatmap_sheet(path: str | Path, pictures: Sequence[Picture], *, shared: bool = False) -> Path:
    """Write pictures and their heatmaps as one PNG, three to a row, with one colour scale.

    A sheet holds 120 pictures at most and says so where there are more; `heatmap_page` shows all.

    Args:
        path: the PNG file, written atomically.
        pictures: at least one; one without heat is shown alone.
        shared: whether they all have one scale.

    Raises:
        OptionError: there is no picture.
        RunError: the file cannot be written.
    """
    if not pictures:
        raise OptionError("pictures (=[]) must hold at least one picture.")
    shown = pictures[:SHEET_LIMIT]
    left_out = len(pictures) - len(shown)
    more = f"the first {len(shown)} of {len(pictures)} pictures" if left_out else ""
    text = SHARED_TEXT if shared else SCALE_TEXT
    files.write_bytes(path, _sheet(shown, min(_COLUMNS, len(shown)), more, text))
    return Path(path)


def _sheet(shown: Sequence[Picture], columns: int, more: str, text: str) -> bytes:
    """The PNG of a grid of pictures. Nothing global is touched: no pyplot, no settings."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = -(-len(shown) // columns)
    lines = 2 if any(picture.note for picture in shown) else 1
    cell = 2 * _EDGE + lines * _LINE + _SIDE
    height = rows * cell + _FOOT
    figure = Figure(figsize=(columns * _CELL, height), dpi=_DPI, facecolor="white")
    figure.set_layout_engine("none")
    canvas: Any = FigureCanvasAgg(figure)
    for position, picture in enumerate(shown):
        row, column = divmod(position, columns)
        _draw_cell(figure, picture, column * _CELL + _EDGE, height - row * cell - _EDGE, lines)
    _draw_scale(figure, more, text)
    canvas.draw()
    return png(np.asarray(canvas.buffer_rgba())[..., :3])


def _draw_cell(figure: Figure, picture: Picture, left: float, top: float, lines: int) -> None:
    """Title, note, the picture and its map below each other, from the corner (left, top)."""
    title, note = wording.shorten(picture.title, 38), wording.shorten(picture.note, 52)
    _write(figure, left, top - _LINE / 2, title, 9, _INK, "bold")
    if note:
        _write(figure, left, top - 1.5 * _LINE, note, 7, _SOFT)
    shown = [colour(picture.image)]
    if picture.heat is not None:
        shown.append(blend(picture.image, picture.heat))
    bottom = top - lines * _LINE - 0.03 - _SIDE
    for position, pixels in enumerate(shown):
        axes = _axes(figure, (left + position * (_SIDE + _EDGE), bottom, _SIDE, _SIDE))
        small = max(pixels.shape[:2]) < SMALLEST_SIDE
        interpolation = "nearest" if small else "antialiased"
        axes.imshow(pixels, interpolation=interpolation, origin="upper", aspect="equal")
        axes.set_anchor("NW")


def _draw_scale(figure: Figure, more: str, text: str) -> None:
    left, bottom, width = _EDGE, 0.34, _SIDE
    axes = _axes(figure, (left, bottom, width, 0.09))
    colours = heat_colours(np.linspace(0, 1, 256, dtype=np.float32)[None])
    axes.imshow(colours, aspect="auto", interpolation="nearest", origin="upper")
    _write(figure, left, bottom - 0.1, "0", 7, _SOFT)
    _write(figure, left + width, bottom - 0.1, "1", 7, _SOFT, align="right")
    _write(figure, left, bottom - 0.23, text, 6, _SOFT)
    if more:
        _write(figure, figure.get_figwidth() - left, bottom, more, 7, _SOFT, align="right")


def _axes(figure: Figure, box: tuple[float, float, float, float]) -> Axes:
    """Bare axes in a box given in inches (left, bottom, width, height)."""
    width, height = figure.get_size_inches()
    left, bottom, wide, high = box
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    axes.set_axis_off()
    return axes


def _write(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    size: float,
    shade: str,
    weight: str = "normal",
    align: str = "left",
) -> None:
    """A line of text at inches (x, y); dollar signs are dollar signs."""
    width, height = figure.get_size_inches()
    options: dict[str, Any] = {"parse_math": False, "usetex": False, "wrap": False}
    figure.text(
        x / width,
        y / height,
        _drawable(text, weight),
        family=_FONT,
        fontsize=size,
        fontweight=weight,
        color=shade,
        horizontalalignment=align,
        verticalalignment="center",
        **options,
    )


def _drawable(text: str, weight: str) -> str:
    """The text with a replacement mark for each letter that the font does not have."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family=_FONT, weight=weight)))
    return "".join(
        letter if font.get_char_index(ord(letter)) else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )
