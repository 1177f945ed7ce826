"""Random erasing: a rectangle of each chosen input is set to 0, the mean of the training data."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from convarium.data.augment.stream import Stream

TRIES = 10
AREAS = (0.02, 0.33)
RATIOS = (0.3, 3.3)


def erase(inputs: Tensor, stream: Stream, probability: float) -> Tensor:
    """Set a rectangle to 0 in place, in each sample with the probability; gives `inputs`.

    The area is a share drawn from .02 to .33, the ratio of height to width is drawn from .3 to 3.3,
    even on a logarithmic scale. The first of ten tries that fits is taken; where none does, nothing
    is erased. After normalisation 0 is the channel's mean.

    Args:
        inputs: normalised, float `(n, C, H, W)`.
        stream: of the batch.
        probability: of a rectangle.

    References:
        Zhong et al. (2017), "Random erasing", arXiv:1708.04896, algorithm 1.
    """
    height, width = inputs.shape[2:]
    chosen = stream.chance(probability, "erase")
    areas = AREAS[0] + (AREAS[1] - AREAS[0]) * stream.several("erase area", TRIES)
    low, high = np.log(RATIOS)
    ratios = np.exp(low + (high - low) * stream.several("erase ratio", TRIES))
    tall = np.rint(np.sqrt(areas * height * width * ratios)).astype(np.int64)
    wide = np.rint(np.sqrt(areas * height * width / ratios)).astype(np.int64)
    fits = (tall > 0) & (wide > 0) & (tall < height) & (wide < width)
    first = fits.argmax(axis=1)
    top, left = stream.uniform("erase top"), stream.uniform("erase left")
    for place in np.flatnonzero(chosen & fits.any(axis=1)):
        h, w = int(tall[place, first[place]]), int(wide[place, first[place]])
        y, x = int(top[place] * (height - h + 1)), int(left[place] * (width - w + 1))
        inputs[place, :, y : y + h, x : x + w] = 0
    return inputs
