"""Preprocessing from training data: the input's shape, and each channel's mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from convarium import seeds
from convarium.data.dataset import Part
from convarium.data.kinds import KINDS, check_settings
from convarium.data.parallel import ordered, processors
from convarium.data.pictures import Pictures, pictures_of
from convarium.data.preprocessing import Preprocessing
from convarium.data.samples import ArraySamples
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from convarium.data.grids.options import GridOptions
    from convarium.data.series.steps import SeriesOptions
    from convarium.data.texts.tokens import TokenOptions

STATISTICS_SAMPLES = 20_000
_DEFAULT_SIZE = 224
_BLOCK = 256


def fit_preprocessing(
    part: Part,
    *,
    size: int | tuple[int, ...] | None = None,
    channels: int | None = None,
    spacing: float | Sequence[float] | str | None = None,
    tokens: TokenOptions | None = None,
    series: SeriesOptions | None = None,
    grids: GridOptions | None = None,
) -> Preprocessing:
    """Preprocessing fitted to a training part; no other sample is looked at for mean and std.

    mean_c = sum v / n,  std_c = sqrt(sum v^2 / n - mean_c^2) over all pixels v of channel c after
    resize and crop, from exact counts of the 256 values. Above 20,000 samples, 20,000 drawn ones
    are counted. A channel that never changes gets std 1.

    Volumes get a `VolumePreprocessing`, with the moments of their values, in float64. Texts get a
    `TextPreprocessing`, whose tokens come from the training texts, series a `SeriesPreprocessing`,
    and fields a `FieldPreprocessing` with the climatology of the training times.

    Args:
        part: the training part.
        size: side of the input in pixels, or (height, width). None keeps the size that all images
            share; where they differ it is the median short side, at most 224. Of volumes (depth,
            height, width), else the median of each, at most 64, and with a spacing at most 128.
        channels: 1 or 3; None means 3 where any image has colour, else 1.
        spacing: of volumes, to which they are resampled: "median", one number for all axes, or
            (depth, height, width); None resizes each axis to the input's.
        tokens: of texts, how they become tokens; None means `TokenOptions()`.
        series: of series, how they are prepared; None means `SeriesOptions()`.
        grids: of fields, what a network reads and gives; None means `GridOptions()`.

    Raises:
        OptionError: a size below 1, channels other than 1 and 3, or a setting of another kind.
        DataError: the part is empty, or one of its images cannot be read any more.
    """
    part = part.probe
    if not len(part):
        raise DataError("The training part is empty; give more samples or smaller other parts.")
    kind = part.dataset.kind
    given: dict[str, Any] = {"size": size, "channels": channels, "spacing": spacing}
    given |= {"tokens": tokens, "series": series, "grids": grids}
    fitted: Preprocessing = KINDS[kind].load("fit")(
        part, _drawn(part), **check_settings(kind, given)
    )
    return fitted


def fit_images(
    part: Part,
    ids: NDArray[np.int64],
    *,
    size: int | tuple[int, ...] | None = None,
    channels: int | None = None,
) -> Preprocessing:
    """`fit_preprocessing` for images; `ids` are the samples that are counted."""
    if channels not in (None, 1, 3):
        raise OptionError(f"channels (={channels}) must be 1 (grey) or 3 (colour).")
    height, width = _input_size(part) if size is None else _pair(size)
    depth = channels or part.dataset.channels
    plain = Preprocessing((depth, height, width), (0.0,) * depth, (1.0,) * depth, part.classes)
    mean, std = _moments(_counts(pictures_of(part.dataset, plain), ids))
    return Preprocessing((depth, height, width), mean, std, part.classes)


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise OptionError(f"size (={size}) must be one number for images, or height and width.")
    height, width = sides
    if min(height, width) < 1:
        raise OptionError(f"size (={size}) must be 1 pixel or more.")
    return height, width


def _input_size(part: Part) -> tuple[int, int]:
    """The size that all images share, else a square of their median short side, at most 224."""
    shared = part.dataset.image_size
    if shared is not None:
        return shared
    survey = part.dataset.survey()
    short = np.minimum(survey.heights, survey.widths)[part.ids]
    side = min(_DEFAULT_SIZE, int(np.median(short)))
    return side, side


def _drawn(part: Part) -> NDArray[np.int64]:
    if len(part) <= STATISTICS_SAMPLES:
        return part.ids
    drawn = seeds.permutation(len(part), 0, "statistics")[:STATISTICS_SAMPLES]
    return part.ids[np.sort(drawn)]


def _counts(pictures: Pictures, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each value 0..255 stands in each channel, `(C, 256)`."""

    def count(start: int) -> NDArray[np.int64]:
        gathered = pictures.gather(ids[start : start + _BLOCK])
        if gathered.broken:
            i, reason = gathered.broken[0]
            raise DataError(f"Cannot read {pictures.dataset.name(i)}: {reason}.")
        channels = gathered.pixels.transpose(0, 1).flatten(1)
        rows = [torch.bincount(channel, minlength=256) for channel in channels]
        counts: NDArray[np.int64] = torch.stack(rows).numpy()
        return counts

    workers = 0 if isinstance(pictures.dataset.samples, ArraySamples) else processors()
    total = np.zeros((pictures.preprocessing.input_shape[0], 256), np.int64)
    for counts in ordered(count, range(0, len(ids), _BLOCK), workers):
        total += counts
    return total


def _moments(counts: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    values = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ values
    std = np.sqrt((weights * (values - mean[:, None]) ** 2).sum(axis=1))
    std[std == 0] = 1
    return tuple(mean.tolist()), tuple(std.tolist())
