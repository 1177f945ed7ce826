"""Augmentation of series: noise, scaling, windows, and masks over time and channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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

    What happens to a sample is a function of (seed, epoch, sample id), and where `longest` is given
    also the same whatever it is padded to. The series should be normalised, so that a deviation is
    1 and a mean 0.

    Args:
        jitter: standard deviation of normal noise added to every value; 0 is off.
        scaling: standard deviation of the factor, around 1, on each channel; 0 is off.
        crop: smallest share of the length; a window of that share to 1 is stretched to the old
            length by linear interpolation. None is off.
        time_mask: the largest share of the length that one stretch of zeros takes; 0 is off.
        channel_mask: probability that a channel is set to zero; one channel always stays. 0 is off.
        longest: time steps of a series at most; None means those of the batch.
        marks: channels behind those of the series that mark missing values: only the crop moves
            them.

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
    longest: int | None = option(None, low=1)
    marks: int = option(0, low=0)

    kind: ClassVar[str] = "series"
    light: ClassVar[bool] = True  # batches of series in memory need no worker
    mixes: ClassVar[bool] = False  # series of unequal lengths have no mean

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.lines())

    def lines(self) -> list[str]:
        """What is done, in words, in its order."""
        said = {
            f"a window of {self.crop or 0:.0%} to 100% of the length, stretched": self.crop,
            f"each channel times a factor of deviation {self.scaling:g}": self.scaling,
            f"noise of deviation {self.jitter:g}": self.jitter,
            f"a stretch of up to {self.time_mask:.0%} of the length set to 0": self.time_mask,
            f"a channel set to 0 with probability {self.channel_mask:g}": self.channel_mask,
        }
        return [words for words, value in said.items() if value]

    def crop_draws(self, stream: Stream) -> None:
        """None: series are cropped when they are prepared."""

    def draw_mix(self, sides: tuple[int, ...], *, seed: int, epoch: int, step: int) -> None:
        """None: series are not mixed."""

    def change(self, pixels: Tensor, stream: Stream, *, own: bool = False) -> Tensor:
        """The series as they are: the change comes last."""
        return pixels

    def apply(
        self,
        inputs: Tensor,
        ids: NDArray[np.int64],
        *,
        seed: int,
        epoch: int,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The changed series; `inputs` stay as they were.

        Args:
            inputs: float `(B, C, L)`.
            ids: sample ids, int64 `(B,)`.
            seed: of the run.
            epoch: number of the epoch.
            mask: which steps are real, bool `(B, L)`; None means all.

        Raises:
            ShapeError: inputs without these three axes.
        """
        if inputs.ndim != 3:
            raise ShapeError(f"inputs (of shape {tuple(inputs.shape)}) must be (B, C, L).")
        return self.after(inputs, Stream(ids, seed, epoch), mask)

    def after(self, inputs: Tensor, stream: Stream, mask: Tensor | None = None) -> Tensor:
        """What is done to prepared series, float `(B, C, L)`, with zeros in the padding."""
        lengths = np.full(len(inputs), inputs.shape[2])
        if mask is not None:
            lengths = mask.sum(1).cpu().numpy()
        if self.crop is not None:
            inputs = _window(inputs, stream, self.crop, lengths)
        marks = inputs[:, inputs.shape[1] - self.marks :]
        inputs = self._changed(inputs[:, : inputs.shape[1] - self.marks], stream, lengths)
        inputs = torch.cat([inputs, marks], 1) if self.marks else inputs
        return inputs if mask is None else inputs * mask.unsqueeze(1)

    def _changed(self, inputs: Tensor, stream: Stream, lengths: NDArray[np.int64]) -> Tensor:
        """Factors, noise and masks."""
        channels, length = inputs.shape[1:]
        if self.scaling > 0:
            factors = 1 + self.scaling * stream.normal("scaling", channels)
            inputs = inputs * _like(factors, inputs).unsqueeze(2)
        if self.jitter > 0:
            longest = max(length, self.longest or 0)
            noise = self.jitter * stream.normal("jitter", longest * channels, length * channels)
            steps = _like(noise, inputs).view(len(inputs), length, channels)
            inputs = inputs + steps.transpose(1, 2)
        if self.time_mask > 0:
            inputs = inputs * _like(_time_mask(length, lengths, stream, self.time_mask), inputs)
        if self.channel_mask > 0:
            kept = _channel_mask(channels, stream, self.channel_mask)
            inputs = inputs * _like(kept, inputs).unsqueeze(2)
        return inputs


def _like(values: NDArray[np.float64] | NDArray[np.bool_], inputs: Tensor) -> Tensor:
    return torch.from_numpy(values).to(inputs)


def _window(inputs: Tensor, stream: Stream, low: float, lengths: NDArray[np.int64]) -> Tensor:
    """A window of each series, stretched to the old length; its ends are values of the series."""
    last = lengths - 1
    span = stream.between(low, 1, "window share") * last
    start = stream.uniform("window start") * (last - span)
    along = np.arange(inputs.shape[2]) / np.maximum(last, 1)[:, None]
    places = np.minimum(start[:, None] + span[:, None] * along, last[:, None])
    before = np.minimum(places.astype(np.int64), np.maximum(0, last - 1)[:, None])
    share = _like(places - before, inputs).unsqueeze(1)
    first, second = (
        inputs.gather(2, torch.from_numpy(k).to(inputs.device).unsqueeze(1).expand_as(inputs))
        for k in (before, np.minimum(before + 1, last[:, None]))
    )
    return first * (1 - share) + second * share


def _time_mask(
    length: int, lengths: NDArray[np.int64], stream: Stream, largest: float
) -> NDArray[np.bool_]:
    """False in one stretch of 0 to largest * length values, `(B, 1, L)`."""
    most = (largest * lengths).astype(np.int64) + 1
    span = (stream.uniform("time mask length") * most).astype(np.int64)
    start = (stream.uniform("time mask start") * (lengths - span + 1)).astype(np.int64)
    steps = np.arange(length)
    hidden = (steps >= start[:, None]) & (steps < (start + span)[:, None])
    return ~hidden[:, None, :]


def _channel_mask(channels: int, stream: Stream, probability: float) -> NDArray[np.bool_]:
    """False with the probability, `(B, C)`; the channel with the largest number stays."""
    draws = stream.several("channel mask", channels)
    kept = draws >= probability
    kept[np.arange(len(draws)), draws.argmax(axis=1)] = True
    return kept
