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
from convarium.report.long_curves import columns_of, limits_of, stretches
from convarium.report.pictures import Picture, address, figure
from convarium.report.svg import Axis, Drawing
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from convarium.explain.controls import Controlled

Floats = NDArray[np.float32]

WIDTH, _LEFT, _RIGHT = 720.0, 52.0, 12.0
_PANEL, _GAP, _TOP, _BAND, _FOOT = 92.0, 14.0, 8.0, 12.0, 34.0
#: The time axis of a drawn series, in shares of the drawing's width.
SPAN = (_LEFT / WIDTH, 1 - _RIGHT / WIDTH)
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
        shared: one scale of values for all curves; otherwise each has its own.
        scale: whether a scale of colours belongs to the heat; not where it only marks a part.

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
    shared: bool = False
    scale: bool = True

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
        scale: whether a scale of colours belongs to the heat; not where the title says it.

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
    scale: bool = True

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

    Without any heat there is no band, nor where it has no scale. What speaks against the class is
    blue.

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
    heated = (steps, heat, 1 if series.scale else 0)
    for k in range(channels):
        top = _TOP + k * (_PANEL + _GAP)
        name = series.channels[k] if series.channels else ""
        limits = limits_of(series.values if series.shared else series.values[k])
        _curve(drawing, series.values[k], heated, across, (top, name, limits))
    band = height - _FOOT - _BAND
    if has_scale(series):
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
    heated: tuple[Floats, Floats, int],
    across: Axis,
    place: tuple[float, str, tuple[float, float]],
) -> None:
    """One curve in its panel: thin all along, and thick over it where there is heat.

    The last of `heated` is how many columns before the heat the thick line begins.
    """
    steps, heat, before = heated
    top, name, (low, high) = place
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
        for begin, end, level in stretches([level for _, _, level in run]):
            strength = abs(level) / _LEVELS
            if colour := _colour_of(level):
                piece = points[max(0, begin - before) : end]
                piece = piece if len(piece) > 1 else 2 * piece
                drawing.line(piece, colour, thick=1.2 + 2.4 * strength, strength=strength)


def _colour_of(level: int) -> str:
    """The colour of a level of heat; "" of one that is too faint."""
    return "" if abs(level) <= _FAINT * _LEVELS else ("miss" if level > 0 else "hit")


def shown(sample: Picture | HeatedSeries | HeatedTokens) -> dict[str, Any]:
    """What a template shows of a sample of any kind."""
    return figure(sample) if isinstance(sample, Picture) else shown_sequence(sample)


def shown_sequence(sequence: HeatedSeries | HeatedTokens) -> dict[str, Any]:
    """What a template shows of a sequence."""
    told = {
        "title": sequence.title,
        "note": sequence.note,
        "drawing": "",
        "tokens": [],
        "heated": has_scale(sequence),
    }
    if isinstance(sequence, HeatedSeries):
        return {**told, "drawing": draw_series(sequence)}
    pairs = zip(sequence.tokens, np.asarray(sequence.heat).tolist(), strict=True)
    tokens = [
        {
            "text": token,
            "value": f"{value:+.2f}",
            "colour": f"{side_colour(value)} / {_TINT * abs(value):.3f}",
        }
        for token, value in pairs
    ]
    signed = bool(np.min(sequence.heat) < 0)
    return {**told, "tokens": tokens, "signed": signed}


def has_scale(sequence: HeatedSeries | HeatedTokens) -> bool:
    """Whether a scale of colours belongs to it, and there is heat."""
    return sequence.scale and bool(np.any(sequence.heat))


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
