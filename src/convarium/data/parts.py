"""Training, validation and test: split so that nothing is on two sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.data.contents import label_text
from convarium.data.dataset import Dataset, Part
from convarium.data.enough import check_enough, check_parts, checked_targets, counts_of
from convarium.data.given import PARTS, TEST, TRAIN, VALIDATION
from convarium.data.iterative import assign_labels
from convarium.data.kinds import KINDS
from convarium.data.looks import linked
from convarium.data.series.windows import parts_in_time
from convarium.data.stratify import assign, units
from convarium.errors import OptionError

_BLOCK = 8_192
_COLUMNS = ("id", "name", "label", "part", "digest")

Row = tuple[int, str, str | None, str, str]


@dataclass(frozen=True, eq=False)
class Parts:
    """The three parts of a data set.

    Args:
        train: what is learnt from.
        validation: what chooses between epochs and settings.
        test: what is touched once, at the end.
        crossing: samples of given parts whose exact copy, or whose group, is in another part.
            Given parts stay as they are; everything that `split` divides itself has none.
        settings: the keywords of `split` that made them.
        between: samples between two parts in time, which are in none.
    """

    train: Part
    validation: Part
    test: Part
    crossing: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    between: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Samples in each part."""
        return {name: len(part) for name, part in self._named()}

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """Samples of each class or label in each part, in order; empty where there are none."""
        if self.train.targets is None or self.train.dataset.of_numbers:
            return {}
        return {
            name: counts_of(part.targets, len(part.classes)).tolist()
            for name, part in self._named()
            if part.targets is not None
        }

    def rows(self) -> Iterator[Row]:
        """(id, name, label, part, digest) of every sample, by parts; the digest is of its content.

        Several labels have semicolons between. The training part of a stream is left out.
        """
        dataset = self.train.dataset
        for word, part in self._named():
            targets, digests = part.targets, part.dataset.survey().digests
            for k, i in enumerate(map(int, part.ids if part.listed else ())):
                label = None if targets is None else label_text(dataset, targets[k])
                yield i, part.name(k), label, word, f"{digests[i]:016x}"

    def write(self, path: str | Path) -> None:
        """Write `rows` as Parquet, atomically.

        Raises:
            RunError: the file cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = [pa.int64(), *[pa.string()] * (len(_COLUMNS) - 1)]
        schema = pa.schema([*zip(_COLUMNS, types, strict=True)])
        with (
            files.atomic(path) as temporary,
            open(temporary, "wb") as file,
            pq.ParquetWriter(file, schema) as writer,
        ):
            block: list[Row] = []
            for row in self.rows():
                block.append(row)
                if len(block) == _BLOCK:
                    writer.write_table(_table(block, schema))
                    block.clear()
            writer.write_table(_table(block, schema))

    def _named(self) -> tuple[tuple[str, Part], ...]:
        return tuple(zip(PARTS, (self.train, self.validation, self.test), strict=True))


def split(
    dataset: Dataset,
    *,
    validation: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    group_alike: bool | None = None,
    gap: int = 0,
    held_out: Sequence[float] | None = None,
) -> Parts:
    """Split into training, validation and test parts, by class and without copies on two sides.

    Exact copies (equal pixels) and samples of one group always land in one part. Where all samples
    are free, each class has its share in each part, rounded down or up. A class with too few
    samples for all parts is in training first. Several labels a sample are divided by iterative
    stratification (`assign_labels`), numbers at random. Parts that the data gives (folders, a
    column, files) are kept; a part that is not given is carved from the given training part, and
    free samples that are copies or in the group of given ones go with them. Samples with `times`
    are divided by time. What cannot be read is left out and listed in `dataset.skipped`.

    Args:
        dataset: labelled data.
        validation: share of the samples for validation; 0 makes an empty part.
        test: likewise for the test.
        seed: draws which samples go where; the split is a function of the data and the seed.
        group_alike: keep pictures that look alike, or texts that read alike, in one part, as copies
            are; chains of them too. None does so with texts.
        gap: of fields, times that are left out between two parts. Their parts are blocks of time:
            training first, the test last; shares of 1 and more are numbers of times.
        held_out: of fields, south, north, west and east of a region whose cells count in the test
            alone, and no others there.

    Raises:
        OptionError: shares below 0, or that leave nothing for training.
        DataError: no labels, one class only, a number that never changes, fewer samples than
            classes, a class without training samples, or too few samples or groups to fill the
            parts.

    >>> from convarium.data import open_dataset
    >>> split(open_dataset("digits")).counts
    {'train': 1258, 'validation': 270, 'test': 269}
    """
    if KINDS[dataset.kind].split:
        if group_alike:
            raise OptionError("group_alike (=True) has no effect on fields; leave it out.")
        found: Parts = KINDS[dataset.kind].load("split")(
            dataset, validation=validation, test=test, seed=seed, gap=gap, held_out=held_out
        )
        return found
    if gap or held_out:
        raise OptionError(
            f"gap (={gap}) and held_out (={held_out}) are times and cells of fields; leave them "
            "out."
        )
    if not (validation >= 0 and test >= 0 and validation + test < 1):
        raise OptionError(
            f"validation (={validation}) and test (={test}) must lie between 0 and 1, and "
            "together below 1."
        )
    targets = checked_targets(dataset)
    grouped = KINDS[dataset.kind].grouped
    group_alike = grouped if group_alike is None else group_alike
    usable = np.flatnonzero((digests := dataset.survey().digests) != 0)
    check_enough(dataset, targets[usable])
    whole = dataset.groups if dataset.times is None else None
    groups = None if whole is None else whole[usable]
    unit = units(digests[usable], groups, alike_groups(dataset, usable) if group_alike else None)
    given = None if dataset.given is None else dataset.given[usable]
    shares = np.array([1 - validation - test, validation, test], np.float64)
    if dataset.times is not None and given is None:  # what is forecast may follow what is learnt
        part = parts_in_time(dataset.times[usable], shares, apart=dataset.task != "forecast")
    else:
        part = _divide(_strata(dataset, targets[usable]), unit, given, shares, seed)
    check_parts(dataset, targets[usable], part, shares)
    train, valid, held = (Part(dataset, usable[part == k]) for k in (TRAIN, VALIDATION, TEST))
    settings = {"validation": validation, "test": test, "seed": seed}
    settings |= {"group_alike": group_alike} if group_alike or grouped else {}
    inside = part <= TEST
    counts = {"crossing": _crossing(unit[inside], part[inside]), "between": int(sum(~inside))}
    return Parts(train, valid, held, settings=settings, **counts)


def alike_groups(dataset: Dataset, usable: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each usable sample, equal where pictures look alike, or are linked by others."""
    return linked(len(dataset), dataset.alike())[usable]


def given_parts(dataset: Dataset) -> tuple[str, ...]:
    """Words of the parts that the data itself gives, which `split` keeps: train, validation, test.

    >>> from convarium.data import open_dataset
    >>> given_parts(open_dataset("digits"))
    ()
    """
    given = () if dataset.given is None else np.unique(dataset.given)
    return tuple(PARTS[number] for number in given if number >= 0)


def _strata(dataset: Dataset, targets: NDArray[Any]) -> NDArray[Any]:
    """What the parts shall have in equal shares: classes, labels, or nothing for numbers."""
    return np.zeros(len(targets), np.int64) if dataset.of_numbers else targets


def _divide(
    targets: NDArray[Any],
    unit: NDArray[np.int64],
    given: NDArray[np.int8] | None,
    shares: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int8]:
    """Part numbers: those given, and the training part (and what is free) divided further.

    What is free and hangs together with given samples goes where they are: with the test where any
    of them is there, else with validation.
    """
    place = assign if targets.ndim == 1 else assign_labels
    if given is None:
        return place(targets, unit, shares, seed).astype(np.int8)
    highest = np.full(unit.max(initial=0) + 1, -1, np.int8)
    np.maximum.at(highest, unit, given)
    part = np.where(given < 0, highest[unit], given)
    shares = shares.copy()
    for number in (VALIDATION, TEST):
        if (given == number).any():
            shares[number] = 0
    shares[TRAIN] = 1 - shares[VALIDATION] - shares[TEST]
    pool = np.flatnonzero(part <= TRAIN)
    if len(pool):
        inner = np.unique(unit[pool], return_inverse=True)[1].astype(np.int64)
        part[pool] = place(targets[pool], inner, shares, seed)
    return part


def _crossing(unit: NDArray[np.int64], part: NDArray[np.int8]) -> int:
    """Samples whose unit is in several parts."""
    lowest = np.full(unit.max(initial=0) + 1, 127, np.int8)
    highest = np.full(unit.max(initial=0) + 1, -1, np.int8)
    np.minimum.at(lowest, unit, part)
    np.maximum.at(highest, unit, part)
    return int((lowest != highest)[unit].sum())


def _table(block: list[Row], schema: object) -> object:
    import pyarrow as pa

    columns = list(zip(*block, strict=True)) if block else [()] * len(_COLUMNS)
    return pa.table(dict(zip(_COLUMNS, columns, strict=True)), schema=schema)
