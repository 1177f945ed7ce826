"""One sample as a picture, by its number: no path can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convarium import report
from convarium.errors import OptionError
from convarium.report import pictures
from convarium.report.maps import Scale, field_map
from convarium.report.series import plain_series
from convarium.studio.answers import Answer

if TYPE_CHECKING:
    from convarium.data import Dataset
    from convarium.data.grids.samples import FieldPair, GridSamples

_LEAST: Final = 8
_SIDE: Final = 320


def drawn(dataset: Dataset, id: int, side: int) -> Answer:
    """A sample as PNG; a series as SVG; of fields the coarse one beside the fine one.

    Small pictures are enlarged by a whole factor, so that each pixel is a square.

    Args:
        dataset: holds it.
        id: its number.
        side: the longer one in pixels, at most.

    Raises:
        OptionError: there is no such sample, or none of its kind is drawn.
        DataError: it cannot be read.
    """
    if not 0 <= id < len(dataset):
        raise OptionError(f"id (={id}) must be from 0 to {len(dataset) - 1}.")
    if not _LEAST <= side <= _SIDE:
        raise OptionError(f"side (={side}) must be from {_LEAST} to {_SIDE}.")
    if dataset.kind == "texts":
        raise OptionError("Texts are read, not drawn.")
    if dataset.kind == "series":
        svg = report.draw_series(plain_series(dataset, id, dataset.name(id)))
        return Answer("image/svg+xml", svg.encode("utf-8", "replace"))
    pixels = _pixels(dataset, id)
    small = Image.fromarray(pictures.colour(pixels))
    factor = side // max(pixels.shape[:2])
    if factor > 1:
        large = (small.width * factor, small.height * factor)
        small = small.resize(large, Image.Resampling.NEAREST)
    small.thumbnail((side, side))
    return Answer("image/png", pictures.png(np.asarray(small)))


def _pixels(dataset: Dataset, id: int) -> NDArray[np.uint8]:
    """The sample as one picture, uint8 `(H, W, C)`."""
    read = dataset.read(id)
    if dataset.kind == "volumes":
        return report.slices_picture(read)
    if dataset.kind == "grids":
        return _fields(dataset, read)
    pixels: NDArray[np.uint8] = read
    return pixels


def _fields(dataset: Dataset, pair: FieldPair) -> NDArray[np.uint8]:
    """The first target, coarse and fine, under one scale of colours."""
    pairs = cast("GridSamples", dataset.samples).pairs
    scale = Scale.of(pair.coarse[0], pair.fine[0])
    latitude = pairs.fine.grid.latitude
    coarse = field_map(pair.coarse[0], scale, "", latitude=latitude, factor=pairs.factor).image
    fine = field_map(pair.fine[0], scale, "", latitude=latitude).image
    high = min(len(coarse), len(fine))
    between = np.full((high, 2, 3), 255, np.uint8)
    return np.concatenate([coarse[:high], between, fine[:high]], axis=1)
