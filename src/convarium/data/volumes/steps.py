"""From a volume to the input of a network, as steps that a card can carry.

read_volume -> resize -> normalize                              without a spacing
read_volume -> resample -> center_crop_or_pad -> normalize      with one
(C, D, H, W) of any type    float32 (C, D', H', W')
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.normalising import check_moments
from convarium.data.preprocessing import Preprocessing
from convarium.data.volumes.resize import centred, resize, uncentred
from convarium.data.volumes.volume import MAX_VALUES, Spacing, Volume, usable_spacing
from convarium.errors import DataError

_TRILINEAR = {"interpolation": "trilinear", "antialias": True}


@dataclass(frozen=True)
class VolumePreprocessing(Preprocessing):
    """The steps from a volume to network input, and the class names.

    Without a spacing each axis is resized to the input's. With one, voxels are brought to that
    spacing first, and the middle is cut out; where a volume is shorter than the input it goes on
    with its last values.

    Args:
        input_shape: what the network gets, `(C, D, H, W)`.
        mean: mean of each channel's values, from training data.
        std: standard deviation of each channel, likewise.
        classes: class names, in the order of the class numbers.
        spacing: along depth, height and width, to which volumes are resampled; None resizes.
        median: whether the spacing is the median of the training data.

    Raises:
        DataError: a shape of other axes, or numbers that do not fit it.

    >>> steps = VolumePreprocessing((1, 2, 2, 2), mean=(1.0,), std=(2.0,), classes=("a", "b"))
    >>> volume = Volume(torch.full((1, 4, 6, 8), 5).numpy())
    >>> steps.finish(steps.apply(volume)[None]).shape
    torch.Size([1, 1, 2, 2, 2])
    """

    resize: None = field(default=None, init=False, repr=False)
    interpolation: Literal["trilinear"] = field(default="trilinear", init=False, repr=False)
    spacing: Spacing | None = None
    median: bool = False

    kind = "volumes"
    pixel_type = torch.float32
    white = 1.0

    def __post_init__(self) -> None:
        shape = self.input_shape
        if len(shape) != 4 or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            raise DataError(
                f"input_shape (={shape}) must be (C, D, H, W) of 1 or more, with {MAX_VALUES:,} "
                "values at most."
            )
        check_moments(shape[0], self.mean, self.std)
        steps: tuple[float, ...] | None = self.spacing
        if steps is not None and not (
            len(steps) == 3 and all(0 < step < math.inf for step in steps)
        ):
            raise DataError(f"spacing (={steps}) must be None or three positive numbers.")

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The ordered steps as they stand in the card."""
        size = list(self.input_shape[1:])
        read = {"op": "read_volume", "channels": self.input_shape[0], "orientation": "RAS+"}
        place: list[dict[str, Any]] = [{"op": "resize", "size": size, **_TRILINEAR}]
        if self.spacing is not None:
            source = "median" if self.median else "given"
            place = [
                {"op": "resample", "spacing": list(self.spacing), "from": source, **_TRILINEAR},
                {"op": "center_crop_or_pad", "size": size, "pad": "edge"},
            ]
        moments = {"mean": list(self.mean), "std": list(self.std)}
        return [{**read, "not_finite": "mean"}, *place, {"op": "normalize", **moments}]

    def apply(self, image: Volume | NDArray[Any]) -> Tensor:
        """The volume on the network's grid, not yet normalised.

        Shape:
            Returns: float32 `(C, D, H, W)` of `input_shape`.

        Raises:
            DataError: not a volume, other channels than the input's, or a channel without any
                finite value; the text is the reason alone.
        """
        volume = self.fitting(image)
        whole = torch.from_numpy(np.require(volume.floats(), requirements=["C", "W"]))
        size = self.input_shape[1:]
        if self.spacing is None:
            values = resize(whole, size)
        else:
            values = centred(resize(whole, self.resampled(volume)), size)
        return values.clone() if values is whole else values.contiguous()

    def fitting(self, volume: Any) -> Volume:
        """The volume, if it is one and has the input's channels.

        Raises:
            DataError: it is not so.
        """
        if not isinstance(volume, Volume):
            raise DataError("a picture, where the network takes volumes")
        if volume.channels != self.input_shape[0]:
            raise DataError(
                f"it has {volume.channels} channels, and the network takes {self.input_shape[0]}"
            )
        return volume

    def resampled(self, volume: Volume) -> tuple[int, ...]:
        """Size of a volume at the common spacing, and its own without one."""
        if self.spacing is None:
            return volume.size
        return resampled_size(volume.size, volume.spacing, self.spacing, volume.channels)

    def input_spacing(self, volume: Volume) -> Spacing:
        """From place to place of the network's input, in the unit of the volume's spacing.

        At a common spacing it is that one but for rounding: a volume of the length L becomes
        m = round(L / spacing) places, which are L / m apart.
        """
        sizes = self.input_shape[1:] if self.spacing is None else self.resampled(volume)
        sides = zip(volume.size, sizes, volume.spacing, strict=True)
        depth, height, width = (step * own / side for own, side, step in sides)
        return depth, height, width

    def voxel(self, place: Sequence[int], volume: Volume) -> tuple[int, ...]:
        """The voxel of a volume, along depth, height and width, that a place of the input shows."""
        grid = self.input_shape[1:]
        sizes = grid if self.spacing is None else self.resampled(volume)
        found = []
        for at, side, size, own in zip(place, grid, sizes, volume.size, strict=True):
            cut = (size - side) // 2 if size >= side else -((side - size) // 2)
            inside = min(max(at + cut, 0), size - 1)
            found.append((2 * inside + 1) * own // (2 * size))
        return tuple(found)

    @property
    def network_options(self) -> dict[str, int]:
        """Channels, and three axes."""
        return {**super().network_options, "spatial_dims": 3}

    @property
    def most_at_once(self) -> int:
        """Volumes of a batch in evaluation, at most: no more than 4 million values."""
        return max(1, 2**22 // math.prod(self.input_shape))

    def back(self, maps: Tensor, volume: Volume) -> Tensor:
        """Maps over the input, brought to the voxels of the volume; 0 where the input was not.

        Shape:
            maps: float `(K, D, H, W)` of the input's size. Returns: `(K, *volume.size)`.
        """
        if self.spacing is not None:
            maps = uncentred(maps, self.resampled(volume))
        return resize(maps, volume.size)

    def same_pixels(self, other: Preprocessing) -> bool:
        """Whether `apply` of the other gives the same values; mean, std and classes may differ."""
        if not isinstance(other, VolumePreprocessing):
            return False
        return (self.input_shape, self.spacing) == (other.input_shape, other.spacing)

    @classmethod
    def from_steps(
        cls, steps: Mapping[str, Any], shape: tuple[int, ...], classes: tuple[str, ...]
    ) -> VolumePreprocessing:
        """The preprocessing of a card's entries, as `Preprocessing.from_steps` has them."""
        resample = steps.get("resample")
        return cls(
            input_shape=shape,
            mean=tuple(map(float, steps["normalize"]["mean"])),
            std=tuple(map(float, steps["normalize"]["std"])),
            classes=classes,
            spacing=None if resample is None else usable_spacing(resample["spacing"]),
            median=resample is not None and resample["from"] == "median",
        )


def resampled_size(
    size: Sequence[int], own: Spacing, wanted: Spacing, channels: int = 1
) -> tuple[int, int, int]:
    """Voxels along each axis at another spacing: round(n own / wanted), 1 at least.

    Raises:
        DataError: these would be too many, all channels together.

    >>> resampled_size((24, 96, 128), (2.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    (24, 48, 64)
    """
    sides = [
        max(1, round(min(side * step / to, 2.0 * MAX_VALUES)))  # which may be infinite
        for side, step, to in zip(size, own, wanted, strict=True)
    ]
    if channels * math.prod(sides) > MAX_VALUES:
        each = f" of {channels} channels" if channels > 1 else ""
        raise DataError(
            f"at the spacing {' x '.join(f'{step:g}' for step in wanted)} it would have "
            f"{' x '.join(map(str, sides))} voxels{each}, more than {MAX_VALUES:,} values"
        )
    return sides[0], sides[1], sides[2]
