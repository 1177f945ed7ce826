"""One reading of every sample: copies, sizes, colour, and what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium.data.looks import looks
from convarium.data.parallel import ordered, processors
from convarium.data.samples import ArraySamples, Samples, VolumeFacts
from convarium.data.skipping import Skipped
from convarium.data.volumes.samples import VolumeFiles
from convarium.errors import DataError
from convarium.progress import Progress

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class VolumeSurvey:
    """What one reading of every volume showed besides; 0 where one cannot be read.

    Args:
        depths: int32 `(N,)`, in voxels.
        spacings: float64 `(N, 3)`, along depth, height and width.
        types: types of the values as texts, such as "int16", `(N,)`.
        lows: smallest values, float64 `(N,)`.
        highs: largest values, likewise.
        not_finite: how many values are NaN or infinite, int64 `(N,)`.
        units: of the spacings, "mm" or empty where the file names none, `(N,)`.
    """

    depths: NDArray[np.int32]
    spacings: NDArray[np.float64]
    types: NDArray[np.str_]
    lows: NDArray[np.float64]
    highs: NDArray[np.float64]
    not_finite: NDArray[np.int64]
    units: NDArray[np.str_]

    @classmethod
    def of(cls, told: Mapping[int, VolumeFacts], n: int) -> VolumeSurvey:
        """From the facts of those of n volumes that can be read."""
        nothing = VolumeFacts(0, (0.0, 0.0, 0.0), "", 0.0, 0.0, 0)
        columns = list(zip(*(told.get(i, nothing) for i in range(n)), strict=True))
        depths, spacings, types, lows, highs, bad, units = columns
        return cls(
            np.array(depths, np.int32),
            np.array(spacings, np.float64),
            np.array(types, np.str_),
            np.array(lows, np.float64),
            np.array(highs, np.float64),
            np.array(bad, np.int64),
            np.array(units, np.str_),
        )


@dataclass(frozen=True, eq=False)
class SeriesSurvey:
    """What one reading of every series showed besides; 0 and NaN where one cannot be read.

    Args:
        missing: how many values are missing, int64 `(N,)`.
        rates: time steps a second, float64 `(N,)`; NaN where a file says none.
    """

    missing: NDArray[np.int64]
    rates: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Survey:
    """What one reading of every sample showed.

    Args:
        digests: uint64 `(N,)`, equal for equal pixels; 0 where a sample cannot be read.
        heights: int32 `(N,)`, in pixels; 0 where a sample cannot be read.
        widths: int32 `(N,)`, likewise.
        broken: ids of the samples that cannot be read, int64.
        channels: 3 where any sample has colour, else 1; of volumes as many as most of them have.
        volumes: what only volumes have; None for pictures.
        looks: a hash of how each picture looks, uint64 `(N, 4)`, as `data.looks` has them; 0 where
            it says nothing, and None where no picture is large enough.
        series: what only series have; None for others.
    """

    digests: NDArray[np.uint64]
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    broken: NDArray[np.int64]
    channels: int
    volumes: VolumeSurvey | None = None
    looks: NDArray[np.uint64] | None = None
    series: SeriesSurvey | None = None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) where all readable samples have the same one, else None."""
        sizes = (self.heights[self.digests != 0], self.widths[self.digests != 0])
        if not len(sizes[0]) or any((side != side[0]).any() for side in sizes):
            return None
        return int(sizes[0][0]), int(sizes[1][0])


def survey_samples(samples: Samples, progress: Progress | None) -> tuple[Survey, list[Skipped]]:
    """Read every sample once, in threads where they are files; also what cannot be read."""
    n = len(samples)
    digests, channels = np.zeros(n, np.uint64), np.ones(n, np.int32)
    heights, widths = np.zeros(n, np.int32), np.zeros(n, np.int32)
    broken: list[int] = []
    skipped: list[Skipped] = []
    told: dict[int, VolumeFacts] = {}
    hashes = np.zeros((n, 4), np.uint64)
    size = 1 if isinstance(samples, VolumeFiles) else _BLOCK  # one takes as long as many pictures

    def block(start: int) -> list[tuple[int, str]]:
        failed, seen = [], dict[int, NDArray[np.uint8]]()
        for i in range(start, min(start + size, n)):
            try:
                digests[i], heights[i], widths[i], channels[i], volume, tiny = samples.facts(i)
                if volume is not None:
                    told[i] = volume
                if tiny is not None:
                    seen[i] = tiny
            except DataError as error:
                failed.append((i, str(error)))
        if seen:
            hashes[[*seen]] = looks(np.stack([*seen.values()]))
        return failed

    workers = 0 if isinstance(samples, ArraySamples) else processors()
    starts = range(0, n, size)
    for start, failed in zip(starts, ordered(block, starts, workers), strict=True):
        for i, reason in failed:
            broken.append(i)
            skipped.append(Skipped(samples.name(i), reason))
        if progress is not None:
            progress.advance(min(size, n - start))
    most, volumes = int(channels.max(initial=1)), None
    if told:
        seen_channels, times = np.unique(channels[sorted(told)], return_counts=True)
        most, volumes = int(seen_channels[times.argmax()]), VolumeSurvey.of(told, n)
        for i in (i for i in sorted(told) if channels[i] != most):
            digests[i], reason = 0, f"it has {channels[i]} channels, and most have {most}"
            broken.append(i)
            skipped.append(Skipped(samples.name(i), reason))
    missing = np.array(sorted(broken), np.int64)
    seen = hashes if hashes.any() else None
    return Survey(digests, heights, widths, missing, most, volumes, seen), skipped


def check_broken(
    skipped: Sequence[Skipped], n: int, max_broken: float, word: str = "images"
) -> None:
    """Refuse data of which more than a share cannot be read, or nothing can.

    Raises:
        DataError: that is so.
    """
    if not skipped or (len(skipped) <= max_broken * n and len(skipped) < n):
        return
    reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
    raise DataError(
        f"{len(skipped)} of {n} {word} cannot be read, more than the allowed share of "
        f"{max_broken:.0%} ({reasons}); repair or remove them."
    )
