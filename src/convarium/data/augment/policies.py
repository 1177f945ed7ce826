"""RandAugment and TrivialAugment: the fourteen operations, their strengths, and who gets which.

==============  ==============================  ==============================
operation       RandAugment, strength M of 30   TrivialAugment, M drawn
==============  ==============================  ==============================
identity        nothing                         nothing
autocontrast    full                            full
equalize        full                            full
posterize       8 - round(M / 7.5) bits kept    8 - round(M / 5) bits kept
solarize        from 256 (1 - M / 30) on        the same
brightness      factor 1 +- 0.9 M / 30          factor 1 +- 0.99 M / 30
contrast        the same                        the same
color           the same                        the same
sharpness       the same                        the same
rotate          +- 30 M / 30 degrees            +- 135 M / 30 degrees
shear_x, _y     +- 0.3 M / 30                   +- 0.99 M / 30
translate_x     +- 150/331 of the width M / 30  +- 32 M / 30 pixels
translate_y     the same of the height          the same
==============  ==============================  ==============================

These are torchvision's strengths, but for solarize, which begins at 256 as timm's does, so that
M = 0 changes nothing. Signs are drawn. Geometry takes the nearest pixel and fills with black.

References:
    Cubuk et al. (2019), "RandAugment", arXiv:1909.13719, section 3 and figure 2; Mueller and
    Hutter (2021), "TrivialAugment", arXiv:2103.10158, algorithm 1 and table 1 ("wide").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment import colour, geometry
from convarium.data.augment.stream import Floats, Stream

LEVELS = 30
OPERATIONS: Final = (
    "identity",
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "brightness",
    "contrast",
    "color",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
# Largest strengths: bits taken away, factor, degrees, shear.
_LARGEST: Final = {"randaugment": (4, 0.9, 30.0, 0.3), "trivialaugment": (6, 0.99, 135.0, 0.99)}
_SHIFT_SHARE, _SHIFT_PIXELS = 150 / 331, 32


def apply_policy(
    pixels: Tensor, stream: Stream, policy: str, *, count: int = 2, magnitude: int = 9
) -> Tensor:
    """The policy's operations, drawn for each sample; `pixels` stay as they were.

    Args:
        pixels: uint8 `(n, C, H, W)`.
        stream: of the batch.
        policy: "randaugment" or "trivialaugment".
        count: operations a sample, with RandAugment; TrivialAugment has one.
        magnitude: M of RandAugment, 0 to 30; TrivialAugment draws it.
    """
    trivial = policy == "trivialaugment"
    for turn in range(1 if trivial else count):
        chosen = stream.below(len(OPERATIONS), f"policy operation {turn}")
        signs = np.where(stream.chance(0.5, f"policy sign {turn}"), -1.0, 1.0)
        levels = (
            stream.below(LEVELS + 1, "policy magnitude")
            if trivial
            else np.full(len(stream), magnitude)
        )
        pixels = _apply_chosen(pixels, chosen, levels, signs, policy)
    return pixels


def _apply_chosen(
    pixels: Tensor,
    chosen: NDArray[np.int64],
    levels: NDArray[np.int64],
    signs: Floats,
    policy: str,
) -> Tensor:
    """Each sample's operation, those of one kind together."""
    changed = pixels.clone()
    for number, name in enumerate(OPERATIONS):
        places = np.flatnonzero(chosen == number)
        if number and len(places):
            index = torch.from_numpy(places).to(pixels.device)
            part = pixels.index_select(0, index)
            done = apply_operation(part, name, levels[places], signs[places], policy)
            changed.index_copy_(0, index, done)
    return changed


def apply_operation(
    pixels: Tensor, name: str, levels: NDArray[np.int64], signs: Floats, policy: str
) -> Tensor:
    """One operation of the table, with each sample's own strength.

    Args:
        pixels: uint8 `(n, C, H, W)`.
        name: one of `OPERATIONS`.
        levels: M of each sample, 0 to 30, `(n,)`.
        signs: -1 or 1 for each sample; operations without a sign take no notice.
        policy: "randaugment" or "trivialaugment".
    """
    share = levels / LEVELS
    bits, factor, degrees, shear = _LARGEST[policy]
    if name in _PLAIN:
        return _PLAIN[name](pixels)
    if name in _BLENDS:
        factors = torch.from_numpy(1 + signs * factor * share)
        return _BLENDS[name](pixels, factors.to(pixels.device))
    if name == "posterize":
        kept = torch.from_numpy(8 - np.rint(bits * share).astype(int))
        return colour.posterize(pixels, kept.to(pixels.device))
    if name == "solarize":
        thresholds = torch.from_numpy(np.rint(256 * (1 - share)))
        return colour.solarize(pixels, thresholds.to(pixels.device))
    height, width = pixels.shape[2:]
    if name == "rotate":
        return geometry.nearest(pixels, geometry.rotate(signs * degrees * share, height, width))
    if name in _SHEARS:
        return geometry.nearest(pixels, _SHEARS[name](signs * shear * share))
    side = width if name == "translate_x" else height
    farthest = _SHIFT_SHARE * side if policy == "randaugment" else _SHIFT_PIXELS
    return geometry.nearest(pixels, _SHIFTS[name](signs * np.trunc(farthest * share)))


_PLAIN: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "identity": torch.clone,
    "autocontrast": colour.autocontrast,
    "equalize": colour.equalize,
}
_BLENDS: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "color": colour.saturation,
    "sharpness": colour.sharpness,
}
_SHEARS: Final = {"shear_x": geometry.shear_x, "shear_y": geometry.shear_y}
_SHIFTS: Final = {"translate_x": geometry.translate_x, "translate_y": geometry.translate_y}
