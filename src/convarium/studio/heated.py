"""The heat of texts, series and volumes as the page shows it, and which places a click means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np

from convarium.data import Volume, VolumePreprocessing
from convarium.explain import Attribution
from convarium.explain.methods import METHODS
from convarium.explain.painting import heat_colours, signed_colours
from convarium.predict import Run
from convarium.report import draw_series, explain_samples
from convarium.report.explained import seen_by
from convarium.report.explained_sequences import explain_sequences
from convarium.report.pictures import address
from convarium.report.sequences import SPAN, HeatedSeries
from convarium.report.series import along
from convarium.report.slices import panes, slices_heat, slices_picture, strongest
from convarium.report.texts import heated_text
from convarium.studio.answers import svg_address
from convarium.studio.given import Given


def _along(
    run: Run, given: Given, asked: Mapping[str, Any], heat: Attribution | None
) -> dict[str, Any]:
    """Heat along a text or a series; of an attribution that is given, with its signs."""
    found = explain_sequences(run, given.alone, most=1, **asked)
    (drawn,), (row,) = found.sequences, found.rows
    told, signs = _told_of(row, heat), None if heat is None else heat.signed()[0].numpy()
    if isinstance(drawn, HeatedSeries):
        if signs is not None:
            drawn = replace(drawn, heat=along(signs, drawn.values.shape[1]), signed=True)
        left, right = SPAN
        pane = {"box": [left, 0.0, right, 1.0], "rows": None, "columns": 0, "upright": False}
        return {**told, "drawing": svg_address(draw_series(drawn)), "panes": [pane]}
    if signs is not None:  # the part around what is strongest, on either side
        drawn, _ = heated_text(run, given.alone, 0, signs, drawn.title, drawn.note)
    return {
        **told,
        "tokens": list(drawn.tokens),
        "heat": drawn.heat.tolist(),
        "first": drawn.first,
        "length": len(row["tokens"]),
    }


def _slices(
    run: Run, given: Given, asked: Mapping[str, Any], heat: Attribution | None
) -> dict[str, Any]:
    """Slices of a volume through its strongest heat; of an attribution, with its signs."""
    found = explain_samples(run, given.alone, most=1, **asked)
    (picture,), (row,), (values,) = found.pictures, found.rows, found.maps
    seen = cast("Volume", seen_by(run.preprocessing, given.value))
    image, about = picture.image, picture.note
    if heat is None:
        at = strongest(values)
        colours = heat_colours(slices_heat(values, seen, at))
    else:
        signs = heat.signed()[0].numpy()
        at = strongest(np.abs(signs))
        image = slices_picture(seen, at=at)
        depth, height, width = cast("VolumePreprocessing", run.preprocessing).voxel(at, given.value)
        about = f"predicted {row['prediction']}; depth {depth}, height {height}, width {width}"
        parts = (slices_heat(side.clip(0, 1), seen, at) for side in (signs, -signs))
        colours = signed_colours(next(parts) - next(parts))
    return {
        **_told_of(row, heat),
        "below": address(image),
        "about": about,
        "picture": address(np.rint(255 * colours).astype(np.uint8)),
        "panes": [pane._asdict() for pane in panes(seen)],
        "at": [(i + 0.5) / n for i, n in zip(at, seen.size, strict=True)],
    }


def _told_of(row: Mapping[str, Any], heat: Attribution | None) -> dict[str, Any]:
    """What is said of a heatmap that the report's functions made, and of its raw values."""
    known = METHODS[row["method"]]
    told = {key: row[key] for key in ("target", "logit", "method", "layer", "status", "note")}
    shows = known.shows or "evidence for the class"
    told |= {
        "title": known.title,
        "shows": shows,
        "layered": known.layered,
        "raw": heat is not None,
    }
    if heat is None:
        return told
    values = heat.values[0].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return {**told, "low": float(values.min()), "high": float(values.max())}


#: How the heat of what is no image is drawn.
HEATED: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "texts": _along,
    "series": _along,
    "volumes": _slices,
}
