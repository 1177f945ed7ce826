"""Channels, sides and crops of one picture, as `Preprocessing.apply` takes them."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Interpolation = Literal["bilinear", "bicubic", "trilinear"]  # the last one is for volumes

LONGEST: Final = 16  # times the other side, that a picture is resized from at most
FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def with_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey from colour by ITU-R 601 as Pillow rounds it; colour from grey by repetition."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return image.repeat(3, axis=2)
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))[:, :, None]


def resized(
    image: NDArray[np.uint8], height: int, width: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Resize with antialiased weights to the smallest size that covers height x width."""
    longest = LONGEST * min(image.shape[:2]) * max(height, width) // min(height, width)
    image = center(image, min(image.shape[0], longest), min(image.shape[1], longest))
    tall, wide = covering(image.shape[0], image.shape[1], height, width)
    if (tall, wide) == image.shape[:2]:
        return image
    grey = image.shape[2] == 1
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, 0] if grey else image))
    resized = np.asarray(picture.resize((wide, tall), FILTERS[interpolation]))
    return resized[:, :, None] if grey else resized


def covering(tall: int, wide: int, height: int, width: int) -> tuple[int, int]:
    """The smallest size of a picture's shape that covers height x width.

    >>> covering(375, 500, 256, 256), covering(500, 375, 256, 256)
    ((256, 341), (341, 256))
    """
    if tall * width < wide * height:
        return height, max(width, wide * height // tall)
    return max(height, tall * width // wide), width


def center(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The centre; half a pixel is rounded down."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def center_even(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The centre as published networks take it: half a pixel is rounded to the even number."""
    top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
    return image[top : top + height, left : left + width]


def with_room(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Edge pixels repeated as far as crops of height x width lack a sixteenth on either side.

    >>> with_room(np.zeros((224, 240, 3), np.uint8), 224, 224).shape
    (252, 252, 3)
    """
    sides = zip((height, width), image.shape[:2], strict=True)
    lacks = [max(0, side + 2 * max(1, round(side / 16)) - own) for side, own in sides]
    around = [(lack // 2, lack - lack // 2) for lack in lacks]
    return np.pad(image, [*around, (0, 0)], mode="edge")
