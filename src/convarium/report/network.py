"""A network by its parts: as an SVG drawing, and as lines of plain text for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convarium.errors import ShapeError
from convarium.models.structure import Part
from convarium.report import wording
from convarium.report.svg import Drawing

_MARGIN, _GAP, _TOP, _ROOM = 20.0, 16.0, 74.0, 150.0
_FLAT, _THIN, _WIDE = 10.0, 6.0, 54.0
_NAME, _SMALL = 12.5, 11.0
_SHADES, _PLAIN_SHADES = "░▒▓█", ".:+#"
LEGEND = "Height: positions; width: channels (logarithmic). Bar: share of the parameters."


def draw_network(parts: Sequence[Part], title: str) -> str:
    """A network as an SVG: one block a part, from the input on the left to the head on the right.

    A block's height stands for positions along an axis and its width for channels, both
    logarithmic; under it are its name, its shape, its parameters, and their share as a bar.

    Args:
        parts: the input first, as `models.structure.measure` gives them.
        title: the network's name.

    Raises:
        ShapeError: there is no part.

    >>> draw_network([Part("input", (3, 32, 32), 0, False)], "mine")[:4]
    '<svg'
    """
    _check(parts)
    total = sum(part.parameters for part in parts)
    heading = f"{wording.count(total)} parameters; input {shape_words(parts[0].shape)}"
    columns = [_column_width(part) for part in parts]
    least = max(wording.width(heading, _SMALL), wording.width(LEGEND, _SMALL))
    across = sum(columns) + _GAP * (len(parts) - 1)
    width = 2 * _MARGIN + max(across, least, wording.width(title, 16))
    label = f"{title} in {len(parts)} parts: " + "; ".join(_sentence(part) for part in parts)
    drawing = Drawing(width, _TOP + _ROOM + 104, label, least=0.5)
    drawing.rectangle((0, 0, width, drawing.height), "card", corner=6)
    drawing.words(_MARGIN, 28, title, size=16, weight=600)
    drawing.words(_MARGIN, 47, heading, "soft", size=_SMALL)
    middle, left = _TOP + _ROOM / 2, (width - across) / 2
    right = left + across - columns[-1] / 2
    drawing.line([(left + columns[0] / 2, middle), (right, middle)], "line", thick=2)
    for part, column in zip(parts, columns, strict=True):
        _block(drawing, part, parts, left + column / 2)
        _labels(drawing, part, (left, _TOP + _ROOM + 22, column), total)
        left += column + _GAP
    drawing.words(_MARGIN, drawing.height - 12, LEGEND, "soft", size=_SMALL)
    return drawing.text()


def _block(drawing: Drawing, part: Part, parts: Sequence[Part], centre: float) -> None:
    """The block of one part around the drawing's middle line, with its channels above it."""
    high = _FLAT + (_ROOM - _FLAT) * _size_share(part, parts)
    wide = _block_width(part, parts)
    top = _TOP + (_ROOM - high) / 2
    box = (centre - wide / 2, top, wide, high)
    drawing.rectangle(box, "card", corner=2)
    strength = 0.9 if part.stage else 0.45
    drawing.rectangle(box, "hit", strength=strength, corner=2, tip=_sentence(part))


def _labels(drawing: Drawing, part: Part, place: tuple[float, float, float], total: int) -> None:
    """Name, shape and parameters under a block, and the share of the parameters as a bar."""
    left, y, column = place
    middle = left + column / 2
    drawing.words(middle, y, part.name, size=_NAME, anchor="middle", weight=600)
    drawing.words(middle, y + 17, shape_words(part.shape), size=_SMALL, anchor="middle")
    if not part.parameters:
        return
    written = wording.count(part.parameters)
    drawing.words(middle, y + 33, written, "soft", size=_SMALL, anchor="middle")
    share = part.parameters / total
    drawing.rectangle((left, y + 41, column, 5), "line", corner=2)
    tip = f"{wording.percent(share)} of the parameters"
    drawing.rectangle((left, y + 41, max(column * share, 1), 5), "accent", corner=2, tip=tip)


def network_lines(parts: Sequence[Part], *, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """A network as plain text, one line a part: a bar for its map, its shape and parameters.

    The bar's length stands for positions along an axis, its shade for channels, both logarithmic.

    Args:
        parts: the input first, as `models.structure.measure` gives them.
        width: columns that may be used; without room for bars there are none.
        encoding: of the stream; where it cannot write the shades, plain marks stand for them.

    Raises:
        ShapeError: there is no part.

    >>> parts = [Part("input", (1, 8), 0, False), Part("stage", (16, 4), 64, True)]
    >>> for line in network_lines(parts, width=36, encoding="ascii"):
    ...     print(line)
    input   1x8  ...................
    stage  16x4     #############     64
    """
    _check(parts)
    shades = _SHADES if _can_write(_SHADES, encoding) else _PLAIN_SHADES
    names = max(len(part.name) for part in parts)
    shapes = max(len(shape_words(part.shape)) for part in parts)
    counts = [wording.count(part.parameters) if part.parameters else "" for part in parts]
    numbers = max(len(written) for written in counts)
    room = min(width - names - shapes - numbers - 6, 48)
    lines = []
    for part, written in zip(parts, counts, strict=True):
        line = f"{part.name:<{names}}  {shape_words(part.shape):>{shapes}}  "
        if room >= 8:
            line += f"{_bar(part, parts, room, shades):^{room}}  "
        lines.append(f"{line}{written:>{numbers}}".rstrip())
    return lines


def shape_words(shape: Sequence[int]) -> str:
    """A shape as the command takes it: `shape_words((3, 224, 224))` is 3x224x224."""
    return "x".join(str(n) for n in shape)


def _bar(part: Part, parts: Sequence[Part], room: int, shades: str) -> str:
    """An even length where `room` is even, so that all bars have one middle."""
    length = 2 * round(room / 2 * _size_share(part, parts)) or 2
    shade = shades[round((len(shades) - 1) * _channel_share(part, parts))]
    return shade * min(length + room % 2, room)


def _size_share(part: Part, parts: Sequence[Part]) -> float:
    """Positions along an axis on a logarithmic scale from 0 (one) to 1 (the most)."""
    return _share(_positions(part), [_positions(other) for other in parts])


def _channel_share(part: Part, parts: Sequence[Part]) -> float:
    """Channels on a logarithmic scale from 0 (one) to 1 (the most)."""
    return _share(part.shape[0], [other.shape[0] for other in parts])


def _share(value: float, all_values: Sequence[float]) -> float:
    most = max(all_values)
    return math.log(value) / math.log(most) if most > 1 else 0.0


def _positions(part: Part) -> float:
    """The geometric mean over the axes; 1 for a vector."""
    axes = part.shape[1:]
    return math.prod(axes) ** (1 / len(axes)) if axes else 1.0


def _block_width(part: Part, parts: Sequence[Part]) -> float:
    return _THIN + (_WIDE - _THIN) * _channel_share(part, parts)


def _column_width(part: Part) -> float:
    """Room for the widest block and for the words under it."""
    words = (shape_words(part.shape), wording.count(part.parameters))
    texts = [wording.width(text, _SMALL) for text in words]
    return max(_WIDE, wording.width(part.name, _NAME), *texts)


def _sentence(part: Part) -> str:
    count = f", {wording.count(part.parameters)} parameters" if part.parameters else ""
    return f"{part.name} {shape_words(part.shape)}{count}"


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _check(parts: Sequence[Part]) -> None:
    if not parts or not all(part.shape and min(part.shape) > 0 for part in parts):
        raise ShapeError(f"parts (={list(parts)}) must hold at least one part, with a shape each.")
