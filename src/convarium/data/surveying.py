"""One reading of every sample: copies, sizes, colour, and what cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium.data.parallel import ordered, processors
from convarium.data.samples import ArraySamples, Samples
from convarium.data.skipping import Skipped
from convarium.errors import DataError
from convarium.progress import Progress

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class Survey:
    """What one reading of every sample showed.

    Args:
        digests: uint64 `(N,)`, equal for equal pixels; 0 where a sample cannot be read.
        heights: int32 `(N,)`, in pixels; 0 where a sample cannot be read.
        widths: int32 `(N,)`, likewise.
        broken: ids of the samples that cannot be read, int64.
        channels: 3 where any sample has colour, else 1.
    """

    digests: NDArray[np.uint64]
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    broken: NDArray[np.int64]
    channels: int

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
    digests, depths = np.zeros(n, np.uint64), np.ones(n, np.uint8)
    heights, widths = np.zeros(n, np.int32), np.zeros(n, np.int32)
    broken: list[int] = []
    skipped: list[Skipped] = []

    def block(start: int) -> list[tuple[int, str]]:
        failed = []
        for i in range(start, min(start + _BLOCK, n)):
            try:
                digests[i], heights[i], widths[i], depths[i] = samples.facts(i)
            except DataError as error:
                failed.append((i, str(error)))
        return failed

    workers = 0 if isinstance(samples, ArraySamples) else processors()
    starts = range(0, n, _BLOCK)
    for start, failed in zip(starts, ordered(block, starts, workers), strict=True):
        for i, reason in failed:
            broken.append(i)
            skipped.append(Skipped(samples.name(i), reason))
        if progress is not None:
            progress.advance(min(_BLOCK, n - start))
    channels = int(depths.max(initial=1))
    return Survey(digests, heights, widths, np.array(broken, np.int64), channels), skipped


def check_broken(skipped: Sequence[Skipped], n: int, max_broken: float) -> None:
    """Refuse data of which more than a share cannot be read, or nothing can.

    Raises:
        DataError: that is so.
    """
    if not skipped or (len(skipped) <= max_broken * n and len(skipped) < n):
        return
    reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
    raise DataError(
        f"{len(skipped)} of {n} images cannot be read, more than the allowed share of "
        f"{max_broken:.0%} ({reasons}); repair or remove them."
    )
