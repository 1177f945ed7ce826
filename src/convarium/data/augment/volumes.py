"""Augmentation of volumes: flips along chosen axes and padded crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment import crops
from convarium.data.augment.stream import Stream
from convarium.errors import OptionError, ShapeError

_AXES = ("depth", "height", "width")


@dataclass(frozen=True, kw_only=True)
class VolumeAugmentation:
    """Random flips and crops of volumes, for training only: crops first.

    What happens to a sample is a function of (seed, epoch, sample id).

    Args:
        flip_axes: axes that are mirrored, each with probability 1/2: "depth", "height", "width".
        pad_crop: zeros on each side of each axis, (depth, height, width), from which the old size
            is cut anywhere.

    Raises:
        OptionError: an axis that is none of these or named twice, or pad_crop not three whole
            numbers of 0 or more.

    >>> x = torch.arange(8.0).view(1, 1, 2, 2, 2)
    >>> VolumeAugmentation(pad_crop=(0, 1, 1)).apply(x, np.array([5]), seed=0, epoch=0).shape
    torch.Size([1, 1, 2, 2, 2])
    """

    flip_axes: tuple[str, ...] = ()
    pad_crop: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if set(self.flip_axes) - set(_AXES) or len(set(self.flip_axes)) < len(self.flip_axes):
            raise OptionError(
                f"flip_axes (={self.flip_axes!r}) must name {', '.join(_AXES)}, each at most once."
            )
        pads: tuple[int, ...] = self.pad_crop
        if len(pads) != 3 or not all(type(pad) is int and pad >= 0 for pad in pads):
            raise OptionError(
                f"pad_crop (={self.pad_crop!r}) must be three whole numbers of 0 or more, for "
                "depth, height and width."
            )

    def apply(self, inputs: Tensor, ids: NDArray[np.int64], *, seed: int, epoch: int) -> Tensor:
        """The changed volumes; `inputs` stay as they were.

        Args:
            inputs: `(B, C, D, H, W)`, of any type of numbers.
            ids: sample ids, int64 `(B,)`.
            seed: of the run.
            epoch: number of the epoch.

        Raises:
            ShapeError: inputs without these five axes.
        """
        if inputs.ndim != 5:
            raise ShapeError(f"inputs (of shape {tuple(inputs.shape)}) must be (B, C, D, H, W).")
        stream = Stream(ids, seed, epoch)
        volumes = inputs.numpy()
        if any(self.pad_crop):
            starts = [
                crops.places(stream.uniform(f"start {axis}"), pad)
                for axis, pad in zip(_AXES, self.pad_crop, strict=True)
            ]
            volumes = crops.padded_crop(volumes, self.pad_crop, starts)
        for axis in self.flip_axes:
            chosen = stream.chance(0.5, f"flip {axis}")
            volumes = crops.flip(volumes, chosen, 2 + _AXES.index(axis))
        return torch.from_numpy(volumes)
