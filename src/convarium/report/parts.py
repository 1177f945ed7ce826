"""Names of a network's parts under an axis on which its layers stand in the order of execution."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from convarium.report import wording
from convarium.report.svg import Axis, Drawing

_SMALL = 11.0
_MOST = 14
_LONGEST = 20  # letters of a name


def name_parts(drawing: Drawing, layers: Sequence[str], across: Axis, low: float) -> None:
    """Names of parts under the axis, the longest parts first, as many as have room.

    Args:
        drawing: to draw into.
        layers: dotted names, in order; layer k takes the axis from k to k + 1.
        across: from 0 to the number of layers.
        low: height of the axis, in pixels.
    """
    left_end, right_end = across(across.low), across(across.high)
    taken: list[tuple[float, float]] = []
    drawing.line([(left_end, low), (right_end, low)], "soft")
    parts = _parts(layers)
    ends = [start for start, _ in parts[1:]] + [len(layers)]
    for (start, name), _ in sorted(zip(parts, ends, strict=True), key=lambda p: p[0][0] - p[1]):
        x, text = across(start), wording.shorten(name, _LONGEST)
        wide = wording.width(text, _SMALL)
        left = min(x, right_end - wide)
        if all(left >= end + 8 or left + wide + 8 <= begin for begin, end in taken):
            drawing.line([(x, low), (x, low + 6)], "soft")
            drawing.words(left, low + 19, text, "soft", size=_SMALL, tip=name)
            taken.append((left, left + wide))


def _parts(names: Sequence[str]) -> list[tuple[int, str]]:
    """Where each part of the network begins: as deep in the names as few parts allow."""
    plain = [name.partition(":")[0] or name.lstrip(":") for name in names]
    chosen: list[tuple[int, str]] = []
    for depth in range(1, 1 + max(name.count(".") + 1 for name in plain)):
        cut = [".".join(name.split(".")[:depth]) for name in plain]
        runs = [list(run) for _, run in groupby(range(len(cut)), key=lambda k: cut[k])]
        found = [(run[0], cut[run[0]]) for run in runs]
        if chosen and len(found) > _MOST:
            break
        chosen = found
    return chosen
