"""The heat of texts, series and volumes as the page shows it, and which places a click means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import numpy as np

from convarium.data import Volume
from convarium.explain.methods import METHODS
from convarium.explain.painting import heat_colours
from convarium.predict import Run
from convarium.report import draw_series, explain_samples
from convarium.report.explained import seen_by
from convarium.report.explained_sequences import explain_sequences
from convarium.report.pictures import address
from convarium.report.sequences import SPAN, HeatedSeries
from convarium.report.slices import panes, strongest
from convarium.studio.answers import svg_address
from convarium.studio.given import Given


def _along(run: Run, given: Given, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Heat along a text or a series."""
    found = explain_sequences(run, given.alone, most=1, **asked)
    (drawn,), (row,) = found.sequences, found.rows
    told = _told_of(row)
    if isinstance(drawn, HeatedSeries):
        left, right = SPAN
        pane = {"box": [left, 0.0, right, 1.0], "rows": None, "columns": 0, "upright": False}
        return {**told, "drawing": svg_address(draw_series(drawn)), "panes": [pane]}
    return {
        **told,
        "tokens": list(drawn.tokens),
        "heat": drawn.heat.tolist(),
        "first": drawn.first,
        "length": len(row["tokens"]),
    }


def _slices(run: Run, given: Given, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Slices of a volume through its strongest heat."""
    found = explain_samples(run, given.alone, most=1, **asked)
    (picture,), (row,), (values,) = found.pictures, found.rows, found.maps
    flat = np.zeros(picture.image.shape[:2]) if picture.heat is None else picture.heat
    seen = cast("Volume", seen_by(run.preprocessing, given.value))
    return {
        **_told_of(row),
        "below": address(picture.image),
        "about": picture.note,
        "picture": address(np.rint(255 * heat_colours(flat)).astype(np.uint8)),
        "raw": False,
        "panes": [pane._asdict() for pane in panes(seen)],
        "at": [(i + 0.5) / n for i, n in zip(strongest(values), seen.size, strict=True)],
    }


def _told_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a heatmap that the report's functions made."""
    known = METHODS[row["method"]]
    told = {key: row[key] for key in ("target", "logit", "method", "layer", "status", "note")}
    shows = known.shows or "evidence for the class"
    return {**told, "title": known.title, "shows": shows, "layered": known.layered}


#: How the heat of what is no image is drawn.
HEATED: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "texts": _along,
    "series": _along,
    "volumes": _slices,
}
