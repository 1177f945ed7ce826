"""Learning curves: loss, score and learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from convarium.errors import OptionError, did_you_mean
from convarium.report import wording
from convarium.report.svg import Axis, Drawing

_WIDTH, _HEIGHT = 340.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 14.0, 54.0, 38.0
_LOGARITHMIC_FROM = 30.0


class _Series(NamedTuple):
    """One line: its name, the column of the history, its colour and its dashes."""

    name: str
    column: str
    colour: str
    dashes: str


_PANELS: Mapping[str, tuple[_Series, ...]] = {
    "loss": (
        _Series("training", "train_loss", "soft", "4 4"),
        _Series("validation", "val_loss", "accent", ""),
    ),
    "accuracy": (
        _Series("training", "train_acc", "soft", "4 4"),
        _Series("validation", "val_acc", "accent", ""),
    ),
    "F1": (
        _Series("training", "train_f1", "soft", "4 4"),
        _Series("validation", "val_f1", "accent", ""),
    ),
    "R2": (
        _Series("training", "train_r2", "soft", "4 4"),
        _Series("validation", "val_r2", "accent", ""),
    ),
    "learning rate": (_Series("last", "lr", "accent", ""),),
}
_SHARES = ("accuracy", "F1")
_LOWEST_R2 = -1.0
_Points = list[tuple[float, float]]


def curves(
    history: Sequence[Mapping[str, Any]],
    quantities: Sequence[str] = ("loss", "accuracy", "learning rate"),
    *,
    kept: int | None = None,
) -> str:
    """Learning curves as one SVG, a panel for each quantity, side by side.

    The loss gets a logarithmic axis where it falls by a factor of 30 or more; values that are
    missing or not finite are left out of their line, and R2 below -1 is drawn there.

    Args:
        history: rows with `epoch`, `train_loss`, `val_loss`, `lr`, and the score: `train_acc` and
            `val_acc` (or `_f1`), shares in [0, 1], or `train_r2` and `val_r2`.
        quantities: panels from "loss", "accuracy", "F1", "R2" and "learning rate".
        kept: the epoch whose weights were kept, to be marked.

    Raises:
        OptionError: a quantity that does not exist, or none.

    >>> row = {"epoch": 1, "train_loss": 0.7, "val_loss": 0.6}
    >>> curves([row], ["loss"])[:4]
    '<svg'
    """
    if not quantities:
        raise OptionError(f"quantities (=()) must name at least one of {', '.join(_PANELS)}.")
    panels = [_panel(history, quantity, kept) for quantity in quantities]
    if len(panels) == 1:
        return panels[0].text()
    label = "; ".join(panel.root.attrib["aria-label"] for panel in panels)
    whole = Drawing(_WIDTH * len(panels), _HEIGHT, label)
    for position, panel in enumerate(panels):
        whole.place(panel, _WIDTH * position, 0)
    return whole.text()


def _panel(history: Sequence[Mapping[str, Any]], quantity: str, kept: int | None) -> Drawing:
    if quantity not in _PANELS:
        raise OptionError(
            f"quantities (={quantity!r}) must be among {', '.join(_PANELS)}."
            + did_you_mean(quantity, _PANELS)
        )
    lines = [(series, _points(history, series.column)) for series in _PANELS[quantity]]
    lines = [(series, points) for series, points in lines if points]
    drawing = Drawing(_WIDTH, _HEIGHT, _label(quantity, lines))
    drawing.words(2, 16, quantity.capitalize(), size=14, weight=600)
    if not lines:
        drawing.words(2, 40, "Nothing was recorded.", "soft")
        return drawing
    across, up = _axes(quantity, [points for _, points in lines])
    _frame(drawing, quantity, across, up)
    _key(drawing, quantity, lines)
    if kept is not None and across.low < kept < across.high:
        place = across(kept)
        drawing.line([(place, _TOP), (place, _HEIGHT - _BOTTOM)], "soft", dashes="1 3")
    for series, points in lines:
        placed = [(across(epoch), up(max(value, up.low))) for epoch, value in points]
        drawing.line(placed, series.colour, thick=2, dashes=series.dashes)
        drawing.dot(*placed[-1], series.colour)
    return drawing


def _points(history: Sequence[Mapping[str, Any]], column: str) -> _Points:
    values = [(row.get("epoch"), row.get(column)) for row in history]
    return [
        (float(epoch), float(value))
        for epoch, value in values
        if epoch is not None and value is not None and math.isfinite(value)
    ]


def _axes(quantity: str, lines: Sequence[_Points]) -> tuple[Axis, Axis]:
    epochs = [epoch for points in lines for epoch, _ in points]
    values = [value for points in lines for _, value in points]
    low, high = min(values), max(values)
    logarithmic = quantity == "loss" and low > 0 and high / low >= _LOGARITHMIC_FROM
    if logarithmic:
        low, high = low / 1.15, high * 1.15
    elif quantity in _SHARES:
        low, high = max(0.0, low - 0.08 * (1 - low) - 0.005), 1.0
    elif quantity == "R2":
        low, high = max(_LOWEST_R2, min(0.0, low)), 1.0
    else:
        low, high = min(0.0, low), high * 1.06 if high > 0 else 1.0
    across = Axis(min(epochs), max(epochs), _LEFT, _WIDTH - _RIGHT)
    return across, Axis(low, high, _HEIGHT - _BOTTOM, _TOP, logarithmic=logarithmic)


def _frame(drawing: Drawing, quantity: str, across: Axis, up: Axis) -> None:
    for value in up.ticks():
        drawing.line([(_LEFT, up(value)), (_WIDTH - _RIGHT, up(value))], "line")
        text = f"{100 * value:.3g}{wording.NO_BREAK}%" if quantity in _SHARES else f"{value:.4g}"
        drawing.words(_LEFT - 8, up(value) + 4, text, "soft", size=11, anchor="end")
    whole = [value for value in across.ticks(6) if value == round(value)]
    for value in whole:
        drawing.words(
            across(value), _HEIGHT - _BOTTOM + 17, f"{value:g}", "soft", size=11, anchor="middle"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    drawing.words(middle, _HEIGHT - 4, "epoch", "soft", size=11, anchor="middle")


def _key(drawing: Drawing, quantity: str, lines: Sequence[tuple[_Series, _Points]]) -> None:
    """Under the heading: which line is which, and the value each ends with."""
    x = 2.0
    for series, points in lines:
        text = f"{series.name} {_written(quantity, points[-1][1])}"
        drawing.line([(x, 32), (x + 18, 32)], series.colour, thick=2, dashes=series.dashes)
        drawing.words(x + 24, 36, text, "soft", size=12)
        x += 24 + wording.width(text, 12) + 18


def _label(quantity: str, lines: Sequence[tuple[_Series, _Points]]) -> str:
    ends = [f"{series.name} {_written(quantity, points[-1][1])}" for series, points in lines]
    return f"{quantity.capitalize()} over the epochs; at the end: " + (", ".join(ends) or "nothing")


def _written(quantity: str, value: float) -> str:
    return wording.percent(value) if quantity in _SHARES else wording.number(value)
