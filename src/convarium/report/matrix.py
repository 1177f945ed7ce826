"""What is taken for what: the confusion matrix and its most confused pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.errors import ShapeError
from convarium.report import palette, pictures, wording
from convarium.report.svg import Drawing, round_values

FULL_UP_TO = 30
_BLOCKS = 120
_SIDE = 480.0
_LEAST = 0.72
# The orange of the density picture is readable on light and on dark paper alike.
_DENSITY_COLOUR = (222, 110, 42)


class Pair(NamedTuple):
    """Samples of the class `truth` that were taken for `predicted`: `times` of `n`."""

    truth: str
    predicted: str
    times: int
    n: int


def confused_pairs(
    confusion: NDArray[np.int64], classes: Sequence[str], limit: int = 10
) -> list[Pair]:
    """The pairs of classes that are confused most often, the most frequent first.

    Args:
        confusion: counts `(K, K)`, rows are the truth, columns what was predicted.
        classes: K names.
        limit: at most so many pairs.

    Raises:
        ShapeError: the matrix is not square, or has not one row for each class.

    >>> confused_pairs(np.array([[5, 1], [2, 7]]), ["cat", "dog"])[0]
    Pair(truth='dog', predicted='cat', times=2, n=9)
    """
    _check(confusion, classes)
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:limit]
    totals = confusion.sum(axis=1)
    rows, columns = np.unravel_index(order, errors.shape)
    return [
        Pair(classes[row], classes[column], int(errors[row, column]), int(totals[row]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if errors[row, column] > 0
    ]


def confusion_matrix(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The confusion matrix as an SVG: each cell with its count, or the density of the errors.

    Up to 30 classes every count is written; the colour is the share of its row, blue on the
    diagonal and orange beside it. Beyond, the picture shows where errors lie, darker where a
    larger share of the row goes.

    Args:
        confusion: counts `(K, K)`, rows are the truth, columns what was predicted.
        classes: K names.

    Raises:
        ShapeError: the matrix is not square, or has not one row for each class.

    >>> confusion_matrix(np.array([[5, 1], [2, 7]]), ["cat", "dog"])[:4]
    '<svg'
    """
    _check(confusion, classes)
    if len(classes) <= FULL_UP_TO:
        return _full(confusion, classes)
    return _density(confusion)


def _check(confusion: NDArray[np.int64], classes: Sequence[str]) -> None:
    if confusion.shape != (len(classes), len(classes)):
        raise ShapeError(
            f"confusion (of shape {confusion.shape}) must have one row and one column for each "
            f"of the {len(classes)} classes."
        )


def _label(confusion: NDArray[np.int64]) -> str:
    correct, n = int(np.trace(confusion)), int(confusion.sum())
    return (
        f"Confusion matrix of {len(confusion)} classes: {wording.count(correct)} of "
        f"{wording.count(n)} samples lie on the diagonal."
    )


def _full(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    size = len(classes)
    cell = float(min(56, max(25, 380 // size)))
    names = [wording.shorten(name, 18) for name in classes]
    longest = max(wording.width(name, 12) for name in names)
    upright = longest <= cell - 4
    left = max(longest + 12, 62.0)
    top = 44.0 if upright else 34 + 0.75 * longest
    lean = 0.0 if upright else 0.75 * longest
    drawing = Drawing(
        left + size * cell + lean + 2, top + size * cell + 2, _label(confusion), least=_LEAST
    )
    drawing.words(left, 14, "predicted →", "soft", size=12)
    drawing.words(left - 10, 14, "truth ↓", "soft", size=12, anchor="end")
    for k, name in enumerate(names):
        middle = (k + 0.5) * cell
        drawing.words(left - 10, top + middle + 4, name, anchor="end", tip=classes[k])
        anchor, turn = ("middle", 0.0) if upright else ("start", -45.0)
        drawing.words(left + middle, top - 9, name, anchor=anchor, turn=turn, tip=classes[k])
    for k in range(size + 1):
        drawing.line([(left, top + k * cell), (left + size * cell, top + k * cell)], "line")
        drawing.line([(left + k * cell, top), (left + k * cell, top + size * cell)], "line")
    totals = confusion.sum(axis=1)
    for row, column in np.argwhere(confusion > 0).tolist():
        box = (left + column * cell, top + row * cell, cell, cell)
        pair = Pair(classes[row], classes[column], int(confusion[row, column]), int(totals[row]))
        _cell(drawing, box, pair, hit=row == column)
    return drawing.text()


def _cell(
    drawing: Drawing, box: tuple[float, float, float, float], pair: Pair, *, hit: bool
) -> None:
    """One cell with its count. Errors are drawn stronger, so that a single one is seen."""
    x, y, side, _ = box
    share = pair.times / pair.n
    strength = share if hit else 0.15 + 0.85 * share**0.5
    colour = "hit" if hit else "miss"
    tip = (
        f"{pair.truth}, taken for {pair.predicted}: {wording.count(pair.times)} of "
        f"{wording.count(pair.n)} ({wording.percent(share, pair.n)})"
    )
    inner = (x + 1, y + 1, side - 2, side - 2)
    drawing.rectangle(inner, colour, strength=strength, tip=tip, corner=3)
    text = f"{pair.times}"
    size = min(14.0, (side - 4) / wording.width(text, 1))
    written = palette.text_on(colour, strength)
    drawing.words(
        x + side / 2, y + side / 2 + 0.36 * size, text, written, size=size, anchor="middle"
    )


def _density(confusion: NDArray[np.int64]) -> str:
    size = len(confusion)
    share, edges = _error_share(confusion)
    strongest = float(share.max())
    left, top = 62.0, 44.0
    drawing = Drawing(left + _SIDE + 20, top + _SIDE + 90, _label(confusion), least=_LEAST)
    drawing.words(left, 14, "predicted class, by number →", "soft")
    drawing.words(left - 10, 14, "truth ↓", "soft", anchor="end")
    for value in round_values(0, size - 1, 6):
        place = _SIDE * (value + 0.5) / size
        drawing.words(left + place, top - 10, f"{value:g}", "soft", size=11, anchor="middle")
        drawing.words(left - 10, top + place + 4, f"{value:g}", "soft", size=11, anchor="end")
    corners = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0)]
    outline = [(left + _SIDE * x, top + _SIDE * y) for x, y in corners]
    drawing.line(outline, "line")
    rgba = np.zeros((*share.shape, 4), np.uint8)
    rgba[..., :3] = _DENSITY_COLOUR
    rgba[..., 3] = _opacity(share / strongest if strongest else share)
    drawing.picture((left, top, _SIDE, _SIDE), pictures.address(rgba))
    _density_scale(drawing, left, top + _SIDE + 22, strongest, int(edges[1] - edges[0]))
    return drawing.text()


def _error_share(confusion: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Errors of each block of classes, divided by the samples of the block's rows."""
    size = len(confusion)
    edges = np.linspace(0, size, min(size, _BLOCKS) + 1).round().astype(np.int64)
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    blocks = np.add.reduceat(np.add.reduceat(errors, edges[:-1], axis=0), edges[:-1], axis=1)
    totals = np.add.reduceat(confusion.sum(axis=1), edges[:-1])
    return blocks / np.maximum(totals, 1)[:, None], edges


def _opacity(level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """0 where nothing lies; else from 40 to 255 with the root of the level."""
    visible = np.where(level > 0, 40 + 215 * np.sqrt(level), 0)
    return visible.round().astype(np.uint8)


def _density_scale(drawing: Drawing, x: float, y: float, strongest: float, block: int) -> None:
    bar = np.zeros((1, 64, 4), np.uint8)
    bar[..., :3] = _DENSITY_COLOUR
    bar[..., 3] = _opacity(np.linspace(1e-6, 1, 64))[None]
    drawing.picture((x, y, 160, 10), pictures.address(bar))
    drawing.words(x, y + 26, "0", "soft", size=11)
    drawing.words(x + 160, y + 26, wording.percent(strongest), "soft", size=11, anchor="end")
    drawing.words(x, y + 46, "share of a true class's samples that is named so", "soft")
    if block > 1:
        drawing.words(
            x, y + 63, f"each dot holds about {block} by {block} classes", "soft", size=11
        )
