"""Preprocessing of volumes from training data: grid, spacing, and each channel's moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Part
from convarium.data.parallel import ordered, processors
from convarium.data.pictures import pictures_of
from convarium.data.volumes.steps import VolumePreprocessing, resampled_size
from convarium.data.volumes.volume import Spacing
from convarium.errors import DataError, OptionError

_LARGEST, _LARGEST_SPACED = 64, 128
_BLOCK = 4
# A deviation up to this share of the largest value is rounding: of the sums in float64, and of
# resizing in float32.
_EXACT, _RESIZED = 1e-12, 1e-6

Moments = tuple[int, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def fit_volumes(
    part: Part,
    ids: NDArray[np.int64],
    *,
    size: int | Sequence[int] | None = None,
    channels: int | None = None,
    spacing: float | Sequence[float] | str | None = None,
) -> VolumePreprocessing:
    """`fit_preprocessing` for volumes; `ids` are the samples that mean and deviation come from."""
    survey = part.dataset.survey()
    if channels not in (None, survey.channels):
        raise OptionError(
            f"channels (={channels}) must be those of the volumes, {survey.channels}; leave it out."
        )
    common = common_spacing(part, spacing)
    sides = volume_sizes(part, common)
    grid = default_grid(sides, common is not None) if size is None else _three("size", size)
    plain = VolumePreprocessing(
        (survey.channels, *map(int, grid)),
        mean=(0.0,) * survey.channels,
        std=(1.0,) * survey.channels,
        classes=part.classes,
        spacing=common,
        median=spacing == "median",
    )
    resized = common is not None or bool((sides != np.array(grid)).any())
    mean, std = _moments(part, plain, ids, _RESIZED if resized else _EXACT)
    return replace(plain, mean=mean, std=std)


def common_spacing(part: Part, spacing: float | Sequence[float] | str | None) -> Spacing | None:
    """Three numbers from what is asked for: "median" is that of the part, along each axis.

    Raises:
        OptionError: something else than "median", None, and one or three positive numbers.
    """
    if spacing is None:
        return None
    if isinstance(spacing, str):
        volumes = part.dataset.survey().volumes
        if spacing != "median" or volumes is None:
            raise OptionError(
                f"spacing (={spacing!r}) must be 'median', a number, or three for depth, height "
                "and width."
            )
        steps: Sequence[float] = np.median(volumes.spacings[part.ids], axis=0).tolist()
    else:
        steps = _three("spacing", spacing)
    depth, height, width = map(float, steps)
    return depth, height, width


def volume_sizes(
    part: Part, spacing: float | Sequence[float] | str | None = None
) -> NDArray[np.int64]:
    """Depth, height and width of each volume of a part, at a common spacing where there is one.

    Args:
        part: volumes that can be read.
        spacing: as `fit_preprocessing` takes it.

    Shape:
        `(n, 3)`.

    Raises:
        DataError: the part holds pictures.
        OptionError: another spacing.
    """
    common = common_spacing(part, spacing)
    survey = part.dataset.survey()
    if survey.volumes is None:
        raise DataError(f"{part.dataset.source} holds pictures, and volumes are asked for.")
    sides = np.stack([survey.volumes.depths, survey.heights, survey.widths], axis=1)[part.ids]
    if common is None:
        return sides.astype(np.int64)
    own = survey.volumes.spacings[part.ids].tolist()
    sizes = [
        resampled_size(side, (step[0], step[1], step[2]), common, survey.channels)
        for side, step in zip(sides.tolist(), own, strict=True)
    ]
    return np.array(sizes, np.int64)


def default_grid(sides: NDArray[np.int64], spaced: bool) -> tuple[int, int, int]:
    """Depth, height and width of the input where nobody says: the median along each axis.

    At most 64, to which volumes are resized; at a common spacing, where what does not fit is cut
    off, at most 128.

    >>> default_grid(np.array([[8, 100, 200]]), spaced=True)
    (8, 100, 128)
    """
    most = _LARGEST_SPACED if spaced else _LARGEST
    depth, height, width = np.minimum(np.median(sides, axis=0), most).astype(int).tolist()
    return depth, height, width


def shares_seen(part: Part, steps: VolumePreprocessing) -> NDArray[np.float64]:
    """The share of each volume of a part that the input holds; the rest is cut off.

    Shape:
        `(n,)`, in [0, 1]; 1 without a common spacing.
    """
    if steps.spacing is None:
        return np.ones(len(part))
    kept = np.array(steps.input_shape[1:]) / volume_sizes(part, steps.spacing)
    seen: NDArray[np.float64] = np.minimum(kept, 1).prod(axis=1)
    return seen


def _three(name: str, value: float | Sequence[float]) -> tuple[float, ...]:
    several = tuple(value) if isinstance(value, Sequence) else (value,) * 3
    if len(several) != 3 or not all(0 < each < np.inf for each in several):
        raise OptionError(
            f"{name} (={value}) must be a positive number, or three for depth, height and width."
        )
    if name == "size" and any(each != int(each) for each in several):
        raise OptionError(f"size (={value}) must be whole numbers of voxels.")
    return several


def _moments(
    part: Part, plain: VolumePreprocessing, ids: NDArray[np.int64], rounding: float
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, in float64: of each block, then merged in order.

    A channel that is constant but for rounding has the deviation 1.

    References:
        Chan, Golub, LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
        sample variances", Stanford STAN-CS-79-773, section 2.
    """
    pictures = pictures_of(part.dataset, plain)

    def block(start: int) -> Moments:
        gathered = pictures.gather(ids[start : start + _BLOCK])
        if gathered.broken:
            i, reason = gathered.broken[0]
            raise DataError(f"Cannot read {part.dataset.name(i)}: {reason}.")
        values = gathered.pixels.transpose(0, 1).flatten(1).double()
        mean = values.mean(dim=1, keepdim=True)
        squares = (values - mean).square().sum(dim=1)
        largest = values.abs().amax(dim=1)
        return values.shape[1], mean[:, 0].numpy(), squares.numpy(), largest.numpy()

    count, channels = 0, plain.input_shape[0]
    mean, squares, largest = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for n, own, around, top in ordered(block, range(0, len(ids), _BLOCK), processors()):
        total, shift = count + n, own - mean
        squares += around + shift**2 * (count * n / total)
        mean += shift * (n / total)
        largest = np.maximum(largest, top)
        count = total
    std = np.sqrt(squares / count)
    std[std <= rounding * largest] = 1  # constant
    return tuple(mean.tolist()), tuple(std.tolist())
