"""Augmentation of image batches, a pure function of each sample's numbers.

    crop when read -> padded crop -> flip -> rotation -> policy -> jitter -> grey     8-bit pixels
    normalisation -> erasing -> mixup or CutMix                                       float32

What happens to a sample depends on (seed, epoch, sample id) alone: not on its batch, not on the
number of workers. What is drawn for a whole batch depends on (seed, epoch, step).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment import colour, crops, erasing, geometry, policies
from convarium.data.augment.mixing import MixDraw, draw_mix
from convarium.data.augment.stream import Stream
from convarium.errors import OptionError, did_you_mean

POLICIES = ("none", "randaugment", "trivialaugment")
_HUE_SHARE = 4
_FACTORS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of images for training; everything is off unless it is set.

    Args:
        flip: mirror left and right with probability 1/2.
        pad_crop: pad by this many black pixels on each side, then crop the old size anywhere.
        resized_crop: the smallest share of the original picture's area that a crop takes, up to
            all of it, at ratios of width to height from 3/4 to 4/3; it is then resized to the
            input.
        jitter: brightness, contrast and saturation are changed by factors from 1 - jitter to
            1 + jitter, the hue by up to jitter/4 of the circle, in this order.
        grey: probability that the colours are taken away.
        rotation: largest turn to either side, in degrees; the corners become black.
        policy: "none", "randaugment" or "trivialaugment".
        policy_ops: operations a sample with RandAugment.
        policy_magnitude: their strength, 0 to 30.
        erasing: probability that a rectangle (.02 to .33 of the area, ratio .3 to 3.3) is set to
            the mean.
        mixup: alpha of the Beta distribution that shares are drawn from.
        cutmix: likewise; with both, each batch takes one of them with probability 1/2.

    Raises:
        OptionError: a value outside its range.

    >>> Augmentation(flip=True, pad_crop=4).lines()
    ['pad by 4 pixels and crop', 'flip with probability 1/2']
    """

    flip: bool = False
    pad_crop: int = 0
    resized_crop: float | None = None
    jitter: float = 0.0
    grey: float = 0.0
    rotation: float = 0.0
    policy: str = "none"
    policy_ops: int = 2
    policy_magnitude: int = 9
    erasing: float = 0.0
    mixup: float | None = None
    cutmix: float | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            near = did_you_mean(str(self.policy), POLICIES)
            raise OptionError(
                f"policy (={self.policy!r}) must be one of {', '.join(POLICIES)}.{near}"
            )
        for name, low, high in (
            ("pad_crop", 0, None),
            ("policy_ops", 1, 14),
            ("policy_magnitude", 0, policies.LEVELS),
        ):
            _check_whole(name, getattr(self, name), low, high)
        for name, largest in (("jitter", 1), ("grey", 1), ("rotation", 180), ("erasing", 1)):
            value = getattr(self, name)
            if not 0 <= value <= largest:
                raise OptionError(f"{name} (={value!r}) must be from 0 (off) to {largest}.")
        if self.resized_crop is not None and not 0 < self.resized_crop <= 1:
            raise OptionError(
                f"resized_crop (={self.resized_crop!r}) must be None (off) or a share of the area "
                "above 0 and at most 1, such as 0.08."
            )
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise OptionError(
                    f"{name} (={value!r}) must be None (off) or a positive alpha, such as 0.2."
                )

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.lines())

    @property
    def light(self) -> bool:
        """Whether nothing but flips, padded crops, erasing and mixing is asked, which cost little.

        Batches of pictures in memory then need no worker.
        """
        heavy = (self.jitter, self.grey, self.rotation, self.policy != "none")
        return self.resized_crop is None and not any(heavy)

    @property
    def mixes(self) -> bool:
        """Whether samples of a batch are mixed with one another."""
        return self.mixup is not None or self.cutmix is not None

    def lines(self) -> list[str]:
        """What is done, in words, in its order."""
        ops = {
            "randaugment": f"RandAugment: {self.policy_ops} operations of strength "
            f"{self.policy_magnitude} of {policies.LEVELS}",
            "trivialaugment": "TrivialAugment: one operation of any strength",
        }
        beta = "share from Beta({0:g},\N{NO-BREAK SPACE}{0:g})"
        said = {
            f"crop {self.resized_crop or 0:.0%} to 100% of the area, resized": self.resized_crop,
            f"pad by {self.pad_crop} pixels and crop": self.pad_crop,
            "flip with probability 1/2": self.flip,
            f"rotate up to {self.rotation:g} degrees": self.rotation,
            ops.get(self.policy, ""): self.policy != "none",
            f"brightness, contrast, saturation by up to {self.jitter:g}, hue by "
            f"{self.jitter / _HUE_SHARE:g} of the circle": self.jitter,
            f"grey with probability {self.grey:g}": self.grey,
            f"erase with probability {self.erasing:g}": self.erasing,
            f"mixup, {beta.format(self.mixup or 0)}": self.mixup,
            f"CutMix, {beta.format(self.cutmix or 0)}": self.cutmix,
        }
        return [words for words, value in said.items() if value]

    def crop_draws(self, stream: Stream) -> crops.CropDraws | None:
        """The numbers of the crops that are taken when pictures are read; None where none are."""
        return None if self.resized_crop is None else crops.CropDraws(stream, self.resized_crop)

    def change(self, pixels: Tensor, stream: Stream) -> Tensor:
        """All that is done to 8-bit pixels after the crop from the original; `pixels` stay.

        Shape:
            pixels: uint8 `(B, C, H, W)`; the result has the same shape.
        """
        if self.pad_crop or self.flip:
            pixels = torch.from_numpy(self._moved(pixels.numpy(), stream))
        if self.rotation:
            degrees = stream.between(-self.rotation, self.rotation, "rotation")
            pixels = geometry.bilinear(pixels, geometry.rotate(degrees, *pixels.shape[2:]))
        if self.policy != "none":
            pixels = policies.apply_policy(
                pixels,
                stream,
                self.policy,
                count=self.policy_ops,
                magnitude=self.policy_magnitude,
            )
        if self.jitter:
            low, high, turn = 1 - self.jitter, 1 + self.jitter, self.jitter / _HUE_SHARE
            draws = [stream.between(low, high, word) for word in _FACTORS]
            draws.append(stream.between(-turn, turn, "hue"))
            pixels = colour.jitter(pixels, *map(torch.from_numpy, draws))
        if self.grey:
            chosen = torch.from_numpy(np.flatnonzero(stream.chance(self.grey, "grey")))
            shades = colour.grey(pixels.index_select(0, chosen))
            pixels = pixels.index_copy(0, chosen, shades)
        return pixels

    def erase(self, inputs: Tensor, stream: Stream) -> Tensor:
        """Random erasing of normalised inputs, float `(B, C, H, W)`, in place."""
        return erasing.erase(inputs, stream, self.erasing) if self.erasing else inputs

    def draw_mix(
        self, sides: tuple[int, ...], *, seed: int, epoch: int, step: int
    ) -> MixDraw | None:
        """What is mixed in a global batch; None where nothing is."""
        if not self.mixes:
            return None
        return draw_mix(self.mixup, self.cutmix, sides, seed=seed, epoch=epoch, step=step)

    def _moved(self, images: NDArray[np.uint8], stream: Stream) -> NDArray[np.uint8]:
        """The padded crops, then the flips."""
        if self.pad_crop:
            starts = [crops.places(stream.uniform(word), self.pad_crop) for word in ("top", "left")]
            images = crops.padded_crop(images, (self.pad_crop, self.pad_crop), starts)
        return crops.flip(images, stream.chance(0.5, "flip"), 3) if self.flip else images


def _check_whole(name: str, value: object, low: int, high: int | None) -> None:
    fits = type(value) is int and value >= low and (high is None or value <= high)
    if not fits:
        limit = "or more" if high is None else f"to {high}"
        raise OptionError(f"{name} (={value!r}) must be a whole number, {low} {limit}.")
