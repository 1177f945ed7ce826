"""Lines with their spread on axes of their own: curves that are set side by side in one drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from convarium.report import wording
from convarium.report.svg import Axis, Drawing

_LEFT, _RIGHT, _TOP, _BOTTOM = 54.0, 12.0, 34.0, 40.0
_SMALL, _SIZE = 11.0, 12.0
_SAMPLE = 30.0  # pixels of a line in the key
_BAND = 0.16
_DOTS = 16  # of a line, at most

Box = tuple[float, float, float, float]  # x, y, width, height


class Line(NamedTuple):
    """A line and the spread around it.

    Attributes:
        name: what it shows, for the key.
        points: x, lowest, middle and highest value there; the line goes through the middles.
        colour: of the palette.
        dashes: as `Drawing.line` takes them.
        dot: radius of the dots at the points, or at some of many; 0 for none.
    """

    name: str
    points: Sequence[tuple[float, float, float, float]]
    colour: str = "accent"
    dashes: str = ""
    dot: float = 0.0


def draw_panel(
    drawing: Drawing,
    box: Box,
    lines: Sequence[Line],
    *,
    heading: str,
    across: str,
    ticks: Sequence[float] = (),
    logarithmic: tuple[bool, bool] = (False, False),
    shares: bool = False,
    held: Sequence[float] = (),
) -> None:
    """Lines over one another in a box of the drawing, with a heading, axes and round ticks.

    A straight axis of values begins at 0. On a logarithmic one points at 0 and below are left out;
    so are numbers that are not finite.

    Args:
        drawing: to draw into.
        box: left, top, width and height in pixels.
        lines: the later ones lie above the earlier ones; the bands lie under all lines.
        heading: what the values are.
        across: what the places are.
        ticks: places that get a number, where there is room; none takes round ones.
        logarithmic: whether the axes of places and of values are.
        shares: the values are shares, to be written in per cent.
        held: values that have a place too, so that panels beside each other get equal axes.
    """
    x, y, wide, _ = box
    drawing.words(x, y + 14, heading, size=13, weight=600)
    drawn = [line._replace(points=_kept(line.points, logarithmic)) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        drawing.words(x, y + 40, "Nothing was recorded.", "soft", size=_SIZE)
        return
    places, values = _axes(box, drawn, logarithmic, held)
    draw_grid(drawing, (x + _LEFT, x + wide - _RIGHT), values, shares)
    _places(drawing, box, places, ticks)
    middle = (x + _LEFT + x + wide - _RIGHT) / 2
    drawing.words(middle, y + box[3] - 4, across, "soft", size=_SMALL, anchor="middle")
    for line in drawn:
        _band(drawing, line, places, values)
    for line in drawn:
        points = [(places(p[0]), values(p[2])) for p in line.points]
        if len(points) > 1:
            drawing.line(points, line.colour, thick=2, dashes=line.dashes)
        for point in points[:: -(-len(points) // _DOTS)] if line.dot or len(points) == 1 else ():
            drawing.dot(*point, line.colour, line.dot or 3.0)


def draw_key(drawing: Drawing, x: float, y: float, line: Line) -> float:
    """A piece of the line and its name, the name's baseline at y; gives where the next may begin.

    Args:
        drawing: to draw into.
        x: left end, in pixels.
        y: baseline, in pixels.
        line: its points do not matter.
    """
    drawing.line([(x, y - 4), (x + _SAMPLE, y - 4)], line.colour, thick=2, dashes=line.dashes)
    for k in range(3 if line.dot else 0):
        drawing.dot(x + k * _SAMPLE / 2, y - 4, line.colour, line.dot)
    drawing.words(x + _SAMPLE + 8, y, line.name, "soft", size=_SIZE)
    return x + _SAMPLE + 8 + wording.width(line.name, _SIZE) + 20


def _kept(
    points: Sequence[tuple[float, float, float, float]], logarithmic: tuple[bool, bool]
) -> list[tuple[float, float, float, float]]:
    """The points that have a place."""
    finite = [point for point in points if all(map(math.isfinite, point))]
    return [
        point
        for point in finite
        if not (logarithmic[0] and point[0] <= 0) and not (logarithmic[1] and point[1] <= 0)
    ]


def _axes(
    box: Box, lines: Sequence[Line], logarithmic: tuple[bool, bool], held: Sequence[float]
) -> tuple[Axis, Axis]:
    """Of the places and of the values, from round value to round value where logarithmic."""
    x, y, wide, high = box
    points = [point for line in lines for point in line.points]
    places = [point[0] for point in points]
    others = [v for v in held if math.isfinite(v) and not (logarithmic[1] and v <= 0)]
    low = min([point[1] for point in points] + others)
    top = max([point[3] for point in points] + others)
    if logarithmic[1]:
        low, top = _round(low, up=False), _round(top, up=True)
    else:
        low, top = min(0.0, 1.06 * low), 1.06 * top if top > 0 else 1.0
    left, right = x + _LEFT, x + wide - _RIGHT
    across = Axis(min(places), max(places), left, right, logarithmic=logarithmic[0])
    return across, Axis(low, top, y + high - _BOTTOM, y + _TOP, logarithmic=logarithmic[1])


def _round(value: float, *, up: bool) -> float:
    """The nearest of 1, 2 and 5 times a power of ten above the value, or below it."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [lead * power for lead in (0.5, 1, 2, 5, 10, 20)]
    if up:
        return next(step for step in steps if step > value)
    return next(step for step in reversed(steps) if step < value)


def draw_grid(
    drawing: Drawing, ends: tuple[float, float], axis: Axis, shares: bool = False
) -> None:
    """Level lines from end to end, and numbers before them, at round values of the axis."""
    for value in axis.ticks():
        drawing.line([(ends[0], axis(value)), (ends[1], axis(value))], "line")
        text = f"{100 * value:.3g}{wording.NO_BREAK}%" if shares else _written(value)
        drawing.words(ends[0] - 8, axis(value) + 4, text, "soft", size=_SMALL, anchor="end")


def _places(drawing: Drawing, box: Box, axis: Axis, ticks: Sequence[float]) -> None:
    """Numbers under the axis, as many as have room, in the order of the ticks."""
    low = box[1] + box[3] - _BOTTOM
    whole = [value for value in axis.ticks(6) if value == round(value)] or [axis.low, axis.high]
    drawing.line([(axis(axis.low), low), (axis(axis.high), low)], "soft")
    taken: list[tuple[float, float]] = []
    for value in dict.fromkeys(ticks or whole):
        text = _written(value)
        half = wording.width(text, _SMALL) / 2
        left = min(axis(value) - half, box[0] + box[2] - 2 * half)
        if all(left > end + 6 or left + 2 * half + 6 < begin for begin, end in taken):
            drawing.line([(axis(value), low), (axis(value), low + 4)], "soft")
            drawing.words(left + half, low + 17, text, "soft", size=_SMALL, anchor="middle")
            taken.append((left, left + 2 * half))


def _band(drawing: Drawing, line: Line, places: Axis, values: Axis) -> None:
    """From the lowest to the highest value; at a single place a thick upright line."""
    lows = [(places(p[0]), values(p[1])) for p in line.points]
    highs = [(places(p[0]), values(p[3])) for p in line.points]
    if lows == highs:
        return
    if len(lows) == 1:
        drawing.line([lows[0], highs[0]], line.colour, thick=1)
    else:
        drawing.area([*lows, *reversed(highs)], line.colour, strength=_BAND)


def _written(value: float) -> str:
    return f"{value:g}" if abs(value) < 10_000 else wording.short(value)
