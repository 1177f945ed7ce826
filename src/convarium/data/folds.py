"""Cross-validation: each sample is tested once, by a network that has not seen it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.data.dataset import Dataset, Part
from convarium.data.given import TEST, TRAIN
from convarium.data.iterative import assign_labels
from convarium.data.kinds import KINDS
from convarium.data.parts import Parts, alike_groups
from convarium.data.stratify import assign, units
from convarium.errors import DataError, OptionError


def split_folds(
    dataset: Dataset,
    count: int = 5,
    *,
    validation: float = 0.15,
    seed: int = 0,
    group_alike: bool | None = None,
) -> tuple[Parts, ...]:
    """Divide into folds by class or label, each of which is the test part once; numbers at random.

    Exact copies and samples of one group are always in one fold, and never both in a fold's test
    part and in what it is trained on. From the samples outside a fold, its validation part is
    carved in the same way. Where the data gives a test part, those samples, and what is a copy of
    them or in their group, are in no fold.

    Args:
        dataset: labelled data.
        count: number of folds, 2 or more.
        validation: share of all samples that chooses between epochs, in each fold.
        seed: draws which samples go where.
        group_alike: keep what is alike in one fold, as copies are; None does so with texts.

    Returns:
        The parts of each fold.

    Raises:
        OptionError: fewer than 2 folds, or shares that leave nothing for training.
        DataError: no labels, one class only, a class that the training part of some fold would
            lack, or too few samples for all folds.

    >>> from convarium.data import open_dataset
    >>> sorted(parts.counts["test"] for parts in split_folds(open_dataset("digits"), 5))
    [359, 359, 359, 360, 360]
    """
    if count < 2:
        raise OptionError(f"count (={count}) must be 2 folds or more.")
    if not 0 <= validation < 1 - 1 / count:
        raise OptionError(
            f"validation (={validation}) must be 0 or more and leave something of the "
            f"{1 - 1 / count:.0%} outside a fold for training."
        )
    single = dataset.task == "classification" and len(dataset.classes) < 2
    if dataset.targets is None or single:
        raise DataError(f"{dataset.source} has no labels of two classes or more; give such data.")
    if dataset.kind == "grids":
        raise DataError("Fields that follow each other are alike: train without folds.")
    if dataset.times is not None:
        raise DataError(
            f"{dataset.source} is one series, whose parts follow each other in time; train without "
            "folds."
        )
    grouped = KINDS[dataset.kind].grouped
    group_alike = grouped if group_alike is None else group_alike
    usable, unit = _free(dataset, group_alike=group_alike)
    targets = dataset.targets[usable]
    if dataset.of_numbers:
        targets = np.zeros(len(usable), np.int64)
    place = assign if targets.ndim == 1 else assign_labels
    fold = place(targets, unit, np.full(count, 1 / count), seed)
    found = []
    for number in range(count):
        inside, outside = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        share = validation * len(fold) / max(1, len(outside))
        shares = np.array([1 - share, share])
        inner = np.unique(unit[outside], return_inverse=True)[1].astype(np.int64)
        part = place(targets[outside], inner, shares, seeds.derive(seed, "fold", number))
        _check(dataset, targets[outside][part == 0], targets, len(inside), number + 1)
        ids = (usable[outside[part == 0]], usable[outside[part == 1]], usable[inside])
        train, valid, test = (Part(dataset, each) for each in ids)
        settings = {"folds": count, "fold": number + 1, "validation": validation, "seed": seed}
        settings |= {"group_alike": group_alike} if group_alike or grouped else {}
        found.append(Parts(train, valid, test, settings=settings))
    return tuple(found)


def _free(dataset: Dataset, *, group_alike: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the samples that can be in a fold, and their units."""
    digests = dataset.survey().digests
    usable = np.flatnonzero(digests != 0)
    groups = None if dataset.groups is None else dataset.groups[usable]
    unit = units(digests[usable], groups, alike_groups(dataset, usable) if group_alike else None)
    if dataset.given is not None:
        highest = np.full(unit.max(initial=0) + 1, TRAIN)
        np.maximum.at(highest, unit, dataset.given[usable])
        free = highest[unit] != TEST
        usable, unit = usable[free], unit[free]
    return usable, np.unique(unit, return_inverse=True)[1].astype(np.int64)


def _check(
    dataset: Dataset,
    train: NDArray[Any],
    every: NDArray[Any],
    tested: int,
    number: int,
) -> None:
    """Refuse folds that test nothing, or whose training part lacks a class."""
    labels = np.setdiff1d(_present(every), _present(train))
    if len(labels):
        missing = [dataset.classes[label] for label in labels.tolist()]
        shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"Fold {number} would train without the classes {shown}: they have too few samples or "
            "groups; add some, or use fewer folds."
        )
    if not tested:
        raise DataError(
            f"{dataset.source} has too few samples or groups for fold {number}; use fewer folds."
        )


def _present(targets: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of the classes or labels that some sample has."""
    return np.unique(targets) if targets.ndim == 1 else np.flatnonzero(targets.any(axis=0))
