"""Samples of a data set as the page shows them: a picture, a text, or a drawing."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from convarium.data import Dataset, Volume
from convarium.errors import DataError
from convarium.report import draw_series, slices_picture
from convarium.report.pictures import address, fit
from convarium.report.series import plain_series
from convarium.studio.answers import svg_address

_CHARACTERS: Final = 600  # of a text
_SMALL: Final = 160


def sample_shown(dataset: Dataset, i: int, name: str = "") -> dict[str, Any]:
    """A sample as one of `picture`, `text` and `drawing`, or why it cannot be shown.

    Args:
        dataset: holds it.
        i: its number.
        name: that it had when the run was trained; another one now says that the data changed.
    """
    if i >= len(dataset) or (name and dataset.name(i) != name):
        return {"problem": "The data has changed since the run was trained."}
    try:
        sample = dataset.read(i)
    except DataError as error:
        return {"problem": str(error)}
    if isinstance(sample, str):
        cut = sample if len(sample) <= _CHARACTERS else sample[:_CHARACTERS] + "…"
        return {"text": cut}
    if dataset.kind == "series":
        return {"drawing": svg_address(draw_series(plain_series(dataset, i, name)))}
    pixels = slices_picture(sample) if isinstance(sample, Volume) else sample
    small = max(pixels.shape[:2]) < _SMALL
    shown = np.ascontiguousarray(pixels if small else fit(pixels))
    return {"picture": address(shown), "small": small}
