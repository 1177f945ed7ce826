"""Augmentation of image batches, a pure function of each sample's numbers.

    crop when read -> padded crop -> flip -> rotation -> policy -> jitter -> grey     8-bit pixels
    normalisation -> erasing -> mixup or CutMix                                       float32

What happens to a sample depends on (seed, epoch, sample id) alone, and on its turn where an epoch
has it several times: not on its batch, not on the number of workers. What is drawn for a whole
batch depends on (seed, epoch, step).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from convarium.data.augment import colour, crops, erasing, geometry, on_device, policies
from convarium.data.augment.mixing import Mixtures
from convarium.data.augment.stream import Stream
from convarium.options import option

_HUE_SHARE = 4
_FACTORS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True, kw_only=True)
class Augmentation(Mixtures):
    """Random changes of images for training; everything is off unless it is set.

    Args:
        flip: mirror left and right with probability 1/2.
        alternate_flip: of the flips, each sample has one in every second epoch; chance decides
            whether it begins so (Jordan 2024, arXiv:2404.00498, section 3.6).
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
        OptionError: a value of the wrong type or outside its range.

    >>> Augmentation(flip=True, pad_crop=4).lines()
    ['pad by 4 pixels and crop', 'flip with probability 1/2']
    """

    flip: bool = False
    alternate_flip: bool = False
    pad_crop: int = option(0, low=0)
    resized_crop: float | None = option(None, above=0, high=1)
    jitter: float = option(0.0, low=0, high=1)
    grey: float = option(0.0, low=0, high=1)
    rotation: float = option(0.0, low=0, high=180)
    policy: str = option("none", choices=("none", "randaugment", "trivialaugment"))
    policy_ops: int = option(2, low=1, high=14)
    policy_magnitude: int = option(9, low=0, high=policies.LEVELS)
    erasing: float = option(0.0, low=0, high=1)

    kind: ClassVar[str] = "images"

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

    def lines(self) -> list[str]:
        """What is done, in words, in its order."""
        ops = {
            "randaugment": f"RandAugment: {self.policy_ops} operations of strength "
            f"{self.policy_magnitude} of {policies.LEVELS}",
            "trivialaugment": "TrivialAugment: one operation of any strength",
        }
        said = {
            f"crop {self.resized_crop or 0:.0%} to 100% of the area, resized": self.resized_crop,
            f"pad by {self.pad_crop} pixels and crop": self.pad_crop,
            "flip with probability 1/2": self.flip and not self.alternate_flip,
            "flip in every second epoch": self.flip and self.alternate_flip,
            f"rotate up to {self.rotation:g} degrees": self.rotation,
            ops.get(self.policy, ""): self.policy != "none",
            f"brightness, contrast, saturation by up to {self.jitter:g}, hue by "
            f"{self.jitter / _HUE_SHARE:g} of the circle": self.jitter,
            f"grey with probability {self.grey:g}": self.grey,
            f"erase with probability {self.erasing:g}": self.erasing,
        }
        return [words for words, value in said.items() if value] + self.mixture_lines()

    def crop_draws(self, stream: Stream) -> crops.CropDraws | None:
        """The numbers of the crops that are taken when pictures are read; None where none are."""
        return None if self.resized_crop is None else crops.CropDraws(stream, self.resized_crop)

    def change(self, pixels: Tensor, stream: Stream, *, own: bool = False) -> Tensor:
        """All that is done to 8-bit pixels after the crop from the original.

        Args:
            pixels: stay as they are, unless they are the caller's `own` to give away.
            stream: the numbers of each sample.
            own: whether `pixels` may be written to.

        Shape:
            pixels: uint8 `(B, C, H, W)`; the result has the same shape.
        """
        if self.pad_crop or self.flip:
            pixels = self._moved(pixels, stream, own)
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
            strengths = [torch.from_numpy(draw).to(pixels.device) for draw in draws]
            pixels = colour.jitter(pixels, *strengths)
        if self.grey:
            places = np.flatnonzero(stream.chance(self.grey, "grey"))
            chosen = torch.from_numpy(places).to(pixels.device)
            shades = colour.grey(pixels.index_select(0, chosen))
            pixels = pixels.index_copy(0, chosen, shades)
        return pixels

    def after(self, inputs: Tensor, stream: Stream) -> Tensor:
        """What is done to normalised inputs: random erasing, float `(B, C, H, W)`, in place."""
        return erasing.erase(inputs, stream, self.erasing) if self.erasing else inputs

    def _moved(self, pixels: Tensor, stream: Stream, own: bool) -> Tensor:
        """The padded crops, then the flips."""
        starts = [crops.places(stream.uniform(word), self.pad_crop) for word in ("top", "left")]
        pads = (self.pad_crop, self.pad_crop)
        chosen = stream.turnabout("flip") if self.alternate_flip else stream.chance(0.5, "flip")
        if pixels.device.type != "cpu":
            pixels = on_device.padded_crop(pixels, pads, starts) if self.pad_crop else pixels
            return on_device.flip(pixels, chosen, 3) if self.flip else pixels
        images = pixels.numpy()
        if self.pad_crop:
            images, own = crops.padded_crop(images, pads, starts), True
        return torch.from_numpy(crops.flip(images, chosen, 3, own=own) if self.flip else images)
