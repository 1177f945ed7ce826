"""How long a network takes, as an SVG: by batch size, and layer by layer."""

from __future__ import annotations

from collections.abc import Iterator

from convarium.measure.layer_times import LayerTime, Profile
from convarium.measure.speed import BatchLatency, Latency
from convarium.report import wording
from convarium.report.panels import Line, draw_grid, draw_panel
from convarium.report.parts import name_parts
from convarium.report.svg import Axis, Drawing

_WIDTH, _MARGIN, _GAP = 820.0, 20.0, 20.0
_LEFT, _RIGHT = 74.0, 32.0  # of the columns' axis
_HEAD, _CURVES, _COLUMNS = 64.0, 250.0, 290.0  # heights of the three parts
_SIZE, _SMALL = 12.0, 11.0
_COLOURS = ("accent", "miss", "ink")  # of the kinds that take longest
_OTHERS = "band"
_LONGEST = 18  # letters of a kind
BAND = "Tinted: from the 10th to the 90th percentile of the passes."


def draw_latency(found: Latency, title: str, profile: Profile | None = None) -> str:
    """Milliseconds a sample and samples a second by batch size, and the time of each layer.

    The curves are left out where there is a profile and only one batch size.

    Args:
        found: as `measure.latency` gives it.
        title: the network's name.
        profile: as `measure.profile` gives it; None leaves the layers out.
    """
    rows = sorted(found.rows, key=lambda row: row.batch_size)
    curves = len(rows) > 1 or profile is None
    height = _HEAD + curves * (_CURVES + 24) + (profile is not None) * _COLUMNS
    drawing = Drawing(_WIDTH, height, _told(rows, title), least=0.6)
    drawing.rectangle((0, 0, _WIDTH, height), "card", corner=6)
    drawing.words(_MARGIN, 28, wording.shorten(f"{title}: latency", 80), size=16, weight=600)
    drawing.words(_MARGIN, 48, wording.shorten(_conditions(found), 114), "soft", size=_SMALL)
    if curves:
        _curves(drawing, rows, _HEAD)
    if profile is not None:
        _layers(drawing, profile, height - _COLUMNS)
    return drawing.text()


def _curves(drawing: Drawing, rows: list[BatchLatency], top: float) -> None:
    """Two panels side by side, and what the band is."""
    wide = (_WIDTH - 2 * _MARGIN - _GAP) / 2
    each = [
        (float(n := row.batch_size), row.p10_ms / n, row.median_ms / n, row.p90_ms / n)
        for row in rows
    ]
    rates = [
        (
            float(n := row.batch_size),
            1e3 * n / row.p90_ms,
            1e3 * n / row.median_ms,
            1e3 * n / row.p10_ms,
        )
        for row in rows
    ]
    for k, (heading, points) in enumerate(
        (("milliseconds a sample", each), ("samples a second", rates))
    ):
        draw_panel(
            drawing,
            (_MARGIN + k * (wide + _GAP), top, wide, _CURVES),
            [Line(heading, points, dot=3.0)],
            heading=heading.capitalize(),
            across="samples in a batch",
            ticks=[row.batch_size for row in rows],
            logarithmic=(True, False),
        )
    drawing.words(_MARGIN, top + _CURVES + 12, BAND, "soft", size=_SMALL)


def _layers(drawing: Drawing, found: Profile, top: float) -> None:
    """A column for each call of each layer, in the order of execution, coloured by its kind."""
    n, plural = found.input_shape[0], "s" if found.input_shape[0] > 1 else ""
    heading = (
        f"Milliseconds in each layer, {n} sample{plural}: {wording.number(found.total_ms)} in all"
    )
    drawing.words(_MARGIN, top + 14, heading, size=13, weight=600)
    colours = _kinds(drawing, found, top + 34)
    low = top + _COLUMNS - 58
    if not found.rows:
        drawing.words(_MARGIN, top + 80, "No layer ran.", "soft", size=_SIZE)
        return
    across = Axis(0, len(found.rows), _LEFT, _WIDTH - _RIGHT)
    most = max(row.median_ms for row in found.rows)
    up = Axis(0, 1.06 * most if most > 0 else 1.0, low, top + 64)
    draw_grid(drawing, (_LEFT, _WIDTH - _RIGHT), up)
    step = (_WIDTH - _RIGHT - _LEFT) / len(found.rows)
    for k, row in enumerate(found.rows):
        box = (across(k), up(row.median_ms), max(0.86 * step, 0.7), low - up(row.median_ms))
        drawing.rectangle(
            box, colours.get(row.kind, _OTHERS), tip=f"{_called(row)}, {row.kind}: {_time(row)}"
        )
    name_parts(drawing, [row.layer or "(the model)" for row in found.rows], across, low)
    slowest = sorted(found.rows, key=lambda row: -row.median_ms)[:3]
    words = "; ".join(f"{wording.shorten(_called(row), 30)} {_time(row)}" for row in slowest)
    words = wording.shorten(f"Longest: {words}", 114)
    drawing.words(_MARGIN, top + _COLUMNS - 14, words, "soft", size=_SMALL)


def _kinds(drawing: Drawing, found: Profile, y: float) -> dict[str, str]:
    """The key: what each kind of layer takes of the whole, the longest first; gives the colours."""
    shares: dict[str, float] = {}
    for row in found.rows:
        shares[row.kind] = shares.get(row.kind, 0.0) + row.share
    ranked = sorted(shares, key=lambda kind: -shares[kind])
    colours = dict(zip(ranked, _COLOURS, strict=False))
    x = _MARGIN
    for colour, words in _entries(ranked, shares, found.between_share):
        wide = 16 + wording.width(words, _SMALL)
        if x + wide > _WIDTH - _MARGIN:
            x, y = _MARGIN, y + 16
        if colour:
            drawing.rectangle((x, y - 9, 10, 10), colour)
        drawing.words(x + 16 * bool(colour), y, words, "soft", size=_SMALL)
        x += wide + 18
    return colours


def _entries(
    ranked: list[str], shares: dict[str, float], between: float
) -> Iterator[tuple[str, str]]:
    """Colour and words of each entry of the key; none for what has no columns."""
    for kind, colour in zip(ranked, _COLOURS, strict=False):
        yield colour, f"{wording.shorten(kind, _LONGEST)} {wording.percent(shares[kind])}"
    rest = ranked[len(_COLOURS) :]
    if rest:
        share = wording.percent(sum(shares[kind] for kind in rest))
        yield _OTHERS, f"{len(rest)} other kind{'s' if len(rest) > 1 else ''} {share}"
    yield "", f"between the layers {wording.percent(max(between, 0.0))}"


def _called(row: LayerTime) -> str:
    again = f" (call {row.call + 1})" if row.call else ""
    return f"{row.layer or '(the model)'}{again}"


def _time(row: LayerTime) -> str:
    return f"{wording.number(row.median_ms)} ms, {wording.percent(row.share)}"


def _conditions(found: Latency) -> str:
    """What the times hold for."""
    plural = "s" if found.threads > 1 else ""
    shape = "x".join(map(str, found.input_shape[1:]))
    where = found.processor if found.device == "cpu" else f"{found.processor} ({found.device})"
    words = f"input {shape}, {found.threads} thread{plural} on {where}, {found.dtype}, "
    words += f"torch {found.torch}"
    if len(found.rows) > 1:
        return words
    row = found.rows[0]
    return f"{wording.number(row.median_ms)} ms a pass of {row.batch_size} (n = {row.n}); {words}"


def _told(rows: list[BatchLatency], title: str) -> str:
    """The picture in words, for those who cannot see it."""
    told = [f"{wording.number(row.median_ms)} ms for {row.batch_size}" for row in rows]
    return f"{title}: the time of a pass by batch size: {'; '.join(told)}"
