"""Augmentation of series: noise, scaling, windows, and masks over time and channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment.stream import Stream
from convarium.errors import ShapeError
from convarium.options import check_options, option


@dataclass(frozen=True, kw_only=True)
class SeriesAugmentation:
    """Random changes of series, for training only: crop, scaling, jitter, then the masks.

    What happens to a sample is a function of (seed, epoch, sample id). The series should be
    normalised, so that a deviation is 1 and a mean 0.

    Args:
        jitter: standard deviation of normal noise added to every value; 0 is off.
        scaling: standard deviation of the factor, around 1, on each channel; 0 is off.
        crop: smallest share of the length; a window of that share to 1 is stretched to the old
            length by linear interpolation. None is off.
        time_mask: the largest share of the length that one stretch of zeros takes; 0 is off.
        channel_mask: probability that a channel is set to zero; one channel always stays. 0 is off.

    Raises:
        OptionError: a value of the wrong type or outside its range.

    >>> x = torch.ones(2, 3, 8)
    >>> masked = SeriesAugmentation(time_mask=0.5).apply(x, np.arange(2), seed=0, epoch=0)
    >>> bool((masked.sum(2) >= 4).all())
    True

    References:
        Um et al. (2017), arXiv:1706.00527, section 4 (jitter, scaling); Le Guennec et al. (2016),
        hal-01357973, section 3 (windows); Park et al. (2019), arXiv:1904.08779, section 2 (masks).
    """

    jitter: float = option(0.0, low=0)
    scaling: float = option(0.0, low=0)
    crop: float | None = option(None, above=0, high=1)
    time_mask: float = option(0.0, low=0, below=1)
    channel_mask: float = option(0.0, low=0, below=1)

    def __post_init__(self) -> None:
        check_options(self)

    def apply(self, inputs: Tensor, ids: NDArray[np.int64], *, seed: int, epoch: int) -> Tensor:
        """The changed series; `inputs` stay as they were.

        Args:
            inputs: float `(B, C, L)`.
            ids: sample ids, int64 `(B,)`.
            seed: of the run.
            epoch: number of the epoch.

        Raises:
            ShapeError: inputs without these three axes.
        """
        if inputs.ndim != 3:
            raise ShapeError(f"inputs (of shape {tuple(inputs.shape)}) must be (B, C, L).")
        stream = Stream(ids, seed, epoch)
        if self.crop is not None:
            inputs = _window(inputs, stream, self.crop)
        if self.scaling > 0:
            factors = 1 + self.scaling * stream.normal("scaling", inputs.shape[1])
            inputs = inputs * _like(factors, inputs).unsqueeze(2)
        if self.jitter > 0:
            noise = self.jitter * stream.normal("jitter", inputs[0].numel())
            inputs = inputs + _like(noise, inputs).view_as(inputs)
        if self.time_mask > 0:
            inputs = inputs * _like(_time_mask(inputs.shape[2], stream, self.time_mask), inputs)
        if self.channel_mask > 0:
            kept = _channel_mask(inputs.shape[1], stream, self.channel_mask)
            inputs = inputs * _like(kept, inputs).unsqueeze(2)
        return inputs


def _like(values: NDArray[np.float64] | NDArray[np.bool_], inputs: Tensor) -> Tensor:
    return torch.from_numpy(values).to(inputs.dtype)


def _window(inputs: Tensor, stream: Stream, low: float) -> Tensor:
    """A window of each series, stretched to the old length; its ends are values of the series."""
    last = inputs.shape[2] - 1
    span = stream.between(low, 1, "window share") * last
    start = stream.uniform("window start") * (last - span)
    places = start[:, None] + span[:, None] * np.linspace(0, 1, last + 1)
    before = np.minimum(places.astype(np.int64), max(0, last - 1))
    share = _like(places - before, inputs).unsqueeze(1)
    first, second = (
        inputs.gather(2, torch.from_numpy(k).unsqueeze(1).expand_as(inputs))
        for k in (before, np.minimum(before + 1, last))
    )
    return first * (1 - share) + second * share


def _time_mask(length: int, stream: Stream, largest: float) -> NDArray[np.bool_]:
    """False in one stretch of 0 to largest * length values, `(B, 1, L)`."""
    span = stream.below(int(largest * length) + 1, "time mask length")
    start = (stream.uniform("time mask start") * (length - span + 1)).astype(np.int64)
    steps = np.arange(length)
    hidden = (steps >= start[:, None]) & (steps < (start + span)[:, None])
    return ~hidden[:, None, :]


def _channel_mask(channels: int, stream: Stream, probability: float) -> NDArray[np.bool_]:
    """False with the probability, `(B, C)`; the channel with the largest number stays."""
    draws = stream.several("channel mask", channels)
    kept = draws >= probability
    kept[np.arange(len(draws)), draws.argmax(axis=1)] = True
    return kept
