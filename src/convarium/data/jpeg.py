"""JPEG by libjpeg-turbo itself: the same bits as Pillow's, without its copies.

Pillow stays the judge. It reads the header, and a file that turbo does not take whole goes to
Pillow, whose decision counts: what is damaged is refused in one way, and CMYK comes from one place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

_COLOURS = {"RGB": "RGB", "L": "GRAY"}


def takes(image: ImageFile.ImageFile) -> bool:
    """Whether turbo may decode an image that Pillow has opened."""
    plain = image.info.get("adobe_transform", 1) == 1  # else stored as RGB, which is rare
    return image.format == "JPEG" and image.mode in _COLOURS and image.fp is not None and plain


def scales(image: ImageFile.ImageFile, at_least: tuple[int, int]) -> bool:
    """Whether `decode` gives less than all pixels where a height and a width are enough."""
    height, width = at_least
    return takes(image) and image.height >= 2 * height and image.width >= 2 * width


def decode(
    image: ImageFile.ImageFile, at_least: tuple[int, int] | None = None
) -> NDArray[np.uint8] | None:
    """Pixels `(H, W, C)`, not yet turned; None where Pillow has to decode the file.

    Args:
        image: opened by Pillow and not loaded.
        at_least: height and width that are enough. Where the file has twice as much along both
            axes, it is decoded at the smallest of 1/8, 2/8, 3/8, 4/8 of its size that has them, by
            scaled inverse transforms (Wallace 1992, "The JPEG still picture compression standard",
            section 4; the scaling is libjpeg's).
    """
    import simplejpeg

    if not takes(image) or image.fp is None:
        return None
    height, width = at_least or (0, 0)
    enough = at_least is not None and scales(image, at_least)
    image.fp.seek(0)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            image.fp.read(),
            _COLOURS[image.mode],
            min_height=height if enough else 0,
            min_width=width if enough else 0,
            min_factor=2 if enough else 1,
        )
    except ValueError:
        image.fp.seek(0)
        return None
    return pixels
