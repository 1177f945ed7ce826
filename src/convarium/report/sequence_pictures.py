"""Heat along series and texts as PNG files: one a sample, and all of them on one sheet."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.explain.painting import add_scale, fitting, font_of, heat_colours
from convarium.report import palette
from convarium.report.explained_sequences import ExplainedSequences
from convarium.report.heat_files import file_name
from convarium.report.pictures import png
from convarium.report.raster import svg_as_png
from convarium.report.sequences import (
    WIDTH,
    HeatedSeries,
    HeatedTokens,
    draw_series,
    has_scale,
    token_tints,
)

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

TALLEST: Final = 12_000  # pixels of a sheet
_SCALE: Final = 2  # pixels of a picture to one of the page
_WIDTH: Final = round(_SCALE * WIDTH)
_LETTERS, _SMALL, _TOKENS = 26, 20, 28
_EDGE, _LINE, _GAP = 16, 46, 12


class SequencePictures(NamedTuple):
    """What was written.

    Args:
        overlays: one file a sequence, in their order.
        sheet: the file with all of them, or with as many as it holds.
    """

    overlays: tuple[Path, ...]
    sheet: Path


def write_sequence_pictures(folder: str | Path, explained: ExplainedSequences) -> SequencePictures:
    """Write each series or text with its heat as a PNG, and `heatmaps.png` with all of them.

    A sheet has two columns where there are several, and 12,000 pixels of height at most; it says so
    where that leaves some out.

    Args:
        folder: is made where it is missing.
        explained: at least one sequence.

    Raises:
        RunError: a file cannot be written.
    """
    from PIL import Image

    small: list[PillowImage] = []
    written: list[Path] = []
    pairs = zip(explained.sequences, explained.rows, strict=True)
    for number, (sequence, row) in enumerate(pairs, start=1):
        picture = sequence_picture(sequence)
        written.append(Path(folder) / file_name(number, row["name"], ".png"))
        files.write_bytes(written[-1], png(picture))
        small.append(Image.fromarray(picture).reduce(_SCALE))
    sheet = Path(folder) / "heatmaps.png"
    files.write_bytes(sheet, png(_sheet(small, min(2, len(small)))))
    return SequencePictures(tuple(written), sheet)


def sequence_sheet(
    path: str | Path,
    sequences: Sequence[HeatedSeries | HeatedTokens],
    title: str,
    *,
    columns: int = 2,
) -> Path:
    """Write series or texts below a title as one PNG, as many as 12,000 pixels of height hold.

    Args:
        path: the PNG file, written atomically.
        sequences: at least one.
        title: the heading.
        columns: how many stand beside each other at most.

    Raises:
        RunError: the file cannot be written.
    """
    from PIL import Image

    small = [Image.fromarray(sequence_picture(each)).reduce(_SCALE) for each in sequences]
    files.write_bytes(path, png(_sheet(small, min(columns, len(small)), title)))
    return Path(path)


def sequence_picture(sequence: HeatedSeries | HeatedTokens) -> NDArray[np.uint8]:
    """A series or a text with its heat, below its class and note, above the bar of colours.

    Without any heat there is no bar, nor where the heat has no scale.

    Shape:
        `(H, 1440, 3)`, uint8.

    >>> sequence_picture(HeatedTokens(["so ", "good"], np.array([0, 1.0]), "positive")).shape[1:]
    (1440, 3)
    """
    from PIL import Image, ImageDraw

    note = "; ".join(filter(None, (sequence.note, _unlike_the_page(sequence))))
    head = _LINE if not note else _LINE + _SMALL + _GAP
    body, colours = _body(sequence)
    foot = _LINE if has_scale(sequence) else 0
    sheet = Image.new("RGB", (_WIDTH, head + body.height + foot), "white")
    pen = ImageDraw.Draw(sheet)
    for text, size, top, shade in (
        (sequence.title, _LETTERS, _LINE / 2, "ink"),
        (note, _SMALL, _LINE + _SMALL / 2, "soft"),
    ):
        font = font_of(size)
        words = fitting(text, font, _WIDTH - 2 * _EDGE)
        pen.text((_EDGE, top), words, fill=palette.LIGHT[shade], font=font, anchor="lm")
    sheet.paste(body, (0, head))
    if foot:
        signed = bool(np.min(sequence.heat) < 0)
        add_scale(sheet, sheet.height - foot / 2, _LETTERS, colours, signed=signed)
    return np.asarray(sheet)


def _unlike_the_page(sequence: HeatedSeries | HeatedTokens) -> str:
    """What the picture cannot show of a text, of scripts that its letters do not have."""
    if isinstance(sequence, HeatedSeries):
        return ""
    letters = {letter for token in sequence.tokens for letter in token}
    if any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in letters):
        return "written from left to right here, see the page"
    wide = any(unicodedata.east_asian_width(letter) in ("W", "F") for letter in letters)
    return "some letters are boxes here, see the page" if wide else ""


def _body(sequence: HeatedSeries | HeatedTokens) -> tuple[PillowImage, Any]:
    """The sequence itself, and what colours its values."""
    from PIL import Image

    if isinstance(sequence, HeatedTokens):
        return _tokens(sequence), token_tints
    drawn = svg_as_png(draw_series(sequence), scale=_SCALE)
    with Image.open(io.BytesIO(drawn)) as picture:
        return picture.convert("RGB"), heat_colours


def _tokens(text: HeatedTokens) -> PillowImage:
    """The tokens in lines, each on its own colour."""
    from PIL import Image, ImageDraw

    font, room = font_of(_TOKENS), _WIDTH - 2 * _EDGE
    words = [fitting(token, font, room) for token in text.tokens]
    lines = _lines([font.getlength(word) for word in words], room)
    sheet = Image.new("RGB", (_WIDTH, (1 + lines[-1][0]) * _LINE + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    tints = np.rint(255 * token_tints(np.asarray(text.heat))).astype(int).tolist()
    for word, tint, (line, left) in zip(words, tints, lines, strict=True):
        top, right = line * _LINE, left + font.getlength(word)
        box = (_EDGE + left, top + 3, _EDGE + right - 1, top + _LINE - 4)
        pen.rectangle(box, fill=tuple(tint))
        middle = (_EDGE + left, top + _LINE / 2)
        pen.text(middle, word, fill=palette.LIGHT["ink"], font=font, anchor="lm")
    return sheet


def _lines(widths: Sequence[float], room: float) -> list[tuple[int, float]]:
    """The line of each word and where it begins in it."""
    places, line, left = [], 0, 0.0
    for width in widths:
        if left and left + width > room:
            line, left = line + 1, 0.0
        places.append((line, left))
        left += width
    return places


def _sheet(small: Sequence[PillowImage], columns: int, title: str = "") -> NDArray[np.uint8]:
    """Pictures of half their size in columns, as many rows as the sheet holds."""
    from PIL import Image, ImageDraw

    rows = [small[k : k + columns] for k in range(0, len(small), columns)]
    heights = [max(picture.height for picture in row) + _GAP for row in rows]
    head = _LINE if title else 0
    ends = (head + np.cumsum(heights)).tolist()
    held = max(1, sum(end <= TALLEST for end in ends))
    left_out = len(small) - held * columns
    width = round(WIDTH)
    foot = _LINE if left_out > 0 else 0
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, ends[held - 1] + foot), "white")
    for row, end, height in zip(rows[:held], ends, heights, strict=False):
        for column, picture in enumerate(row):
            sheet.paste(picture, (column * (width + _GAP), end - height))
    told = f"the first {held * columns} of {len(small)}" if foot else ""
    pen, room = ImageDraw.Draw(sheet), sheet.width - 2 * _EDGE
    for text, size, middle, shade in (
        (title, _LETTERS, _LINE / 2, "ink"),
        (told, _SMALL, sheet.height - foot / 2, "soft"),
    ):
        font = font_of(size)
        words = fitting(text, font, room)
        pen.text((_EDGE, middle), words, fill=palette.LIGHT[shade], font=font, anchor="lm")
    return np.asarray(sheet)
