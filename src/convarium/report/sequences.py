"""Heat along a sequence: over the curve of a series, or behind the tokens of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError, ShapeError
from convarium.explain.painting import heat_colours, signed_colours
from convarium.report import wording
from convarium.report.faithful import score_rows
from convarium.report.pictures import address
from convarium.report.svg import Axis, Drawing
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from convarium.explain.controls import Controlled

Floats = NDArray[np.float32]

WIDTH, _LEFT, _RIGHT = 720.0, 52.0, 12.0
_PANEL, _GAP, _TOP, _BAND, _FOOT = 92.0, 14.0, 8.0, 12.0, 34.0
#: The time axis of a drawn series, in shares of the drawing's width.
SPAN = (_LEFT / WIDTH, 1 - _RIGHT / WIDTH)
_COLUMNS = 720  # of a longer series each column has the smallest and the largest of several steps
_LEVELS = 12
_FAINT = 0.04
_TINT = 0.6  # of the strongest token's background, so that its word can be read
_FOR, _AGAINST = (216, 105, 43), (29, 95, 138)


@dataclass(frozen=True, eq=False)
class HeatedSeries:
    """A series with its heat.

    Args:
        values: `(C, T)`, a curve a channel; what is not finite is left out.
        heat: `(T,)` in [0, 1], or in [-1, 1] where it is signed.
        title: what it is, such as the class named.
        note: the rest of what is to be said.
        channels: names of the curves.
        group: heading of the series that it stands among.
        signed: whether the heat below 0 speaks against the class.

    Raises:
        ShapeError: the heat has another length, or there are not as many names as curves.
        OptionError: the heat leaves its range or is not finite.
    """

    values: Floats
    heat: Floats
    title: str
    note: str = ""
    channels: Sequence[str] = ()
    group: str = ""
    signed: bool = False

    def __post_init__(self) -> None:
        shape = np.shape(self.values)
        if len(shape) != 2 or 0 in shape or np.shape(self.heat) != shape[1:]:
            raise ShapeError(
                f"values (of shape {shape}) must be (C, T), and heat (of shape "
                f"{np.shape(self.heat)}) (T,)."
            )
        if self.channels and len(self.channels) != shape[0]:
            raise ShapeError(f"channels has {len(self.channels)} names for {shape[0]} curves.")
        _check(self.heat, -1 if self.signed else 0)


@dataclass(frozen=True, eq=False)
class HeatedTokens:
    """A text as tokens, each with its heat.

    Args:
        tokens: as they are to be read, T of them; blanks in them are kept.
        heat: `(T,)` in [0, 1], or in [-1, 1] where what speaks against the class is shown too.
        title: what it is, such as the class named.
        note: the rest of what is to be said.
        group: heading of the texts that it stands among.
        first: number in the text of the first token here, from 0.

    Raises:
        ShapeError: another number of tokens than of values.
        OptionError: the heat leaves [-1, 1] or is not finite.
    """

    tokens: Sequence[str]
    heat: Floats
    title: str
    note: str = ""
    group: str = ""
    first: int = 0

    def __post_init__(self) -> None:
        if np.shape(self.heat) != (len(self.tokens),) or not len(self.tokens):
            raise ShapeError(
                f"heat (of shape {np.shape(self.heat)}) must have one value for each of the "
                f"{len(self.tokens)} tokens."
            )
        _check(self.heat, -1)


def sequence_page(
    path: str | Path,
    sequences: Sequence[HeatedSeries | HeatedTokens],
    title: str,
    *,
    about: str = "",
    shows: str = "",
    shared: bool = False,
    scores: Mapping[str, Controlled] | None = None,
) -> Path:
    """Write series and texts with their heat as one HTML file that needs nothing else, atomically.

    Args:
        path: the HTML file.
        sequences: at least one.
        title: heading of the page.
        about: how the heat was made, below the heading.
        shows: what the heat marks, as half a sentence; "": evidence for the class.
        shared: whether they all have one scale.
        scores: measures of faithfulness over the samples, by their names.

    Raises:
        OptionError: there is none.
        RunError: the file cannot be written.
    """
    if not sequences:
        raise OptionError("sequences (=[]) must hold at least one series or text.")
    shown = [shown_sequence(each) for each in sequences]
    return write_filled(
        path,
        "sequences.html.jinja",
        sequences=shown,
        title=title,
        about=about,
        shows=shows,
        shared=shared,
        scores=score_rows(scores or {}),
        words=any(isinstance(each, HeatedTokens) for each in sequences),
    )


def draw_series(series: HeatedSeries) -> str:
    """The curves of a series as one SVG, thick and coloured where the heat is, over a heat band.

    Without any heat there is no band. What speaks against the class is blue.

    Args:
        series: of any length; each column of a long one spans several time steps.

    >>> draw_series(HeatedSeries(np.zeros((1, 9), "f4"), np.ones(9, "f4"), "up"))[:4]
    '<svg'
    """
    channels, length = series.values.shape
    height = _TOP + channels * (_PANEL + _GAP) + _BAND + _FOOT
    label = f"{series.title}: {channels} curves of {length} time steps"
    label += " with their heat" if np.any(series.heat) else ""
    drawing = Drawing(WIDTH, height, label, least=0.6)
    across = Axis(0, max(1, length - 1), _LEFT, WIDTH - _RIGHT)
    steps, lowest, highest = columns_of(series.heat)
    heat = np.where(-lowest > highest, lowest, highest)
    for k in range(channels):
        top = _TOP + k * (_PANEL + _GAP)
        name = series.channels[k] if series.channels else ""
        _curve(drawing, series.values[k], (steps, heat), across, (top, name))
    band = height - _FOOT - _BAND
    if heat.any():
        shares = signed_colours(heat[None]) if series.signed else heat_colours(heat[None])
        colours = np.rint(255 * shares).astype(np.uint8)
        box = (_LEFT, band, WIDTH - _RIGHT - _LEFT, _BAND)
        drawing.picture(box, address(colours))
    for tick in [tick for tick in across.ticks(8) if tick == round(tick)]:
        drawing.words(
            across(tick), band + _BAND + 15, f"{tick:g}", "soft", size=11, anchor="middle"
        )
    drawing.words(WIDTH - _RIGHT, band + _BAND + 29, "time step", "soft", size=11, anchor="end")
    return drawing.text()


def _curve(
    drawing: Drawing,
    values: Floats,
    heated: tuple[Floats, Floats],
    across: Axis,
    place: tuple[float, str],
) -> None:
    """One curve in its panel: thin all along, and thick over it where there is heat."""
    steps, heat = heated
    top, name = place
    low, high = limits_of(values)
    down = Axis(low, high, top + _PANEL - 4, top + (18 if name else 4))
    drawing.line([(_LEFT, top + _PANEL), (WIDTH - _RIGHT, top + _PANEL)], "line")
    for value, y in ((high, down(high) + 8), (low, top + _PANEL - 3)):
        drawing.words(_LEFT - 8, y, wording.number(value), "soft", size=11, anchor="end")
    if name:
        drawing.words(_LEFT + 4, top + 11, wording.shorten(name, 40), "soft", size=11)
    _, smallest, largest = columns_of(values)
    runs: list[list[tuple[float, float, int]]] = [[]]
    levels = np.copysign(np.ceil(_LEVELS * np.abs(heat)), heat).astype(int)
    for column, level in enumerate(levels.tolist()):
        edges = sorted({float(smallest[column]), float(largest[column])})
        if not np.isfinite(edges).all():
            runs.append([])
            continue
        runs[-1] += [(across(float(steps[column])), down(edge), level) for edge in edges]
    for run in filter(None, runs):
        points = [(x, y) for x, y, _ in run]
        if len(points) == 1:  # a step between holes, or a series of one
            drawing.dot(*points[0], _colour_of(run[0][2]) or "soft", 2.2)
            continue
        drawing.line(points, "soft", thick=1.2)
        for begin, end, level in _pieces([level for _, _, level in run]):
            strength = abs(level) / _LEVELS
            if colour := _colour_of(level):
                piece = points[max(0, begin - 1) : end]
                drawing.line(piece, colour, thick=1.2 + 2.4 * strength, strength=strength)


def _colour_of(level: int) -> str:
    """The colour of a level of heat; "" of one that is too faint."""
    return "" if abs(level) <= _FAINT * _LEVELS else ("miss" if level > 0 else "hit")


def _pieces(levels: list[int]) -> list[tuple[int, int, int]]:
    """(begin, end, level) of the stretches of equal levels."""
    starts = [k for k in range(len(levels)) if k == 0 or levels[k] != levels[k - 1]]
    return [
        (begin, end, levels[begin])
        for begin, end in zip(starts, [*starts[1:], len(levels)], strict=True)
    ]


def columns_of(values: NDArray[Any], most: int = _COLUMNS) -> tuple[Floats, Floats, Floats]:
    """Middle step, smallest and largest value of each column of a curve `(T,)`.

    >>> [column.tolist() for column in columns_of(np.array([3, 1, 2, 5]), most=2)]
    [[0.5, 2.5], [1.0, 2.0], [3.0, 5.0]]
    """
    length = len(values)
    edges = np.unique(np.linspace(0, length, min(length, most) + 1).round().astype(int))
    steps = ((edges[:-1] + edges[1:] - 1) / 2).astype(np.float32)
    smallest = np.minimum.reduceat(values, edges[:-1]).astype(np.float32)
    largest = np.maximum.reduceat(values, edges[:-1]).astype(np.float32)
    return steps, smallest, largest


def limits_of(values: Floats) -> tuple[float, float]:
    """Smallest and largest finite value, apart from each other."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def shown_sequence(sequence: HeatedSeries | HeatedTokens) -> dict[str, Any]:
    """What a template shows of a sequence."""
    told = {"title": sequence.title, "note": sequence.note, "drawing": "", "tokens": []}
    if isinstance(sequence, HeatedSeries):
        return {**told, "drawing": draw_series(sequence), "heated": bool(np.any(sequence.heat))}
    pairs = zip(sequence.tokens, np.asarray(sequence.heat).tolist(), strict=True)
    tokens = [
        {
            "text": token,
            "value": f"{value:+.2f}",
            "colour": f"{side_colour(value)} / {_TINT * abs(value):.3f}",
        }
        for token, value in pairs
    ]
    heat = np.asarray(sequence.heat)
    return {**told, "tokens": tokens, "signed": bool((heat < 0).any()), "heated": bool(heat.any())}


def side_colour(value: float) -> str:
    """The colour of what speaks for a class, or against it, for a style."""
    return " ".join(map(str, _FOR if value >= 0 else _AGAINST))


def token_tints(heat: NDArray[Any]) -> NDArray[np.float64]:
    """RGB in [0, 1] of what is behind a token of each value in [-1, 1], on white paper.

    >>> token_tints(np.array([0.0, 1.0])).round(2).tolist()
    [[1.0, 1.0, 1.0], [0.91, 0.65, 0.5]]
    """
    values = np.asarray(heat, np.float64)[..., None]
    full = np.where(values >= 0, np.array(_FOR), np.array(_AGAINST)) / 255
    share = _TINT * np.abs(values)
    return np.asarray((1 - share) + share * full)


def _check(heat: Floats, least: int) -> None:
    low, high = float(np.min(heat)), float(np.max(heat))
    if not (low >= least and high <= 1):
        raise OptionError(f"heat (from {low:g} to {high:g}) must lie in [{least}, 1].")
