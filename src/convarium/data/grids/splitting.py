"""Parts of a data set of fields: blocks of time that follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from convarium.data.dataset import Dataset, Part
from convarium.data.grids import holding
from convarium.data.grids.dividing import split_times
from convarium.data.grids.samples import GridSamples
from convarium.data.parts import Parts
from convarium.errors import DataError


def split_grids(
    dataset: Dataset,
    *,
    validation: float,
    test: float,
    seed: int,
    gap: int,
    held_out: Sequence[float] | None = None,
) -> Parts:
    """The first times for training, the last for the test, validation just before them.

    Times without any known cell are in no part, and neither are those of a part that the next one
    has, too, as where a file joins members of an ensemble.

    Args:
        dataset: of fields.
        validation: share of the times; a number of them where it is 1 or more.
        test: likewise.
        seed: has no effect, and is kept among the settings.
        gap: times that are left out between two parts.
        held_out: south, north, west and east of a region that the test alone counts, and which
            counts nothing else; None is all cells in each part.

    Raises:
        OptionError: the parts are longer than all times.
        DataError: nothing is left for one of the parts, or no cell is in the region.
    """
    usable = np.flatnonzero(dataset.survey().digests != 0)
    n = len(usable)
    second, last = (_times(size, n) for size in (validation, test))
    train = n - second - last - gap * (int(second > 0) + int(last > 0))
    if train < 2 or not second or not last:
        raise DataError(
            f"{dataset.source} has {n} times, too few for {second} of validation, {last} of the "
            f"test and gaps of {gap}; give more, or other --validation, --test and --gap."
        )
    found = split_times(n, train=train, validation=second, test=last, gap=gap)
    samples = cast("GridSamples", dataset.samples)
    times = samples.pairs.fine.times[usable]
    later = (times[found.validation], times[found.test], times[:0])
    ids = [own[~np.isin(times[own], next_)] for own, next_ in zip(found, later, strict=True)]
    if held_out is not None:
        dataset = holding.held_out(dataset, held_out, usable[ids[-1]])
    trained, chosen, tested = (Part(dataset, usable[own]) for own in ids)
    between = n - len(trained) - len(chosen) - len(tested)
    settings: dict[str, Any] = {"validation": validation, "test": test, "seed": seed, "gap": gap}
    settings |= {} if held_out is None else {"held_out": list(held_out)}
    return Parts(trained, chosen, tested, settings=settings, between=between)


def _times(size: float, count: int) -> int:
    """A share of the times, or a number of them."""
    return round(size * count) if size < 1 else int(size)
