"""What a data set holds, before anything is trained: counts, sizes, copies, what cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset, Survey
from convarium.data.given import PARTS
from convarium.data.looks import linked
from convarium.data.series.surveying import SeriesFacts
from convarium.data.skipping import Skipped
from convarium.progress import Progress


@dataclass(frozen=True)
class VolumeOverview:
    """Facts of volumes.

    Args:
        depths: smallest, median and largest depth in voxels.
        spacings: smallest, median and largest spacing along depth, height and width.
        types: volumes of each type of values.
        lowest: smallest value of all.
        highest: largest value of all.
        not_finite: volumes with values that are NaN or infinite, which become a mean.
        without_unit: volumes whose files name no unit of the spacing, so that it is taken as it is;
            that of the others is in millimetres.
    """

    depths: tuple[int, int, int]
    spacings: tuple[tuple[float, float, float], ...]
    types: dict[str, int]
    lowest: float
    highest: float
    not_finite: int
    without_unit: int

    def to_json(self) -> dict[str, Any]:
        """The same as a mapping that JSON can hold."""
        return {**self.__dict__, "spacings": list(map(list, self.spacings))}


@dataclass(frozen=True)
class Overview:
    """Facts of a data set, from one reading of every sample.

    Args:
        source: what the user named.
        task: what the targets are.
        samples: how many there are, with those that cannot be read.
        classes: samples of each class or label that can be read, in their order; empty without.
        numbers: smallest, mean and largest value of each number of a regression; else empty.
        parts: samples of each part that the data gives; empty where it gives none.
        heights: smallest, median and largest height in pixels.
        widths: likewise.
        channels: 3 where any sample has colour, else 1; those of volumes.
        copies: names of samples with equal pixels, a tuple for each set of them.
        contradicting: how many of these sets have different targets.
        crossing: how many of these sets lie in several given parts.
        alike: names of pictures that look alike and are not all equal, a tuple for each set.
        alike_contradicting: how many of these sets have different targets.
        alike_crossing: how many of these sets lie in several given parts.
        unreadable: samples that cannot be read.
        skipped: everything left out, with its reason; the unreadable samples are among them.
        fingerprint: of the pixels, targets, groups, parts and classes.
        volumes: what only volumes have; None for images.
        kind: what the samples are. Texts are 1 high, and as wide as they have characters; series
            likewise with time steps.
        series: what only series have; None for others.
        notes: what a user should know of how the data was read.
    """

    source: str
    task: str
    samples: int
    classes: dict[str, int]
    numbers: dict[str, tuple[float, float, float]]
    parts: dict[str, int]
    heights: tuple[int, int, int]
    widths: tuple[int, int, int]
    channels: int
    copies: tuple[tuple[str, ...], ...]
    contradicting: int
    crossing: int
    alike: tuple[tuple[str, ...], ...]
    alike_contradicting: int
    alike_crossing: int
    unreadable: int
    skipped: tuple[Skipped, ...]
    fingerprint: str
    volumes: VolumeOverview | None = None
    kind: str = "images"
    series: SeriesFacts | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same as a mapping that JSON can hold."""
        left_out = [{"name": item.name, "reason": item.reason} for item in self.skipped]
        sets = {"copies": list(map(list, self.copies)), "alike": list(map(list, self.alike))}
        whole = {**self.__dict__, **sets, "skipped": left_out}
        series = None if self.series is None else self.series.__dict__
        volumes = None if self.volumes is None else self.volumes.to_json()
        return whole | {"volumes": volumes, "series": series}


def overview(dataset: Dataset, progress: Progress | None = None) -> Overview:
    """Read every sample once and tell what there is.

    Args:
        dataset: any data set; labels may be missing.
        progress: is advanced by one for each sample.

    Raises:
        DataError: no sample can be read.

    >>> from convarium.data import open_dataset
    >>> found = overview(open_dataset("digits"))
    >>> found.classes["0"], found.heights, found.copies, found.unreadable
    (178, (8, 8, 8), (), 0)
    """
    survey = dataset.survey(progress, max_broken=1.0)
    usable = np.flatnonzero(survey.digests != 0)
    sets = list(_equal(survey.digests, usable))
    alike = _alike(dataset)
    return Overview(
        source=dataset.source,
        task=dataset.task,
        samples=len(dataset),
        classes=_classes(dataset, usable),
        numbers=_numbers(dataset, usable),
        parts=_parts(dataset),
        heights=_spread(survey.heights[usable]),
        widths=_spread(survey.widths[usable]),
        channels=dataset.channels,
        copies=tuple(tuple(map(dataset.name, ids.tolist())) for ids in sets),
        contradicting=_differing(dataset.targets, sets),
        crossing=_differing(dataset.given, sets),
        alike=tuple(tuple(map(dataset.name, ids.tolist())) for ids in alike),
        alike_contradicting=_differing(dataset.targets, alike),
        alike_crossing=_differing(dataset.given, alike),
        unreadable=len(survey.broken),
        skipped=tuple(dataset.skipped),
        fingerprint=dataset.fingerprint(),
        volumes=_volumes(survey, usable),
        kind=dataset.kind,
        series=None if survey.series is None else SeriesFacts.of(survey, usable),
        notes=dataset.notes,
    )


def label_text(dataset: Dataset, target: Any) -> str:
    """One sample's target as tables have it: the class, the labels, or the numbers."""
    if dataset.task == "classification":
        return dataset.classes[int(target)]
    if dataset.task == "multilabel":
        return "; ".join(dataset.classes[k] for k in np.flatnonzero(target))
    return "; ".join(f"{value:.9g}" for value in target.tolist())


def target_in_words(dataset: Dataset, target: Any) -> str:
    """One sample's target for readers: numbers have their names and units."""
    if not dataset.of_numbers:
        return label_text(dataset, target) or "no label"
    numbers = zip(dataset.classes, target.tolist(), dataset.units, strict=True)
    return "; ".join(f"{name} {value:.4g} {unit}".rstrip() for name, value, unit in numbers)


def _equal(digests: NDArray[np.uint64], usable: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Ids of the samples with equal pixels, each set of two or more."""
    order = usable[np.argsort(digests[usable], kind="stable")]
    starts = np.flatnonzero(np.diff(digests[order])) + 1
    sets = (ids for ids in np.split(order, starts) if len(ids) > 1)
    yield from sorted(sets, key=_first)


def _alike(dataset: Dataset) -> list[NDArray[np.int64]]:
    """Ids of the pictures that look alike, each set of two or more that are not all equal."""
    pairs = dataset.alike()
    digests = dataset.survey().digests
    number = linked(len(dataset), pairs).astype(np.uint64)
    sets = _equal(number, np.unique(pairs))
    return [ids for ids in sets if (digests[ids] != digests[ids[0]]).any()]


def _first(ids: NDArray[np.int64]) -> int:
    return int(ids[0])


def _differing(values: NDArray[Any] | None, sets: list[NDArray[np.int64]]) -> int:
    """How many of the sets have members with different values."""
    if values is None:
        return 0
    return sum(bool((values[ids] != values[ids[0]]).any()) for ids in sets)


def _classes(dataset: Dataset, usable: NDArray[np.int64]) -> dict[str, int]:
    if dataset.targets is None or dataset.of_numbers:
        return {}
    targets = dataset.targets[usable]
    counts = np.count_nonzero(targets, axis=0)
    if targets.ndim == 1:
        counts = np.bincount(targets, minlength=len(dataset.classes))
    return dict(zip(dataset.classes, counts.tolist(), strict=True))


def _numbers(dataset: Dataset, usable: NDArray[np.int64]) -> dict[str, tuple[float, float, float]]:
    if dataset.targets is None or not dataset.of_numbers:
        return {}
    exact = dataset.targets[usable].astype(np.float64)
    rows = zip(dataset.classes, exact.min(0), exact.mean(0), exact.max(0), strict=True)
    return {name: (float(low), float(mean), float(high)) for name, low, mean, high in rows}


def _parts(dataset: Dataset) -> dict[str, int]:
    if dataset.given is None:
        return {}
    counts = Counter(dataset.given.tolist())
    named = {word: counts[number] for number, word in enumerate(PARTS) if counts[number]}
    return named | ({"not given": counts[-1]} if counts[-1] else {})


def _volumes(survey: Survey, usable: NDArray[np.int64]) -> VolumeOverview | None:
    if survey.volumes is None:
        return None
    found, counts = np.unique(survey.volumes.types[usable], return_counts=True)
    low, middle, high = np.quantile(survey.volumes.spacings[usable], (0, 0.5, 1), axis=0).tolist()
    return VolumeOverview(
        depths=_spread(survey.volumes.depths[usable]),
        spacings=(tuple(low), tuple(middle), tuple(high)),
        types=dict(zip(found.tolist(), counts.tolist(), strict=True)),
        lowest=float(survey.volumes.lows[usable].min()),
        highest=float(survey.volumes.highs[usable].max()),
        not_finite=int(np.count_nonzero(survey.volumes.not_finite[usable])),
        without_unit=int(np.count_nonzero(survey.volumes.units[usable] == "")),
    )


def _spread(sides: NDArray[np.int32]) -> tuple[int, int, int]:
    return int(sides.min()), int(np.median(sides)), int(sides.max())
