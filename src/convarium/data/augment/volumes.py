"""Augmentation of volumes: flips along chosen axes and padded crops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment import crops, on_device
from convarium.data.augment.mixing import Mixtures
from convarium.data.augment.stream import Stream
from convarium.errors import OptionError, ShapeError

_AXES = ("depth", "height", "width")


@dataclass(frozen=True, kw_only=True)
class VolumeAugmentation(Mixtures):
    """Random flips and crops of volumes, for training only: crops first, then flips, then mixtures.

    It works on normalised volumes, so that what a crop takes from outside is the mean. What happens
    to a sample is a function of (seed, epoch, sample id).

    Args:
        flip_axes: axes that are mirrored, each with probability 1/2: "depth", "height", "width".
        pad_crop: zeros on each side of each axis, (depth, height, width), from which the old size
            is cut anywhere.
        mixup: alpha of the Beta distribution that shares are drawn from.
        cutmix: likewise; with both, each batch takes one of them with probability 1/2.

    Raises:
        OptionError: an axis that is none of these or named twice, pad_crop not three whole
            numbers of 0 or more, or an alpha that is not above 0.

    >>> x = torch.arange(8.0).view(1, 1, 2, 2, 2)
    >>> VolumeAugmentation(pad_crop=(0, 1, 1)).apply(x, np.array([5]), seed=0, epoch=0).shape
    torch.Size([1, 1, 2, 2, 2])
    """

    flip_axes: tuple[str, ...] = ()
    pad_crop: tuple[int, int, int] = (0, 0, 0)

    kind: ClassVar[str] = "volumes"
    light: ClassVar[bool] = True  # batches of volumes in memory need no worker

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
        super().__post_init__()

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.lines())

    def lines(self) -> list[str]:
        """What is done, in words, in its order."""
        said = []
        if any(self.pad_crop):
            by = " x ".join(map(str, self.pad_crop))
            said.append(f"pad by {by} voxels and crop")
        if self.flip_axes:
            said.append(f"flip along {', '.join(self.flip_axes)}, each with probability 1/2")
        return said + self.mixture_lines()

    def crop_draws(self, stream: Stream) -> None:
        """None: no crop is taken when volumes are read."""

    def change(self, pixels: Tensor, stream: Stream, *, own: bool = False) -> Tensor:
        """The volumes as they are: all changes come after normalisation."""
        return pixels

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
        return self.after(inputs, Stream(ids, seed, epoch))

    def after(self, inputs: Tensor, stream: Stream) -> Tensor:
        """What is done to normalised inputs, float `(B, C, D, H, W)`: the crops, then the flips."""
        starts = [
            crops.places(stream.uniform(f"start {axis}"), pad)
            for axis, pad in zip(_AXES, self.pad_crop, strict=True)
        ]
        chosen = [(2 + _AXES.index(a), stream.chance(0.5, f"flip {a}")) for a in self.flip_axes]
        if inputs.device.type != "cpu":
            if any(self.pad_crop):
                inputs = on_device.padded_crop(inputs, self.pad_crop, starts)
            for axis, which in chosen:
                inputs = on_device.flip(inputs, which, axis)
            return inputs
        volumes = inputs.numpy()
        if any(self.pad_crop):
            volumes = crops.padded_crop(volumes, self.pad_crop, starts)
        for axis, which in chosen:
            volumes = crops.flip(volumes, which, axis)
        return torch.from_numpy(volumes)
