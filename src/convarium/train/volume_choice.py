"""What to train on volumes where nobody says: grid, network and batch, from the volumes' sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from convarium.data import Dataset, Part, volume_sizes
from convarium.data.volumes.fitting import default_grid
from convarium.errors import OptionError

Grid = tuple[int, int, int]

_MOST_VOXELS = 2**22  # of a batch


def volume_grid(
    dataset: Dataset,
    size: int | Sequence[int] | None,
    spacing: float | Sequence[float] | str | None = None,
) -> Grid:
    """Depth, height and width of the network's input.

    Without a size it is `default_grid`'s.

    Raises:
        OptionError: a size of other than one or three numbers.
    """
    if size is not None:
        sides = (size,) * 3 if isinstance(size, int) else tuple(size)
        if len(sides) != 3:
            raise OptionError(
                f"size (={size}) must be one number for volumes, or depth, height and width."
            )
        return sides[0], sides[1], sides[2]
    usable = np.flatnonzero(dataset.survey().digests != 0)
    return default_grid(volume_sizes(Part(dataset, usable), spacing), spacing is not None)


def volume_network(grid: Grid) -> tuple[str, dict[str, Any]]:
    """Name and options of a network for a grid; its filters are half as many as for images.

    | mean side, the cube root of the voxels | network                                         |
    |----------------------------------------|-------------------------------------------------|
    | up to 16                               | resnet8, 3x3x3 stem                             |
    | up to 40                               | resnet8, 3x3x3 stem and a 2x2x2 pool            |
    | above                                  | resnet10, 7x7x7 stem with stride 2 and a pool   |
    """
    side = math.prod(grid) ** (1 / 3)
    small = {"widths": [32, 64, 128], "zero_gamma": True}
    if side <= 16.5 or min(grid) < 2:
        return "resnet8", {"stem": "cifar", **small}
    if side <= 40:
        return "resnet8", {"stem": "pool", **small}
    return "resnet10", {"widths": [32, 64, 128, 256], "zero_gamma": True}


def largest_batch_of(grid: Grid) -> int:
    """The largest batch that is taken without being asked for: 4 million voxels, 2 to 128.

    >>> largest_batch_of((64, 64, 64)), largest_batch_of((24, 24, 24))
    (16, 128)
    """
    return min(128, max(2, _MOST_VOXELS // math.prod(grid)))


def volumes_in_words(dataset: Dataset) -> str:
    """Their median size, their spacing and type, for the line that says what is trained on."""
    survey = dataset.survey()
    if survey.volumes is None:
        return ""
    good = survey.digests != 0
    sides = np.stack([survey.volumes.depths, survey.heights, survey.widths], axis=1)[good]
    size = " x ".join(f"{side:g}" for side in np.median(sides, axis=0))
    step = " x ".join(f"{side:g}" for side in np.median(survey.volumes.spacings[good], axis=0))
    kinds = ", ".join(np.unique(survey.volumes.types[good]).tolist())
    middle = "median size" if (sides != sides[0]).any() else "size"
    return f"{middle} {size} voxels of {kinds}, spacing {step}"
