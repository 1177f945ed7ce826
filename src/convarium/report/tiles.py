"""Many small pictures on one sheet and on one page, each with its words below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.errors import OptionError
from convarium.explain.painting import fitting, font_of
from convarium.report.pictures import Picture, colour, png
from convarium.report.sequences import HeatedSeries, HeatedTokens, shown
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SHEET_LIMIT = 256
_SIDE, _GAP, _LINE = 120, 14, 15
_MOST_COLUMNS = 12
_INK, _SOFT = (27, 34, 43), (90, 101, 114)


def tile_sheet(path: str | Path, pictures: Sequence[Picture], title: str) -> Path:
    """Write pictures beside each other as one PNG, 256 at most; `view_page` shows all.

    Args:
        path: the PNG file, written atomically.
        pictures: at least one; heat is not drawn.
        title: the heading.

    Raises:
        OptionError: there is no picture.
        RunError: the file cannot be written.
    """
    if not pictures:
        raise OptionError("pictures (=[]) must hold at least one picture.")
    shown = pictures[:SHEET_LIMIT]
    more = f" (the first {len(shown)} of {len(pictures)})" if len(shown) < len(pictures) else ""
    files.write_bytes(path, png(_sheet(shown, title + more)))
    return Path(path)


def view_page(
    path: str | Path,
    pictures: Sequence[Picture | HeatedSeries | HeatedTokens],
    title: str,
    lead: str,
) -> Path:
    """Write pictures with their words as one HTML file that needs nothing else, atomically.

    Args:
        path: the HTML file.
        pictures: at least one picture, series or text.
        title: heading of the page.
        lead: what is to be seen.

    Raises:
        OptionError: there is no picture.
        RunError: the file cannot be written.
    """
    if not pictures:
        raise OptionError("pictures (=[]) must hold at least one picture.")
    return write_filled(
        path,
        "views.html.jinja",
        title=title,
        lead=lead,
        pictures=[shown(one) for one in pictures],
        sequences=not isinstance(pictures[0], Picture),
    )


def _sheet(pictures: Sequence[Picture], title: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    columns = min(_MOST_COLUMNS, max(3, math.ceil(math.sqrt(1.4 * len(pictures)))), len(pictures))
    columns = max(columns, min(3, len(pictures)))
    lines = 2 if any(picture.note for picture in pictures) else 1
    cell = _SIDE + lines * _LINE + _GAP + 6
    width = max(3, columns) * (_SIDE + _GAP) + _GAP
    top = _GAP + 30
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (width, top + rows * cell), "white")
    pen = ImageDraw.Draw(sheet)
    heading = font_of(17)
    pen.text((_GAP, _GAP), fitting(title, heading, width - 2 * _GAP), fill=_INK, font=heading)
    for k, picture in enumerate(pictures):
        row, column = divmod(k, columns)
        left, high = _GAP + column * (_SIDE + _GAP), top + row * cell
        sheet.paste(_tile(picture.image), (left, high))
        words = ((picture.title, _INK, 12), (picture.note, _SOFT, 11))
        for line, (text, shade, size) in enumerate(words[:lines]):
            font = font_of(size)
            place = (left, high + _SIDE + 5 + line * _LINE)
            pen.text(place, fitting(text, font, _SIDE), fill=shade, font=font)
    return np.asarray(sheet)


def _tile(image: NDArray[np.uint8]) -> PillowImage:
    """The picture within the side of a tile: small ones with whole pixels repeated."""
    from PIL import Image

    height, width = image.shape[:2]
    factor = _SIDE / max(height, width)
    kind = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BILINEAR
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return Image.fromarray(colour(image)).resize(size, kind)
