"""Whether stated probabilities come true: the reliability diagram, and how many were stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from convarium.errors import ShapeError
from convarium.report import wording
from convarium.report.svg import Axis, Drawing

if TYPE_CHECKING:
    from convarium.tasks import Bin, ClassEvaluation, LabelEvaluation

_WIDTH, _HEIGHT = 380.0, 424.0
_LEFT, _RIGHT, _TOP = 52.0, 24.0, 30.0
_FLOOR = 310.0  # of the upper panel
_COUNTS = (336.0, 388.0)  # top and floor of the lower one
_SMALL = 11.0
_BAR, _GAP = 0.55, 0.75


def reliability_diagram(bins: Sequence[Bin]) -> str:
    """Bars of what came true over what was stated, the gaps between, and counts below, as an SVG.

    Args:
        bins: of a reliability diagram, from 0 to 1.

    Raises:
        ShapeError: there is no stated probability in any bin.

    >>> from convarium.tasks import Bin
    >>> reliability_diagram([Bin(0.5, 1.0, 3, 0.9, 1.0)])[:4]
    '<svg'
    """
    used = [each for each in bins if each.n]
    if not used:
        raise ShapeError("bins (all empty) must hold at least one stated probability.")
    total = sum(each.n for each in used)
    told = "; ".join(
        f"stated {wording.percent(b.stated)}, came true {wording.percent(b.observed)}, n {b.n}"
        for b in used
    )
    label = f"Reliability of {wording.count(total)} stated probabilities: {told}"
    drawing = Drawing(_WIDTH, _HEIGHT, label, least=0.8)
    across = Axis(0, 1, _LEFT, _WIDTH - _RIGHT)
    up = Axis(0, 1, _FLOOR, _TOP)
    drawing.words(2, 16, "Came true", size=14, weight=600)
    for value in up.ticks(5):
        drawing.line([(_LEFT, up(value)), (_WIDTH - _RIGHT, up(value))], "line")
        drawing.words(_LEFT - 8, up(value) + 4, _share(value), "soft", size=_SMALL, anchor="end")
    for each in used:
        _bar(drawing, each, across, up)
    drawing.line([(across(0), up(0)), (across(1), up(1))], "ink", dashes="4 4")
    _counts(drawing, used, across)
    return drawing.text()


def calibration_of(
    card: Mapping[str, Any], evaluation: ClassEvaluation | LabelEvaluation
) -> dict[str, Any] | None:
    """The reliability diagram and its numbers; None where probabilities are not known."""
    figures, bins = evaluation.figures(), evaluation.reliability
    if figures.get("ece") is None or bins is None:
        return None
    fitted = card.get("calibration")
    return {**figures, "diagram": reliability_diagram(bins), "fitted": fitted}


def _bar(drawing: Drawing, each: Bin, across: Axis, up: Axis) -> None:
    left, wide = across(each.low) + 1, across(each.high) - across(each.low) - 2
    tip = (
        f"stated {wording.percent(each.stated, each.n)}, came true "
        f"{wording.percent(each.observed, each.n)}, n {wording.count(each.n)}"
    )
    high, low = sorted((up(each.observed), up(each.stated)))
    drawing.rectangle((left, low, wide, _FLOOR - low), "hit", strength=_BAR, tip=tip)
    drawing.rectangle((left, high, wide, low - high), "miss", strength=_GAP, tip=tip)
    drawing.line([(left, up(each.observed)), (left + wide, up(each.observed))], "hit", thick=2)


def _counts(drawing: Drawing, used: Sequence[Bin], across: Axis) -> None:
    """How many probabilities each bin holds, under the bars."""
    top, floor = _COUNTS
    most = max(each.n for each in used)
    height = Axis(0, most, floor, top)
    drawing.words(_LEFT - 8, top + 9, wording.short(most), "soft", size=_SMALL, anchor="end")
    drawing.words(_LEFT - 8, floor, "0", "soft", size=_SMALL, anchor="end")
    for each in used:
        left, wide = across(each.low) + 1, across(each.high) - across(each.low) - 2
        tall = max(floor - height(each.n), 1.0)
        tip = f"{wording.count(each.n)} stated"
        drawing.rectangle((left, floor - tall, wide, tall), "soft", strength=0.6, tip=tip)
    drawing.line([(_LEFT, floor), (_WIDTH - _RIGHT, floor)], "soft")
    for value in across.ticks(5):
        place = across(value)
        drawing.words(place, floor + 15, _share(value), "soft", size=_SMALL, anchor="middle")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    text = "stated probability, and how many of each"
    drawing.words(middle, floor + 32, text, "soft", size=_SMALL, anchor="middle")


def _share(value: float) -> str:
    return f"{100 * value:.3g}{wording.NO_BREAK}%"
