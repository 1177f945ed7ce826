"""The size that pictures have in a pack, and how they are brought to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def packed_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width of a picture in the pack.

    >>> packed_size(375, 500, 256), packed_size(100, 50, 256)
    ((256, 341), (100, 50))
    """
    if min(height, width) <= short_side:
        return height, width
    ratio = short_side / min(height, width)
    return max(short_side, round(height * ratio)), max(short_side, round(width * ratio))


def shrunk(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture `(H, W, C)` resized to `size`, as packs hold it."""
    channels = pixels.shape[2]
    if pixels.shape[:2] == size:
        return pixels
    image = Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])
    resized = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))
    return resized.reshape(*size, channels)
