"""Latency against accuracy: what is worth its time, as an SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from convarium.errors import OptionError
from convarium.measure.chosen import Choices
from convarium.report import wording
from convarium.report.svg import Axis, Drawing

if TYPE_CHECKING:
    from convarium.deploy import Tuning

_WIDTH, _HEIGHT = 820.0, 520.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 24.0, 70.0, 78.0
_SIZE, _SMALL = 11.5, 11.0
_DOT, _FRONT_DOT = 3.5, 5.0
_GAP = 9.0  # between names on one line
_RINGS = (0.0, 14.0, 28.0, 44.0, 62.0, 82.0, 104.0, 130.0, 160.0)
_TURNS = sorted(range(-7, 9), key=abs)
_WHOLE = 100.0  # %, which no share is over
_UPPER_LEFT, _LOWER_RIGHT = 0.75 * math.pi, -0.25 * math.pi  # where the front, the others have room
LEGEND = "The line: none is both faster and more accurate. Names that have no room show on hover."

_Place = tuple[float, float]
_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class TradeOff:
    """One point of the picture.

    Attributes:
        label: the network.
        ms: milliseconds of a pass, above 0.
        accuracy: in %.
        on_front: no other point is both faster and more accurate.
    """

    label: str
    ms: float
    accuracy: float
    on_front: bool


def draw_choices(choices: Choices) -> str:
    """The rows of `measure.choose` as an SVG: measured latency against published accuracy.

    Rows whose published accuracy does not count for the input are left out.

    Args:
        choices: what `measure.choose` gave.
    """
    rows = [row for row in choices.rows if row.counted and row.latency_ms is not None]
    points = [
        TradeOff(_short(row.label), row.latency_ms or 0.0, row.accuracy or 0.0, row.on_front)
        for row in rows
    ]
    data = rows[0].accuracy_data if rows else "other data"
    shape = "x".join(map(str, choices.input_shape))
    plural = "s" if choices.threads > 1 else ""
    across = f"ms for an input of {shape} on {choices.processor}, {choices.threads} thread{plural}"
    return draw_trade_offs(
        points,
        title=f"Networks for {choices.target}: latency against accuracy",
        across=across,
        up=f"published top-1 on {data}, %",
    )


def draw_tuning(found: Tuning) -> str:
    """The forms of one network as an SVG: measured latency against accuracy.

    Where no accuracy was measured it is the share of samples with the network's own answer.

    Args:
        found: what `deploy.tune` gave.
    """
    told = [(row.form.reduced, row.drop.before) for row in found.rows if row.drop is not None]
    before = min(told)[1] if told else None  # that of all samples, where it was measured
    shares = [
        100 * row.agreement if before is None else before - (row.drop.loss if row.drop else 0.0)
        for row in found.rows
    ]
    points, best = [], -math.inf
    for row, share in zip(found.rows, shares, strict=True):  # the fastest first
        points.append(TradeOff(row.form.label, row.ms, share, share > best))
        best = max(best, share)
    shape = "x".join(map(str, (found.batch_size, *found.input_shape)))
    up = "samples with the network's own answer, %" if before is None else "accuracy, %"
    return draw_trade_offs(
        points,
        title=f"Forms of one network, for {found.goal.replace('_', ' ')}",
        across=f"ms for an input of {shape} on {found.conditions['processor']}",
        up=up,
    )


def draw_trade_offs(points: Sequence[TradeOff], *, title: str, across: str, up: str) -> str:
    """Points of latency and accuracy as an SVG, the front as a line, and names beside the dots.

    The latency's axis is logarithmic. Names do not meet one another, a dot or the border; those of
    the front come first and stand at the end of a line where it is crowded.

    Args:
        points: in any order.
        title: what is compared.
        across: words for the latency's axis.
        up: words for the accuracy's axis.

    Raises:
        OptionError: a latency is not above 0, or a number is not finite.

    >>> draw_trade_offs([TradeOff("a", 1.0, 70.0, True)], title="t", across="ms", up="%")[:4]
    '<svg'
    """
    for point in points:
        if not (0 < point.ms < math.inf and math.isfinite(point.accuracy)):
            raise OptionError(
                f"points (={point}) must have a latency above 0 and finite numbers; leave it out."
            )
    drawing = Drawing(_WIDTH, _HEIGHT, _told(points, title), least=0.6)
    drawing.rectangle((0, 0, _WIDTH, _HEIGHT), "card", corner=6)
    drawing.words(_LEFT - 38, 28, title, size=16, weight=600)
    drawing.words(_LEFT - 38, 48, wording.shorten(up, 110), "soft", size=_SMALL)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    foot = wording.shorten(across, 110)
    drawing.words(middle, _HEIGHT - _BOTTOM + 38, foot, "soft", size=_SMALL, anchor="middle")
    if not points:
        drawing.words(_LEFT, _TOP + 40, "No published accuracy counts for these inputs.", "soft")
        return drawing.text()
    drawing.words(_LEFT - 38, _HEIGHT - 14, LEGEND, "soft", size=_SMALL)
    x, y = _axes(points)
    _grid(drawing, x, y)
    front = sorted((point for point in points if point.on_front), key=lambda point: point.ms)
    stairs = _stairs([(x(point.ms), y(point.accuracy)) for point in front])
    if stairs:
        drawing.line(stairs, "accent", thick=2)
    _dots_and_names(drawing, points, (x, y), stairs)
    return drawing.text()


def _axes(points: Sequence[TradeOff]) -> tuple[Axis, Axis]:
    """The latency's axis and the accuracy's, with some room around the points."""
    times = [point.ms for point in points]
    shares = [point.accuracy for point in points]
    room = max(0.08 * (max(shares) - min(shares)), 0.5)
    stretch = max((max(times) / min(times)) ** 0.08, 1.25)
    across = Axis(
        min(times) / stretch, max(times) * stretch, _LEFT, _WIDTH - _RIGHT, logarithmic=True
    )
    return across, Axis(min(shares) - room, max(shares) + room, _HEIGHT - _BOTTOM, _TOP)


def _grid(drawing: Drawing, x: Axis, y: Axis) -> None:
    """Lines and numbers at round values."""
    low, high = _HEIGHT - _BOTTOM, _TOP
    for value in (tick for tick in y.ticks(6) if tick <= _WHOLE):
        drawing.line([(_LEFT, y(value)), (_WIDTH - _RIGHT, y(value))], "line")
        drawing.words(_LEFT - 8, y(value) + 4, f"{value:.4g}", "soft", size=_SMALL, anchor="end")
    for value in x.ticks(6):
        drawing.line([(x(value), low), (x(value), high)], "line")
        drawing.words(x(value), low + 17, f"{value:g}", "soft", size=_SMALL, anchor="middle")


def _stairs(front: Sequence[_Place]) -> list[_Place]:
    """Along the front: to the right at one height, then up; what lies under it is worse."""
    line = list(front[:1])
    for x, y in front[1:]:
        line += [(x, line[-1][1]), (x, y)]
    return line if len(line) > 1 else line * 2


def _dots_and_names(
    drawing: Drawing,
    points: Sequence[TradeOff],
    axes: tuple[Axis, Axis],
    stairs: Sequence[_Place],
) -> None:
    """A dot for each point; names of the front first, then the others where there is room."""
    x, y = axes
    places = [(x(point.ms), y(point.accuracy)) for point in points]
    radii = [_FRONT_DOT if point.on_front else _DOT for point in points]
    taken: list[_Box] = [
        (px - r - 1, py - r - 1, px + r + 1, py + r + 1)
        for (px, py), r in zip(places, radii, strict=True)
    ]
    for (x0, y0), (x1, y1) in pairwise(stairs):
        taken.append((min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    order = sorted(range(len(points)), key=lambda i: (not points[i].on_front, -points[i].accuracy))
    for i in order:
        point, (px, py) = points[i], places[i]
        box = _room(point, places[i], taken, places)
        if box is not None:
            taken += [(box[0] - _GAP, box[1], box[2] + _GAP, box[3]), *_leader(places[i], box)]
            _name(drawing, point, (px, py), box)
    for i in reversed(order):
        point, (px, py), r = points[i], places[i], radii[i]
        drawing.dot(px, py, "accent" if point.on_front else "soft", r)
        tip = f"{point.label}: {wording.number(point.ms)} ms, {point.accuracy:.2f} %"
        drawing.rectangle((px - 6, py - 6, 12, 12), "card", strength=0, tip=tip)


def _room(
    point: TradeOff, place: _Place, taken: Sequence[_Box], places: Sequence[_Place]
) -> _Box | None:
    """Where a name can stand, the nearest first; only those of the front go far.

    A name without a line to its dot stands nearer to it than to any other.
    """
    rings, first = (_RINGS, _UPPER_LEFT) if point.on_front else (_RINGS[:4], _LOWER_RIGHT)
    size = (wording.width(point.label, _SIZE), 1.2 * _SIZE)
    for box in _around(place, size, rings, first):
        inside = box[0] >= _LEFT and box[2] <= _WIDTH - _RIGHT
        inside = inside and box[1] >= _TOP and box[3] <= _HEIGHT - _BOTTOM
        if inside and not any(_meet(box, other) for other in taken):
            leader = _leader(place, box)
            free = not any(_meet(step, other) for step in leader for other in taken)
            if free and (leader or _belongs(box, place, places)):
                return box
    return None


def _belongs(box: _Box, place: _Place, places: Sequence[_Place]) -> bool:
    """Whether every other dot is further from a name than its own."""
    own = math.dist(place, _nearest(place, box))
    others = (math.dist(each, _nearest(each, box)) for each in places if each != place)
    return all(other > own + _DOT for other in others)


def _around(place: _Place, size: _Place, rings: Sequence[float], first: float) -> Iterator[_Box]:
    """Boxes around a place, ring after ring, on each from the angle `first` to both sides."""
    (px, py), (wide, high) = place, size
    for ring in rings:
        gap = _FRONT_DOT + 2 + ring
        for turn in _TURNS:
            angle = first + 2 * math.pi * turn / len(_TURNS)
            cos, sin = math.cos(angle), math.sin(angle)
            cx = px + gap * cos + wide / 2 * min(max(1.8 * cos, -1), 1)
            cy = py - gap * sin - high / 2 * min(max(1.8 * sin, -1), 1)
            yield (cx - wide / 2, cy - high / 2, cx + wide / 2, cy + high / 2)


def _name(drawing: Drawing, point: TradeOff, place: _Place, box: _Box) -> None:
    """A name in its box, and a line to its dot where that is not beside it."""
    px, _ = place
    if _leader(place, box):
        drawing.line([place, _nearest(place, box)], "soft", thick=0.8)
    colour = "ink" if point.on_front else "soft"
    weight = 600 if point.on_front else 400
    x, y, anchor = (box[0] + box[2]) / 2, box[3] - 0.3 * _SIZE, "middle"
    if x - px > (box[2] - box[0]) / 4:
        x, anchor = box[0], "start"
    elif px - x > (box[2] - box[0]) / 4:
        x, anchor = box[2], "end"
    drawing.words(x, y, point.label, colour, size=_SIZE, anchor=anchor, weight=weight)


def _leader(place: _Place, box: _Box) -> list[_Box]:
    """The line from a dot to its name as small boxes; none where the name is beside it."""
    (px, py), (qx, qy) = place, _nearest(place, box)
    long = math.dist((px, py), (qx, qy))
    if long <= _FRONT_DOT + 9:
        return []
    steps = []
    for step in range(round(_FRONT_DOT + 4), round(long), 3):
        x, y = px + (qx - px) * step / long, py + (qy - py) * step / long
        steps.append((x - 1, y - 1, x + 1, y + 1))
    return steps


def _nearest(place: _Place, box: _Box) -> _Place:
    """The point of a box that is nearest to a place."""
    return (min(max(place[0], box[0]), box[2]), min(max(place[1], box[1]), box[3]))


def _meet(one: _Box, other: _Box) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def _short(label: str) -> str:
    """A label with a multiplication sign for the multiplier's name."""
    return label.replace("width_multiplier=", "\N{MULTIPLICATION SIGN}")


def _told(points: Sequence[TradeOff], title: str) -> str:
    """The picture in words, for those who cannot see it."""
    front = sorted((point for point in points if point.on_front), key=lambda point: point.ms)
    told = [f"{p.label} {wording.number(p.ms)} ms {p.accuracy:.2f} %" for p in front]
    return f"{title}; {len(points)} points; on the front: " + ("; ".join(told) or "none")
