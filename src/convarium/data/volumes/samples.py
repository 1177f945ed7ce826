"""Where volumes come from: files that are read when they are asked for, or one array in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.data.samples import Facts, FileSamples, VolumeFacts, block_name, digest
from convarium.data.volumes.reading import read_volume
from convarium.data.volumes.volume import Spacing, Volume, check_numbers, not_finite
from convarium.errors import DataError


class VolumeFiles(FileSamples):
    """Files of volumes, read by the rules of `data.volumes.reading`.

    Args:
        root: the folder that relative names start from.
        names: the files' names, `/` between folders.
    """

    kind: ClassVar[str] = "volumes"

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> Volume:  # type: ignore[override]
        """The volume; a DataError gives the reason alone."""
        return read_volume(self.encoded(i))

    def facts(self, i: int) -> Facts:
        """Digest, size and values of sample `i`; the whole file is read."""
        return facts_of(self.read(i))


class VolumeArrays:
    """Volumes of one size in memory, all with one spacing.

    Args:
        volumes: numbers `(N, C, D, H, W)`.
        blocks: names of consecutive blocks and their lengths, as `ArraySamples` has them.
        spacing: along depth, height and width.

    Raises:
        DataError: volumes of another kind or shape.
    """

    kind: ClassVar[str] = "volumes"
    in_memory: ClassVar[bool] = True

    def __init__(
        self,
        volumes: NDArray[Any],
        blocks: Sequence[tuple[str, int]],
        spacing: Spacing = (1.0, 1.0, 1.0),
    ) -> None:
        if volumes.ndim != 5 or 0 in volumes.shape[1:]:
            raise DataError(
                f"volumes of shape {volumes.shape} must be (N, C, D, H, W) with a voxel or more."
            )
        check_numbers(volumes.dtype)
        self.volumes = np.ascontiguousarray(volumes)
        self.blocks = tuple(blocks)
        self.spacing = spacing

    def __len__(self) -> int:
        return len(self.volumes)

    def name(self, i: int) -> str:
        """Block and number within it."""
        return block_name(self.blocks, i)

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> Volume:
        """The volume."""
        return Volume(self.volumes[i], self.spacing)

    def facts(self, i: int) -> Facts:
        """Digest, size and values of sample `i`."""
        return facts_of(self.read(i))


def facts_of(volume: Volume) -> Facts:
    """What the survey asks of a volume.

    Raises:
        DataError: a channel has no finite value.
    """
    values = volume.floats()
    depth, height, width = volume.size
    told = VolumeFacts(
        depth=depth,
        spacing=volume.spacing,
        type=str(volume.values.dtype),
        low=float(values.min()),
        high=float(values.max()),
        not_finite=sum(map(not_finite, volume.values)),
        unit=volume.unit,
    )
    return Facts(digest(volume.values), height, width, volume.channels, told)
