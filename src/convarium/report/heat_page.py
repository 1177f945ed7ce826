"""The page of `convarium explain`: pictures with their heatmaps, and what these are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.errors import OptionError
from convarium.report.faithful import score_rows
from convarium.report.pictures import Picture, figure
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from convarium.explain.controls import Controlled


def heatmap_page(
    path: str | Path,
    pictures: Sequence[Picture],
    title: str,
    *,
    about: str = "",
    shows: str = "",
    shared: bool = False,
    scores: Mapping[str, Controlled] | None = None,
) -> Path:
    """Write pictures with their heatmaps as one HTML file that needs nothing else, atomically.

    Args:
        path: the HTML file.
        pictures: at least one.
        title: heading of the page.
        about: how the heatmaps were made, below the heading.
        shows: what the heat marks, as half a sentence; "": evidence for the class.
        shared: whether they all have one scale.
        scores: measures of faithfulness over the samples, by their names.

    Raises:
        OptionError: there is no picture.
        RunError: the file cannot be written.
    """
    if not pictures:
        raise OptionError("pictures (=[]) must hold at least one picture.")
    heatmaps = [figure(picture) for picture in pictures]
    return write_filled(
        path,
        "heatmaps.html.jinja",
        title=title,
        about=about,
        heatmaps=heatmaps,
        shows=shows,
        shared=shared,
        scores=score_rows(scores or {}),
    )
