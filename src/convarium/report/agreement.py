"""How well numbers are met: predictions over truths, and the residuals' histogram."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium.errors import ShapeError
from convarium.report import pictures, wording
from convarium.report.svg import Axis, Drawing

_WIDTH, _HEIGHT = 380.0, 360.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 30.0, 44.0
_LOW = 220.0  # height of the histogram
_SMALL = 11.0
_DOTS_UP_TO = 1500
_BLOCKS = 84
_BARS = 31
_DENSITY_COLOUR = (46, 125, 178)  # readable on light and on dark paper alike


def agreement(
    truth: NDArray[np.float32], values: NDArray[np.float32], name: str = "", unit: str = ""
) -> str:
    """Predictions over truths as an SVG; on the dashed line they are equal.

    Beyond 1,500 samples it shows how many lie where, darker where more do.

    Args:
        truth: `(N,)`.
        values: predictions, `(N,)`.
        name: of the number.
        unit: of the number.

    Raises:
        ShapeError: not as many predictions as truths, or none.

    >>> agreement(np.float32([1, 2]), np.float32([1.5, 2]), "age", "years")[:4]
    '<svg'
    """
    _check(truth, values)
    truths, said = truth.astype(np.float64), values.astype(np.float64)
    low, high = min(truths.min(), said.min()), max(truths.max(), said.max())
    room = 0.04 * (high - low) or 1.0
    label = (
        f"Predictions of {name or 'the number'} over truths, {wording.count(len(truth))} samples"
    )
    drawing = Drawing(_WIDTH, _HEIGHT, label, least=0.7)
    across = Axis(low - room, high + room, _LEFT, _WIDTH - _RIGHT)
    up = Axis(low - room, high + room, _HEIGHT - _BOTTOM, _TOP)
    _frame(drawing, across, up, "Predicted", _with_unit(f"true {name}".strip(), unit))
    if len(truth) <= _DOTS_UP_TO:
        for x, y in zip(truths.tolist(), said.tolist(), strict=True):
            drawing.dot(across(x), up(y), "accent", 2.2)
    else:
        _density(drawing, truths, said, across)
    ends = (across.low, across.high)
    drawing.line([(across(end), up(end)) for end in ends], "ink", dashes="4 4")
    return drawing.text()


def residual_histogram(residuals: NDArray[np.float64], name: str = "", unit: str = "") -> str:
    """How many residuals (prediction minus truth) are how large, as an SVG.

    The scale ends at twice the 95th percentile of their sizes, or at the largest; what lies beyond
    is counted in the outermost bars, and said.

    Args:
        residuals: `(N,)`.
        name: of the number.
        unit: of the number.

    Raises:
        ShapeError: there is none.

    >>> residual_histogram(np.array([-1.0, 0.5]), "age", "years")[:4]
    '<svg'
    """
    _check(residuals, residuals)
    sizes = np.abs(residuals)
    end = float(min(sizes.max(), 2 * np.percentile(sizes, 95))) or 1.0
    inside = np.clip(residuals, -end, end)
    counts, edges = np.histogram(inside, bins=_BARS, range=(-end, end))
    beyond = int((sizes > end).sum())
    label = (
        f"Residuals of {name or 'the number'}: mean {wording.number(float(residuals.mean()))}, "
        f"standard deviation {wording.number(float(residuals.std()))}"
    )
    drawing = Drawing(_WIDTH, _LOW, label, least=0.7)
    across = Axis(-end, end, _LEFT, _WIDTH - _RIGHT)
    up = Axis(0, int(counts.max()), _LOW - _BOTTOM, _TOP)
    words = _with_unit("predicted minus true", unit)
    text = f"{words}; {wording.count(beyond)} beyond the ends" if beyond else words
    _frame(drawing, across, up, "Residuals", text, counts=True)
    for n, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if n:
            box = (across(left) + 0.5, up(n), across(right) - across(left) - 1, up(0) - up(n))
            drawing.rectangle(box, "band", tip=f"{wording.count(n)} samples")
    drawing.line([(across(0), up(0)), (across(0), _TOP)], "ink", dashes="4 4")
    return drawing.text()


def _check(one: NDArray[np.floating], other: NDArray[np.floating]) -> None:
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ShapeError(
            f"truth (of shape {one.shape}) and values (of shape {other.shape}) must be rows of as "
            "many numbers, at least one."
        )


def _with_unit(words: str, unit: str) -> str:
    return f"{words} [{unit}]" if unit else words


def _frame(
    drawing: Drawing, across: Axis, up: Axis, heading: str, text: str, *, counts: bool = False
) -> None:
    """A heading, level lines with numbers, numbers under the axis, and what it shows."""
    drawing.words(2, 16, heading, size=14, weight=600)
    ends = (_LEFT, _WIDTH - _RIGHT)
    for value in up.ticks(5):
        if counts and value != round(value):
            continue
        drawing.line([(ends[0], up(value)), (ends[1], up(value))], "line")
        drawing.words(ends[0] - 8, up(value) + 4, f"{value:g}", "soft", size=_SMALL, anchor="end")
    floor = up(up.low)
    drawing.line([(ends[0], floor), (ends[1], floor)], "soft")
    for value in across.ticks(5):
        drawing.words(across(value), floor + 16, f"{value:g}", "soft", size=_SMALL, anchor="middle")
    middle = (ends[0] + ends[1]) / 2
    shown = wording.shorten(text, 56)
    drawing.words(middle, floor + 36, shown, "soft", size=_SMALL, anchor="middle", tip=text)


def _density(
    drawing: Drawing, truth: NDArray[np.float64], values: NDArray[np.float64], axis: Axis
) -> None:
    ends = (axis.low, axis.high)
    counts, _, _ = np.histogram2d(values, truth, bins=_BLOCKS, range=(ends, ends))
    level = np.sqrt(counts[::-1] / counts.max())
    rgba = np.zeros((*counts.shape, 4), np.uint8)
    rgba[..., :3] = _DENSITY_COLOUR
    rgba[..., 3] = np.where(level > 0, 40 + 215 * level, 0).round().astype(np.uint8)
    box = (_LEFT, _TOP, _WIDTH - _RIGHT - _LEFT, _HEIGHT - _BOTTOM - _TOP)
    drawing.picture(box, pictures.address(rgba))
