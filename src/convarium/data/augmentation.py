"""Augmentation of image batches: flips and padded crops, a pure function of each sample's numbers.

What happens to a sample depends on (seed, epoch, sample id) alone: not on its batch, not on the
number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds
from convarium.errors import OptionError


class Draws(NamedTuple):
    """What happens to each sample: bool `(n,)` flips, int64 `(n,)` offsets from the top left."""

    flip: NDArray[np.bool_]
    top: NDArray[np.int64]
    left: NDArray[np.int64]

    def part(self, start: int, stop: int) -> Draws:
        """The draws of the samples start to stop."""
        return Draws(self.flip[start:stop], self.top[start:stop], self.left[start:stop])


@dataclass(frozen=True)
class Augmentation:
    """Random horizontal flips and crops from padded images, for training only.

    Args:
        flip: mirror left and right with probability 1/2.
        pad_crop: pad by this many black pixels on each side, then crop the old size anywhere.

    Raises:
        OptionError: pad_crop below 0.

    >>> Augmentation(flip=True, pad_crop=4).active, Augmentation().active
    (True, False)
    """

    flip: bool = False
    pad_crop: int = 0

    def __post_init__(self) -> None:
        if self.pad_crop < 0:
            raise OptionError(f"pad_crop (={self.pad_crop}) must be 0 pixels (off) or more.")

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self.flip or self.pad_crop > 0

    def draw(self, ids: NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
        """The draws of the samples `ids` in one epoch."""
        places = 2 * self.pad_crop + 1
        coin = seeds.uniform(ids, seed, "flip", epoch) < 0.5 if self.flip else np.zeros(len(ids))
        return Draws(
            coin.astype(np.bool_),
            (seeds.uniform(ids, seed, "top", epoch) * places).astype(np.int64),
            (seeds.uniform(ids, seed, "left", epoch) * places).astype(np.int64),
        )

    def apply(self, pixels: Tensor, draws: Draws) -> Tensor:
        """The crops, then the flips of `draws`; `pixels` stay as they were.

        Shape:
            pixels: uint8 `(B, C, H, W)`; the result has the same shape.
        """
        # NumPy gathers bytes three times as fast as torch's indexing does.
        images: NDArray[np.uint8] = pixels.numpy()
        changed = _crop(images, self.pad_crop, draws) if self.pad_crop else images.copy()
        if self.flip:
            mirrored = np.flatnonzero(draws.flip)
            changed[mirrored] = changed[mirrored, :, :, ::-1]
        return torch.from_numpy(changed)


def _crop(images: NDArray[np.uint8], pad: int, draws: Draws) -> NDArray[np.uint8]:
    """Each image cut from its padded self at (top, left), by one gather of all windows."""
    count, channels, height, width = images.shape
    padded = np.zeros((count, channels, height + 2 * pad, width + 2 * pad), np.uint8)
    padded[:, :, pad : pad + height, pad : pad + width] = images
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(count), :, draws.top, draws.left]
