"""Pictures as they are put on a page: whole pixels, a stated size, no file beside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError, ShapeError

SMALLEST_SIDE = 160
LARGEST_SIDE = 448
_LOSSLESS_UP_TO = 65_536
_HEAT_COLOURS = "inferno"
_HEAT_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with what is to be said about it.

    Args:
        image: uint8 `(H, W, C)`, C 1 (grey) or 3 (RGB).
        title: what it is, such as the class named.
        note: the rest of what is to be said, such as the truth and the confidence.
        heat: a map in [0, 1], `(h, w)`, of any size, or None.

    Raises:
        ShapeError: the image is not uint8 `(H, W, 1)` or `(H, W, 3)`, or the map has not two axes.
        OptionError: the map leaves [0, 1] or is not finite.
    """

    image: NDArray[np.uint8]
    title: str
    note: str = ""
    heat: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.image.shape
        if self.image.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
            raise ShapeError(
                f"image (of shape {shape}, {self.image.dtype}) must be uint8 (H, W, 1 or 3)."
            )
        if self.heat is not None:
            _check_heat(self.heat)


def _check_heat(heat: NDArray[np.float32]) -> None:
    if heat.ndim != 2 or heat.size == 0:
        raise ShapeError(f"heat (of shape {heat.shape}) must have two axes, (h, w).")
    low, high = float(heat.min()), float(heat.max())
    if not (low >= 0 and high <= 1):
        raise OptionError(
            f"heat (from {low:g} to {high:g}) must lie in [0, 1]; Attribution.display() gives such."
        )


def colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with three channels."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def blend(image: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The heat's colours over the image in grey: 0.4 grey + 0.6 colour(heat).

    The image loses its own colours, so that every colour left is one of the scale.

    Args:
        image: uint8 `(H, W, C)`.
        heat: `(h, w)` in [0, 1]; brought to `(H, W)` by linear interpolation.

    Shape:
        `(H, W, 3)`, uint8.
    """
    from PIL import Image

    height, width = image.shape[:2]
    if heat.shape != (height, width):
        floats = Image.fromarray(np.ascontiguousarray(heat, np.float32))
        resized = floats.resize((width, height), Image.Resampling.BILINEAR)
        heat = np.asarray(resized).clip(0, 1)
    grey = colour(image) @ np.array([0.299, 0.587, 0.114])
    mixed = (1 - _HEAT_SHARE) * grey[..., None] + _HEAT_SHARE * 255 * heat_colours(heat)
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def heat_colours(heat: NDArray[np.float32]) -> NDArray[np.float64]:
    """RGB in [0, 1] of each value in [0, 1], on a scale of even steps in lightness."""
    from matplotlib import colormaps

    return np.asarray(colormaps[_HEAT_COLOURS](np.asarray(heat, np.float64)))[..., :3]


def fit(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image at a size for the page: small ones with whole pixels repeated, large ones reduced.

    An image whose longer side is below 160 pixels is enlarged by a whole factor, each pixel a
    square (nearest neighbour); one beyond 448 is reduced with antialiasing.
    """
    from PIL import Image

    longest = max(image.shape[:2])
    if longest <= LARGEST_SIDE:
        factor = -(-SMALLEST_SIDE // longest)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (max(1, round(side * LARGEST_SIDE / longest)) for side in image.shape[:2])
    reduced = Image.fromarray(colour(image)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(reduced)


def png(image: NDArray[np.uint8]) -> bytes:
    """The image `(H, W, 1 | 3 | 4)` as a PNG file."""
    return _encoded(image, "PNG", optimize=True)


def address(image: NDArray[np.uint8]) -> str:
    """The image as a `data:` address: PNG, or JPEG where the PNG would take over 64 kB."""
    data = png(image)
    kind = "png"
    if len(data) > _LOSSLESS_UP_TO and image.shape[2] != 4:
        data, kind = _encoded(image, "JPEG", quality=88), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(image: NDArray[np.uint8], kind: str, **options: bool | int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    pixels = image[..., 0] if image.shape[2] == 1 else image
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    return file.getvalue()
