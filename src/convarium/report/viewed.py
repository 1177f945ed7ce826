"""Filters, maps and exciting inputs as pictures with a word each."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data import Dataset, Part, Volume, VolumePreprocessing
from convarium.explain.painting import heat_colours, shown_size, signed_colours
from convarium.report import slices, wording
from convarium.report.explained import seen_by
from convarium.report.pictures import Picture, colour

if TYPE_CHECKING:
    from convarium.explain import Excitement, ExcitingInput, FeatureMaps, Filters
    from convarium.predict import Run

Pixels = NDArray[np.uint8]

_FRAME = (255, 138, 0)
_DIMMED = 0.35
_BETWEEN = 40  # grey between the slices of a filter


def filter_pictures(found: Filters, *, shared: bool = True) -> list[Picture]:
    """Each filter as a picture: of three channels in colour, else its channels in grey.

    Middle grey is a weight of 0, white and black are the largest weight above and below.

    Args:
        found: of `explain.filters`.
        shared: one scale for all; otherwise each filter has its own.
    """
    largest = found.weights.abs().flatten(1).amax(1).tolist()
    shown = found.display(shared=shared)
    return [
        Picture(_flat(weights), f"filter {k}", f"up to {wording.number(largest[k])}")
        for k, weights in enumerate(shown)
    ]


def _flat(weights: Tensor) -> Pixels:
    """A filter (C, *K) in [0, 1] as one picture; channels and depths stand beside each other."""
    pixels: Pixels = np.rint(255 * weights.numpy()).astype(np.uint8)
    if pixels.ndim == 3 and len(pixels) == 3:
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if pixels.ndim == 2:  # (C, K): a row a channel
        return pixels[..., None]
    slides = pixels.reshape(-1, *pixels.shape[-2:])
    height, width = slides.shape[1:]
    sheet = np.full((height, len(slides) * (width + 1) - 1), _BETWEEN, np.uint8)
    for k, slide in enumerate(slides):
        sheet[:, k * (width + 1) : k * (width + 1) + width] = slide
    return sheet[..., None]


def map_pictures(found: FeatureMaps, sample: int = 0, *, shared: bool = False) -> list[Picture]:
    """The maps of one sample in the colours of heat; with values below 0, from blue to orange.

    Args:
        found: of `explain.feature_maps`.
        sample: which one of the batch.
        shared: one scale for all maps; otherwise each has its own.
    """
    maps = found.maps[sample].nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).cpu()
    signed = bool((maps < 0).any())
    most = found.strength[sample].cpu().clone()
    scale = most.amax().expand_as(most) if shared else most
    shares = maps / torch.where(scale > 0, scale, 1).reshape(-1, *[1] * (maps.ndim - 1))
    paint = signed_colours if signed else heat_colours
    channels = found.channels[sample].tolist()
    return [
        Picture(
            np.rint(255 * paint(_plane(share).numpy())).astype(np.uint8),
            f"channel {channel}",
            f"up to {wording.number(largest)}",
        )
        for share, channel, largest in zip(shares, channels, most.tolist(), strict=True)
    ]


def _plane(values: Tensor) -> Tensor:
    """A map as a plane: a series as one row, of a volume the depth with the largest value."""
    if values.ndim == 1:
        return values[None]
    if values.ndim == 3:
        return values[int(values.abs().flatten(1).amax(1).argmax())]
    return values


def exciting_pictures(run: Run, data: Part | Dataset, found: Excitement) -> list[Picture]:
    """The inputs as the network sees them, with the patch that excites the channel in a frame.

    A volume is drawn as three slices through the middle of the patch.

    Args:
        run: whose network it is.
        data: that was looked through.
        found: of `explain.exciting_inputs`.
    """
    dataset = data.dataset if isinstance(data, Part) else data
    pictures = []
    for one in found.inputs:
        original = dataset.read(one.id)
        seen = seen_by(run.preprocessing, original)
        note = f"{wording.number(one.value)} at ({', '.join(map(str, one.place))})"
        if isinstance(seen, Volume):
            middle = [(start + stop - 1) // 2 for start, stop in one.patch]
            at = (middle[0], middle[1], middle[2])
            where = cast("VolumePreprocessing", run.preprocessing).voxel(at, original)
            note += "; depth {}, height {}, width {}".format(*where)
            image = slices.slices_picture(seen, at=at)
        else:
            image = _framed(seen, one)
        name = "/".join(dataset.name(one.id).split("/")[-2:])
        pictures.append(Picture(image, name, note))
    return pictures


def _framed(image: Pixels, one: ExcitingInput) -> Pixels:
    """The image, dark outside of the patch, whose border is drawn."""
    factor = shown_size(image.shape[:2])[0] // image.shape[0]
    large: Pixels = colour(image).repeat(factor, axis=0).repeat(factor, axis=1)
    (top, bottom), (left, right) = ((factor * a, factor * b) for a, b in one.patch)
    if (top, left, bottom, right) == (0, 0, *large.shape[:2]):
        return large
    dark: Pixels = np.rint(_DIMMED * large).astype(np.uint8)
    dark[top:bottom, left:right] = large[top:bottom, left:right]
    thick = max(2, max(large.shape) // 120)
    inside = np.zeros(dark.shape[:2], bool)
    inside[top:bottom, left:right] = True
    inside[top + thick : bottom - thick, left + thick : right - thick] = False
    dark[inside] = _FRAME
    return dark
