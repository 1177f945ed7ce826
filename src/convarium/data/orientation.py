"""The orientation that a picture's EXIF block names, and the picture turned by it."""

from __future__ import annotations

from typing import Any, Final

from numpy.typing import NDArray
from PIL import Image

_ORIENTATION: Final = 0x0112


def orientation_of(image: Image.Image) -> int:
    """The orientation 1 to 8 of the EXIF standard; of a TIFF only after `load`.

    Pillow turns a TIFF itself and then drops the tag.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return orientation if orientation in range(2, 9) else 1


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply an orientation of the EXIF standard."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
