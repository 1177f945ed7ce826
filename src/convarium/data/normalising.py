"""Numbers of whole batches made float32 and normalised, a few samples at a time.

What a batch has lies in the processor's cache while it is worked on, instead of passing through it
once for each operation; the result is the same bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from convarium.errors import DataError

_PIECE: Final = 2**17  # numbers at a time: half a mebibyte as float32


def normalised(pixels: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """(pixels - shift) / scale in float32, in the memory order of `pixels`.

    Args:
        pixels: `(B, C, *S)`.
        shift: `(C, 1, ...)`, a number for each channel.
        scale: the same.
    """
    if not pixels.is_cpu or not pixels.numel():
        return pixels.to(torch.float32, copy=True).sub_(shift).div_(scale)
    done = torch.empty_like(pixels, dtype=torch.float32)
    given, made = pixels, done
    if not pixels.is_contiguous() and pixels.is_contiguous(memory_format=torch.channels_last):
        # a row of the picture has its channels side by side: its constants are as long
        given, made = (x.permute(0, 2, 3, 1).flatten(2) for x in (pixels, done))
        width = pixels.shape[3]
        shift, scale = (x.flatten().repeat(width) for x in (shift, scale))
    count = max(1, _PIECE // (pixels.numel() // len(pixels)))
    for source, target in zip(torch.split(given, count), torch.split(made, count), strict=True):
        target.copy_(source).sub_(shift).div_(scale)
    return done


def check_moments(channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse moments that do not fit the channels.

    Raises:
        DataError: so.
    """
    fits = len(mean) == len(std) == channels and all(map(math.isfinite, (*mean, *std)))
    if not fits or min(std) <= 0:
        raise DataError(
            f"mean (={mean}) and std (={std}) must have {channels} finite numbers, and those of "
            "std must be positive."
        )
