"""How a receptive field grows over the layers, against the input's size, as an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from convarium.errors import OptionError
from convarium.measure.field import Field, ReceptiveField
from convarium.measure.verdict import axes_of
from convarium.report import wording
from convarium.report.parts import name_parts
from convarium.report.svg import Axis, Drawing

_WIDTH, _HEIGHT = 820.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 24.0, 98.0, 66.0
_SIZE, _SMALL = 12.0, 11.0
_LOGARITHMIC_FROM = 30.0
_COLOURS = ("accent", "miss", "ink")
_AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
LEGEND = "Line: the widest field so far. Dashed: the input."
DOTS = " Dots: branches that see less."


class _Line(NamedTuple):
    """The field along one axis, or along several that do not differ."""

    sizes: tuple[int, ...]
    inputs: dict[str, int]
    colour: str


def draw_field_growth(field: ReceptiveField, title: str) -> str:
    """The field after each layer as an SVG: a line for each axis that differs, and the input.

    The axis of sizes is logarithmic where they differ by a factor of 30 or more. The part in which
    the field is as large as the input is tinted. Layers whose map has no places are left out.

    Args:
        field: as `measure.receptive_field` gives it.
        title: the network's name.

    Raises:
        OptionError: no layer has a field that is known.
    """
    rows = [row for row in field.rows if row.status in ("exact", "bound")]
    if not rows:
        why = f"field is known: {field.status}" if not field.size else "map has places"
        raise OptionError(f"{title} has no layer whose {why}; there is no growth to draw.")
    drawing = Drawing(_WIDTH, _HEIGHT, _told(field, title), least=0.6)
    drawing.rectangle((0, 0, _WIDTH, _HEIGHT), "card", corner=6)
    drawing.words(20, 28, wording.shorten(f"{title}: how the field grows", 80), size=16, weight=600)
    drawing.words(20, 48, wording.shorten(_summary(field, rows), 116), "soft", size=_SMALL)
    lines = _lines(field, rows)
    across = Axis(0, len(rows), _LEFT, _WIDTH - _RIGHT)
    up = _sizes(lines)
    _covered(drawing, field, rows, across)
    _grid(drawing, up)
    name_parts(drawing, [row.layer for row in rows], across, _HEIGHT - _BOTTOM)
    _key(drawing, lines)
    _inputs(drawing, lines, up)
    beneath = range(len(lines) - 1, -1, -1)  # what lies beneath others is thicker, to be seen
    branches = [
        _line(drawing, line, (across, up), 2 + 2 * k)
        for line, k in zip(lines, beneath, strict=True)
    ]
    legend = LEGEND + DOTS if any(branches) else LEGEND
    drawing.words(20, _HEIGHT - 14, legend, "soft", size=_SMALL)
    return drawing.text()


def _lines(field: ReceptiveField, rows: Sequence[Field]) -> list[_Line]:
    """Axes along which the field grows alike share a line."""
    inputs = axes_of(field.input_shape)
    names = _AXES.get(len(inputs), [f"axis {k + 1}" for k in range(len(inputs))])
    found: dict[tuple[int, ...], dict[str, int]] = {}
    for axis, name in enumerate(names):
        sizes = tuple(row.size[axis] for row in rows)
        found.setdefault(sizes, {})[name] = inputs[axis]
    alike = zip(found.items(), _COLOURS, strict=False)
    return [_Line(sizes, inputs, colour) for (sizes, inputs), colour in alike]


def _sizes(lines: Sequence[_Line]) -> Axis:
    """The axis of sizes, with some room above."""
    values = [n for line in lines for n in (*line.sizes, *line.inputs.values())]
    low, high, top, bottom = max(min(values), 1), max(values), _TOP, _HEIGHT - _BOTTOM
    if high >= _LOGARITHMIC_FROM * low:
        return Axis(low / 1.1, high * 1.35, bottom, top, logarithmic=True)
    return Axis(0, high * 1.12, bottom, top)


def _inputs(drawing: Drawing, lines: Sequence[_Line], up: Axis) -> None:
    """The input's sizes, each once for a line, with their axes where these differ."""
    several = len({n for line in lines for n in line.inputs.values()}) > 1
    taken: list[float] = []
    for line in lines:
        for n in dict.fromkeys(line.inputs.values()):
            y = up(n)
            drawing.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], line.colour, dashes="6 4")
            axes = " and ".join(name for name, m in line.inputs.items() if m == n)
            words = f"input {wording.count(n)}" + (f" ({axes})" if several else "")
            if all(abs(y - other) > 13 for other in taken):
                drawing.words(_LEFT + 6, y - 5, words, line.colour, size=_SMALL)
                taken.append(y)


def _line(drawing: Drawing, line: _Line, axes: tuple[Axis, Axis], thick: float) -> bool:
    """The widest field so far, and dots for what sees less; whether there are dots."""
    across, up = axes
    points: list[tuple[float, float]] = []
    widest, branches = 0, False
    for k, size in enumerate(line.sizes):
        if size < widest:
            drawing.dot(across(k + 0.5), up(max(size, up.low)), line.colour, 1.6)
            branches = True
        elif size > widest:
            points += [(across(k), points[-1][1])] if points else []
            points.append((across(k), up(size)))
        widest = max(widest, size)
    points.append((_WIDTH - _RIGHT, up(widest)))
    drawing.line(points, line.colour, thick=thick)
    drawing.dot(*points[-1], line.colour)
    return branches


def _covered(drawing: Drawing, field: ReceptiveField, rows: Sequence[Field], across: Axis) -> None:
    """A tint from the layer on whose field is as large as the input, and its name."""
    first = field.covered_by
    if first is None:
        return
    x = across(next(k for k, row in enumerate(rows) if row is first))
    top, right = _TOP - 30, _WIDTH - _RIGHT
    drawing.rectangle((x, top, right - x, _HEIGHT - _BOTTOM - top), "band", strength=0.35)
    drawing.line([(x, top), (x, _HEIGHT - _BOTTOM)], "soft", dashes="2 3")
    words = f"as large as the input from {wording.shorten(first.layer or 'here', 34)} on"
    wide = wording.width(words, _SMALL)
    if x + 6 + wide <= right:
        drawing.words(x + 6, top + 11, words, size=_SMALL)
    else:
        drawing.words(min(x - 6, right), top + 11, words, size=_SMALL, anchor="end")


def _grid(drawing: Drawing, up: Axis) -> None:
    for value in up.ticks(6):
        if value != round(value):
            continue
        drawing.line([(_LEFT, up(value)), (_WIDTH - _RIGHT, up(value))], "line")
        text = wording.count(round(value))
        drawing.words(_LEFT - 8, up(value) + 4, text, "soft", size=_SMALL, anchor="end")
    drawing.words(_WIDTH - _RIGHT, _HEIGHT - 14, "layers in the order of execution", "soft",
                  size=_SMALL, anchor="end")  # fmt: skip


def _key(drawing: Drawing, lines: Sequence[_Line]) -> None:
    """Which line is which axis, where there are several."""
    x = 20.0
    for line in lines if len(lines) > 1 else ():
        name = " and ".join(line.inputs)
        drawing.line([(x, 62), (x + 18, 62)], line.colour, thick=2)
        drawing.words(x + 24, 66, name, "soft", size=_SIZE)
        x += 24 + wording.width(name, _SIZE) + 18


def _summary(field: ReceptiveField, rows: Sequence[Field]) -> str:
    """Size and stride at the end, and what they are to be compared with."""
    last: Field = field if field.size else rows[-1]
    size, stride, n = (" x ".join(map(str, x)) for x in (last.size, last.stride, field.input_shape))
    words = f"{size} inputs at {last.layer or 'the output'}, stride {stride}; input {n}"
    return words if field.size else f"{words}; after that {field.status}"


def _told(field: ReceptiveField, title: str) -> str:
    return f"{title}: the receptive field over the layers. {field.sentence()}"
