"""Flips, padded crops and random resized crops; the first two along any number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from convarium.data.augment.stream import Floats, Stream

Kind = TypeVar("Kind", bound=np.generic)

TRIES = 10
RATIOS = (3 / 4, 4 / 3)
_LARGE = 2**14  # numbers of a sample


def flip(
    samples: NDArray[Kind], chosen: NDArray[np.bool_], axis: int, *, own: bool = False
) -> NDArray[Kind]:
    """A copy in which the `chosen` samples are mirrored; where they are `own`, they themselves."""
    flipped = samples if own else samples.copy(order="K")
    places = np.flatnonzero(chosen)
    if samples[:1].size < _LARGE:
        flipped[places] = np.flip(samples[places], axis)
        return flipped
    # one by one, and by torch, which is quick in every memory order
    given, made = torch.from_numpy(samples), torch.from_numpy(flipped)
    for k in places.tolist():
        made[k : k + 1] = given[k : k + 1].flip(axis)
    return flipped


def padded_crop(
    samples: NDArray[Kind], pads: Sequence[int], starts: Sequence[NDArray[np.int64]]
) -> NDArray[Kind]:
    """Each sample cut, at its old size, from itself with zeros around it.

    Args:
        samples: `(n, C, *S)`.
        pads: zeros on each side of each axis of S.
        starts: first place of each sample's cut along each axis of S, `(n,)` each, in the padded
            sample; 0 to 2 pad.
    """
    count, channels, *sides = samples.shape
    padded = np.zeros(
        (count, channels, *(side + 2 * pad for side, pad in zip(sides, pads, strict=True))),
        samples.dtype,
    )
    inside = [slice(pad, pad + side) for side, pad in zip(sides, pads, strict=True)]
    padded[:, :, *inside] = samples
    axes = tuple(range(2, samples.ndim))
    windows = np.lib.stride_tricks.sliding_window_view(padded, sides, axis=axes)
    chosen: tuple[Any, ...] = (np.arange(count), slice(None), *starts)
    cut: NDArray[Kind] = windows[chosen]
    return cut


class CropDraws:
    """The numbers behind each sample's random resized crop, drawn before its size is known.

    Args:
        stream: of the batch.
        low: the smallest share of the area; the largest is 1.
    """

    def __init__(self, stream: Stream, low: float) -> None:
        self.shares = low + (1 - low) * stream.several("crop area", TRIES)
        first, last = np.log(RATIOS)
        self.ratios = np.exp(first + (last - first) * stream.several("crop ratio", TRIES))
        self.top = stream.uniform("crop top")
        self.left = stream.uniform("crop left")

    def box(self, place: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the crop of the batch's sample `place`.

        The sides are round(sqrt(area share / ratio)) and round(sqrt(area share * ratio)); the
        first of ten tries that fits is taken, else the largest centred box of an allowed ratio.

        References:
            Szegedy et al. (2014), arXiv:1409.4842, section 6.
        """
        for share, ratio in zip(
            self.shares[place].tolist(), self.ratios[place].tolist(), strict=True
        ):
            area = share * height * width
            h, w = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
            if 0 < h <= height and 0 < w <= width:
                top = int(self.top[place] * (height - h + 1))
                return top, int(self.left[place] * (width - w + 1)), h, w
        return _centre_box(height, width)


def _centre_box(height: int, width: int) -> tuple[int, int, int, int]:
    """The largest centred box whose ratio of width to height is allowed."""
    h = max(1, min(height, round(width / RATIOS[0])))
    w = max(1, min(width, round(height * RATIOS[1])))
    return (height - h) // 2, (width - w) // 2, h, w


def places(draws: Floats, pad: int) -> NDArray[np.int64]:
    """Where cuts begin in the padded sample: 0 to 2 pad, each equally often."""
    return (draws * (2 * pad + 1)).astype(np.int64)
