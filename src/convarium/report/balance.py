"""How many samples each class has."""

from __future__ import annotations

from collections.abc import Sequence

from convarium.errors import ShapeError
from convarium.report import wording
from convarium.report.svg import Axis, Drawing

_ALL_UP_TO = 30
_WIDTH = 340.0
_ROW = 22.0


def class_balance(counts: Sequence[int], classes: Sequence[str]) -> str:
    """Samples per class as an SVG: a bar each, or beyond 30 classes the sorted counts.

    Args:
        counts: samples of each class.
        classes: names, in the same order.

    Raises:
        ShapeError: there is not one count for each class.

    >>> class_balance([3, 4], ["cat", "dog"])[:4]
    '<svg'
    """
    if len(counts) != len(classes) or not classes:
        raise ShapeError(
            f"counts (of length {len(counts)}) must hold one number for each of the "
            f"{len(classes)} classes, and at least one."
        )
    label = (
        f"Samples per class: {len(classes)} classes, from {wording.count(min(counts))} to "
        f"{wording.count(max(counts))} samples."
    )
    if len(classes) <= _ALL_UP_TO:
        return _bars(counts, classes, label)
    return _sorted_counts(counts, label)


def _bars(counts: Sequence[int], classes: Sequence[str], label: str) -> str:
    names = [wording.shorten(name, 18) for name in classes]
    left = max(wording.width(name, 12) for name in names) + 10
    right = wording.width(wording.count(max(counts)), 11) + 10
    drawing = Drawing(_WIDTH, _ROW * len(classes) + 2, label)
    across = Axis(0, max(*counts, 1), 0, _WIDTH - left - right)
    for k, (name, n) in enumerate(zip(names, counts, strict=True)):
        y = k * _ROW
        drawing.words(left - 10, y + 15, name, anchor="end", tip=classes[k])
        drawing.rectangle((left, y + 4, max(across(n), 0.5), _ROW - 8), "band", corner=2)
        drawing.words(left + across(n) + 6, y + 15, wording.count(n), "soft", size=11)
    return drawing.text()


def _sorted_counts(counts: Sequence[int], label: str) -> str:
    height, left, top, bottom = 190.0, 52.0, 12.0, 38.0
    drawing = Drawing(_WIDTH, height, label)
    ordered = sorted(counts, reverse=True)
    up = Axis(0, max(ordered[0], 1), height - bottom, top)
    across = Axis(0, len(ordered), left, _WIDTH - 8)
    for value in (value for value in up.ticks(4) if value == round(value)):
        drawing.line([(left, up(value)), (_WIDTH - 8, up(value))], "line")
        written = wording.count(int(value))
        drawing.words(left - 8, up(value) + 4, written, "soft", size=11, anchor="end")
    outline = [(across(0), up(0))]
    for k, n in enumerate(ordered):
        outline += [(across(k), up(n)), (across(k + 1), up(n))]
    drawing.area([*outline, (across(len(ordered)), up(0))], "band")
    text = f"{wording.count(len(ordered))} classes, the largest first"
    drawing.words((left + _WIDTH) / 2, height - 12, text, "soft", size=11, anchor="middle")
    return drawing.text()
