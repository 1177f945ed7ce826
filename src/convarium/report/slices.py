"""Volumes as pictures: three slices through one place, with heat over them, in true proportions.

    coronal   sagittal        D x W    D x H
    axial                     H x W

A volume that knows its orientation is drawn upright: up is at the top of the first two, the front
at the top of the third and to the right of the second; left is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.data import Volume
from convarium.errors import ShapeError

Floats = NDArray[np.float32]
Place = tuple[int, int, int]

_LONGEST = 224  # pixels of one slice
_SHORTEST = 64
_GAP = 2
_SHARES = (0.5, 99.5)  # per cent of the values that black and white are put at
_MOST_SAMPLED = 1_000_000


class Window(NamedTuple):
    """Values that are shown black and white."""

    black: float
    white: float


def window_of(values: NDArray[np.generic]) -> Window:
    """Black and white at the 0.5th and 99.5th percentile of the finite values."""
    some = np.asarray(values).reshape(-1)
    some = some[:: max(1, some.size // _MOST_SAMPLED)].astype(np.float64)
    some = some[np.isfinite(some)]
    if not some.size:
        return Window(0.0, 1.0)
    low, high = np.percentile(some, _SHARES).tolist()
    if low == high:
        low, high = float(some.min()), float(some.max())
    return Window(low, high if high > low else low + 1.0)


def middle(size: Sequence[int]) -> Place:
    """The place in the middle."""
    depth, height, width = (side // 2 for side in size)
    return depth, height, width


def strongest(heat: Floats) -> Place:
    """The place of the largest value of a map; the middle where nothing is above 0."""
    if not heat.max() > 0:
        return middle(heat.shape)
    depth, height, width = np.unravel_index(int(heat.argmax()), heat.shape)
    return int(depth), int(height), int(width)


def slices_picture(
    volume: Volume, *, at: Place | None = None, window: Window | None = None
) -> NDArray[np.uint8]:
    """Three slices of a volume through one place, as one picture.

    One channel is grey and three are RGB; of others the first is shown.

    Args:
        volume: its spacing gives the proportions, and with an affine it is drawn upright.
        at: (depth, height, width) that all three go through; None is the middle.
        window: what is black and white; None finds it in the values.

    Shape:
        `(h, w, 1)` or `(h, w, 3)`.

    >>> volume = Volume(np.zeros((1, 8, 16, 16), np.int16), spacing=(4.0, 1.0, 1.0))
    >>> slices_picture(volume).shape
    (98, 66, 1)
    """
    shown = volume.values if volume.channels == 3 else volume.values[:1]
    black, white = window_of(shown) if window is None else window
    planes = _planes(shown, at or middle(volume.size), volume.affine is not None)
    grey = [((plane - black) / (white - black)).clip(0, 1) for plane in planes]
    whole = _together(grey, _sizes(volume.size, volume.spacing))
    pixels: NDArray[np.uint8] = np.rint(255 * np.nan_to_num(whole)).astype(np.uint8)
    return pixels.transpose(1, 2, 0)


class Pane(NamedTuple):
    """Where one slice lies in `slices_picture`.

    Args:
        box: left, top, right and bottom, in shares of the picture.
        rows, columns: axes of the volume that go down and across.
        upright: its rows go up instead.
    """

    box: tuple[float, float, float, float]
    rows: int
    columns: int
    upright: bool


def panes(volume: Volume) -> tuple[Pane, ...]:
    """The coronal, the sagittal and the axial slice of `slices_picture`, where they lie in it.

    >>> coronal, sagittal, axial = panes(Volume(np.zeros((1, 8, 8, 8), np.int16)))
    >>> (coronal.rows, coronal.columns), (sagittal.rows, sagittal.columns), axial.box[3]
    ((0, 2), (0, 1), 1.0)
    """
    depth, height, width = _sizes(volume.size, volume.spacing)
    high, wide = depth + _GAP + height, width + _GAP + height
    boxes = (
        ((0, 0, width, depth), 0, 2),
        ((width + _GAP, 0, wide, depth), 0, 1),
        ((0, depth + _GAP, width, high), 1, 2),
    )
    upright = volume.affine is not None
    return tuple(
        Pane((left / wide, top / high, right / wide, bottom / high), rows, columns, upright)
        for (left, top, right, bottom), rows, columns in boxes
    )


def slices_heat(heat: Floats, volume: Volume, at: Place) -> Floats:
    """The same slices of a map, at the places of `slices_picture`'s.

    Args:
        heat: `(D, H, W)`, in [0, 1].
        volume: that the map belongs to, of the same size.
        at: the place.

    Shape:
        `(h, w)`.

    Raises:
        ShapeError: the map has another size.
    """
    if heat.shape != volume.size:
        raise ShapeError(f"heat (of shape {heat.shape}) must have the volume's size {volume.size}.")
    planes = _planes(heat[None], at, volume.affine is not None)
    whole = _together(planes, _sizes(volume.size, volume.spacing))
    return np.ascontiguousarray(whole[0].clip(0, 1), np.float32)


def _planes(values: NDArray[Any], at: Place, upright: bool) -> list[Floats]:
    """Coronal (D, W), sagittal (D, H) and axial (H, W) slices, `(C, h, w)` each."""
    depth, height, width = at
    slices = values[:, :, height], values[:, :, :, width], values[:, depth]
    planes = [plane.astype(np.float32) for plane in slices]
    return [plane[:, ::-1] for plane in planes] if upright else planes


def _sizes(size: Place, spacing: Sequence[float]) -> Place:
    """Pixels along depth, height and width, in proportion to their lengths."""
    lengths = [side * step for side, step in zip(size, spacing, strict=True)]
    longest = max(_SHORTEST, min(_LONGEST, max(size)))
    depth, height, width = (max(1, round(longest * each / max(lengths))) for each in lengths)
    return depth, height, width


def _together(planes: Sequence[Floats], sizes: Place) -> Floats:
    """The three slices at their sizes on one sheet, `(C, h, w)`; the rest is 0."""
    depth, height, width = sizes
    sheet = np.zeros((len(planes[0]), depth + _GAP + height, width + _GAP + height), np.float32)
    sheet[:, :depth, :width] = _scaled(planes[0], (depth, width))
    sheet[:, :depth, width + _GAP :] = _scaled(planes[1], (depth, height))
    sheet[:, depth + _GAP :, :width] = _scaled(planes[2], (height, width))
    return sheet


def _scaled(plane: Floats, size: tuple[int, int]) -> Floats:
    """`(C, *size)`, antialiased; enlarged to the nearest place, so that voxels can be seen."""
    from PIL import Image

    larger = size[0] >= plane.shape[1] and size[1] >= plane.shape[2]
    kind = Image.Resampling.NEAREST if larger else Image.Resampling.BILINEAR
    scaled = [
        np.asarray(Image.fromarray(np.ascontiguousarray(channel)).resize(size[::-1], kind))
        for channel in plane
    ]
    return np.stack(scaled)
