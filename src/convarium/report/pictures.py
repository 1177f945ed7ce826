"""Pictures as they are put on a page: whole pixels, a stated size, no file beside the page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError, ShapeError
from convarium.explain.painting import SMALLEST_SIDE as SMALLEST_SIDE
from convarium.explain.painting import blend as blend
from convarium.explain.painting import colour as colour
from convarium.explain.painting import heat_colours as heat_colours

LARGEST_SIDE = 448
_LOSSLESS_UP_TO = 65_536


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with what is to be said about it.

    Args:
        image: uint8 `(H, W, C)`, C 1 (grey) or 3 (RGB).
        title: what it is, such as the class named.
        note: the rest of what is to be said, such as the truth and the confidence.
        heat: a map in [0, 1], `(h, w)`, of any size, or None.
        group: heading of the pictures that it stands among.

    Raises:
        ShapeError: the image is not uint8 `(H, W, 1)` or `(H, W, 3)`, or the map has not two axes.
        OptionError: the map leaves [0, 1] or is not finite.
    """

    image: NDArray[np.uint8]
    title: str
    note: str = ""
    heat: NDArray[np.float32] | None = None
    group: str = ""

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


def figure(picture: Picture) -> dict[str, Any]:
    """What a template shows of a picture: addresses of the picture and of its overlay."""
    image = fit(picture.image)
    overlay = None
    if picture.heat is not None:
        overlay = fit(blend(picture.image, picture.heat))
    return {
        "title": picture.title.replace(" %", "\N{NO-BREAK SPACE}%"),
        "note": picture.note.replace(" %", "\N{NO-BREAK SPACE}%"),
        "image": address(image),
        "overlay": None if overlay is None else address(overlay),
        "width": image.shape[1],
        "height": image.shape[0],
        "enlarged": image.shape[0] > picture.image.shape[0],
    }


def png(image: NDArray[np.uint8]) -> bytes:
    """The image `(H, W, 1 | 3 | 4)` as a PNG file."""
    return _encoded(image, "PNG", optimize=True)


def address(image: NDArray[np.uint8], *, quick: bool = False) -> str:
    """The image as a `data:` address: PNG, or JPEG where the PNG would take over 64 kB.

    A `quick` one is a PNG of any size, made in a tenth of the time.
    """
    data = _encoded(image, "PNG", compress_level=1) if quick else png(image)
    kind = "png"
    if not quick and len(data) > _LOSSLESS_UP_TO and image.shape[2] != 4:
        data, kind = _encoded(image, "JPEG", quality=88), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encoded(image: NDArray[np.uint8], kind: str, **options: bool | int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    pixels = image[..., 0] if image.shape[2] == 1 else image
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, kind, **options)
    return file.getvalue()
