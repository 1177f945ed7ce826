"""The effective receptive field as an SVG: where the weight lies in the theoretical field."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError
from convarium.measure.effective import EffectiveField
from convarium.measure.field import ReceptiveField
from convarium.report import pictures, wording
from convarium.report.svg import Axis, Drawing

_MARGIN, _GAP, _TOP = 20.0, 56.0, 84.0
_SIDE = 330.0  # of a square map, in pixels; three beside each other are smaller
_SMALL_SIDE = 230.0
_WIDTH = 2 * _MARGIN + 2 * _SIDE + _GAP + 40
_CURVE = 240.0
_FINEST = 256  # positions along an axis of a picture; beyond, neighbours are put together
_COLOUR = (42, 120, 170)
_SMALL = 11.0
_SHARES = (0.5, 0.95)
_OPACITIES = (255, 90)
OUTLINE = "Orange: the theoretical field, as far as it lies inside the input."

_Box = tuple[float, float, float, float]
_Map = NDArray[np.float64]
_Range = tuple[float, float]


def draw_effective_field(effective: EffectiveField, field: ReceptiveField, title: str) -> str:
    """The weight of each input as an SVG, with the theoretical field and the areas of 50 and 95 %.

    Images give two maps, the weight and the areas; signals a curve; volumes the weight summed along
    each axis.

    Args:
        effective: as `measure.effective_receptive_field` gives it.
        field: the theoretical field of the same model and input.
        title: the network's name.

    Raises:
        OptionError: it has more than three axes.
    """
    values = effective.values.numpy().astype(np.float64)
    if values.ndim > 3:
        raise OptionError(f"effective (of {values.ndim} axes) must have three axes at most.")
    draw = (_signal, _image, _volume)[values.ndim - 1]
    told = f"{title}: the effective receptive field. {effective.sentence()}"
    drawing = draw(values, _theoretical(effective, field), told)
    heading = wording.shorten(f"{title}: the effective field", 80)
    drawing.words(_MARGIN, 28, heading, size=16, weight=600)
    for k, words in enumerate(textwrap.wrap(effective.sentence(), 105)[:2]):
        drawing.words(_MARGIN, 47 + 15 * k, words, "soft", size=_SMALL)
    drawing.words(_MARGIN, drawing.height - 14, OUTLINE, "soft", size=_SMALL)
    return drawing.text()


def areas(values: _Map) -> NDArray[np.int64]:
    """For each place 0 if it is among those that hold 50 %, 1 for 95 %, else 2; heaviest first.

    >>> areas(np.array([0.04, 0.6, 0.36])).tolist()
    [2, 0, 1]
    """
    order = np.argsort(-values, axis=None, kind="stable")
    before = np.cumsum(values.ravel()[order]) - values.ravel()[order]
    level = np.full(values.size, len(_SHARES))
    for k, share in reversed(list(enumerate(_SHARES))):
        level[order[before < share - 1e-12]] = k
    return level.reshape(values.shape)


def _image(values: _Map, ranges: Sequence[_Range], told: str) -> Drawing:
    """The weight, and beside it the areas."""
    wide, high = _scaled(values.shape, _SIDE)
    drawing = _paper(_WIDTH, _TOP + high + 78, told)
    left = _MARGIN + 30
    weight = _pooled(values, np.add)
    weight = np.sqrt(weight / weight.max())
    _map(drawing, (left, _TOP, wide, high), _tint(weight), values.shape)
    _outline(drawing, (left, _TOP, wide, high), values.shape, ranges)
    _scale(drawing, left, _TOP + high + 27)
    left += _SIDE + _GAP
    level = _pooled(areas(values), np.minimum)
    shown = np.array([*_OPACITIES, 0])[level] / 255
    _map(drawing, (left, _TOP, wide, high), _tint(shown), values.shape)
    _outline(drawing, (left, _TOP, wide, high), values.shape, ranges)
    _legend(drawing, left, _TOP + high + 27)
    return drawing


def _volume(values: _Map, ranges: Sequence[_Range], told: str) -> Drawing:
    """The weight summed along depth, height and width."""
    names = ("depth", "height", "width")
    shapes = [values.sum(axis).shape for axis in range(3)]
    high = max(_scaled(shape, _SMALL_SIDE)[1] for shape in shapes)
    drawing = _paper(3 * _SMALL_SIDE + 2 * _GAP + 2 * _MARGIN + 40, _TOP + high + 78, told)
    for axis, shape in enumerate(shapes):
        left = _MARGIN + 30 + axis * (_SMALL_SIDE + _GAP)
        wide, tall = _scaled(shape, _SMALL_SIDE)
        weight = _pooled(values.sum(axis), np.add)
        _map(drawing, (left, _TOP, wide, tall), _tint(np.sqrt(weight / weight.max())), shape)
        others = [ranges[k] for k in range(len(ranges)) if k != axis]
        _outline(drawing, (left, _TOP, wide, tall), shape, others)
        words = f"summed along {names[axis]}"
        drawing.words(left + 40, _TOP + tall + 18, words, "soft", size=_SMALL)
    _scale(drawing, _MARGIN + 30, _TOP + high + 27)
    return drawing


def _signal(values: _Map, ranges: Sequence[_Range], told: str) -> Drawing:
    """The weight of each input as a curve over the areas."""
    drawing = _paper(_WIDTH, _TOP + _CURVE + 82, told)
    left, right, low = _MARGIN + 46, _WIDTH - _MARGIN, _TOP + _CURVE
    across = Axis(0, len(values), left, right)
    up = Axis(0, 100 * float(values.max()) * 1.06, low, _TOP)
    level = areas(values)
    for shown, strength in ((1, 0.45), (0, 1.0)):
        for inside, run in groupby(range(len(values)), key=lambda k: bool(level[k] <= shown)):
            places = list(run)
            if inside:
                x, end = across(places[0]), across(places[-1] + 1)
                box = (x, _TOP, end - x, _CURVE)
                drawing.rectangle(box, "band", strength=strength)
    for value in up.ticks(5):
        drawing.line([(left, up(value)), (right, up(value))], "line")
        text = f"{value:.4g}{wording.NO_BREAK}%"
        drawing.words(left - 8, up(value) + 4, text, "soft", size=_SMALL, anchor="end")
    for value in across.ticks(6):
        drawing.words(across(value), low + 17, f"{value:g}", "soft", size=_SMALL, anchor="middle")
    points = [(across(k + 0.5), up(100 * float(value))) for k, value in enumerate(values)]
    drawing.line(points if len(points) > 1 else points * 2, "accent", thick=1.5)
    for lo, hi in ranges[:1]:
        for edge in (lo, hi):
            drawing.line([(across(edge), _TOP), (across(edge), low)], "miss", thick=2)
    words = "share of the weight, by input; tinted: the inputs that hold 50 % (strong) and 95 %"
    drawing.words(left, low + 38, words, "soft", size=_SMALL)
    return drawing


def _paper(width: float, height: float, told: str) -> Drawing:
    drawing = Drawing(width, height, told, least=0.6)
    drawing.rectangle((0, 0, width, height), "card", corner=6)
    return drawing


def _theoretical(effective: EffectiveField, field: ReceptiveField) -> list[_Range]:
    """First input and the one after the last, along each axis, inside the input; or nothing."""
    row = field.at(effective.layer)
    box = effective.box or row.box(effective.position, effective.values.shape)
    return [(float(each.start), float(each.stop)) for each in box]


def _scaled(shape: Sequence[int], side: float) -> tuple[float, float]:
    """Width and height in pixels of a map whose longer side is `side`; never thinner than 28."""
    high, wide = shape
    longest = max(high, wide)
    return max(side * wide / longest, 28.0), max(side * high / longest, 28.0)


def _pooled(values: NDArray[Any], together: np.ufunc) -> NDArray[Any]:
    """Blocks of neighbours put together until a picture can show them."""
    for axis in (0, 1):
        block = -(-values.shape[axis] // _FINEST)
        edges = np.arange(0, values.shape[axis], block)
        values = together.reduceat(values, edges, axis=axis)
    return values


def _tint(strength: _Map) -> NDArray[np.uint8]:
    """One colour, as opaque as the strength in [0, 1]; on light and on dark paper."""
    rgba = np.zeros((*strength.shape, 4), np.uint8)
    rgba[..., :3] = _COLOUR
    rgba[..., 3] = (255 * strength).round()
    return rgba


def _map(drawing: Drawing, box: _Box, pixels: NDArray[np.uint8], shape: Sequence[int]) -> None:
    """A picture with a frame and the input's sizes beside it."""
    x, y, wide, high = box
    drawing.picture(box, pictures.address(pixels))
    drawing.line(_corners(box), "line")
    rows, columns = (wording.count(n) for n in shape)
    drawing.words(x, y + high + 14, "0", "soft", size=_SMALL)
    drawing.words(x + wide, y + high + 14, columns, "soft", size=_SMALL, anchor="end")
    drawing.words(x - 6, y + 9, "0", "soft", size=_SMALL, anchor="end")
    drawing.words(x - 6, y + high, rows, "soft", size=_SMALL, anchor="end")


def _outline(drawing: Drawing, box: _Box, shape: Sequence[int], ranges: Sequence[_Range]) -> None:
    """The theoretical field as a frame."""
    if len(ranges) != 2:
        return
    x, y, wide, high = box
    (top, bottom), (left, right) = ranges
    across, up = wide / shape[1], high / shape[0]
    inner = (x + left * across, y + top * up, (right - left) * across, (bottom - top) * up)
    drawing.line(_corners(inner), "miss", thick=2)


def _corners(box: _Box) -> list[tuple[float, float]]:
    x, y, wide, high = box
    return [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high), (x, y)]


def _scale(drawing: Drawing, x: float, y: float) -> None:
    """What the strengths of the weight's map mean."""
    drawing.picture((x, y, 120, 9), pictures.address(_tint(np.linspace(0, 1, 64)[None])))
    drawing.words(x + 128, y + 8, "weight, from 0 to the most (square root)", "soft", size=_SMALL)


def _legend(drawing: Drawing, x: float, y: float) -> None:
    words = ("places that hold 50 %", "95 %")
    for k, (text, opacity) in enumerate(zip(words, _OPACITIES, strict=True)):
        place = x + 190 * k
        drawing.picture((place, y, 12, 9), pictures.address(_tint(np.full((1, 1), opacity / 255))))
        drawing.words(place + 18, y + 8, text, "soft", size=_SMALL)
