"""Whether labelled data can be divided into parts: labels, classes, samples of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.given import PARTS, TEST, TRAIN, VALIDATION
from convarium.errors import DataError


def checked_targets(dataset: Dataset) -> NDArray[Any]:
    """The targets of data that can be learnt from.

    Raises:
        DataError: it has none, one class only, or a number that never changes.
    """
    if dataset.targets is None:
        raise DataError(
            f"{dataset.source} has no labels; give a folder of class folders or a table."
        )
    if dataset.of_numbers:
        _check_changing(dataset, dataset.targets)
    elif dataset.task == "classification" and len(dataset.classes) < 2:
        only = f": {dataset.classes[0]!r}" if dataset.classes else ""
        raise DataError(
            f"{dataset.source} has {len(dataset.classes)} class{only}; a classifier needs two or "
            f"more, each {'in rows' if dataset.columns else 'in a folder'} of its own."
        )
    return dataset.targets


def _check_changing(dataset: Dataset, targets: NDArray[Any]) -> None:
    for name, column in zip(dataset.classes, targets.T, strict=True):
        if len(column) and (column == column[0]).all():
            raise DataError(
                f"{name!r} is {column[0]:g} in every row of {dataset.source}, so there is nothing "
                "to learn; name another column."
            )


def check_enough(dataset: Dataset, targets: NDArray[Any]) -> None:
    """Refuse fewer readable samples than classes, or a class without any.

    Raises:
        DataError: so.
    """
    if dataset.task == "classification" and len(targets) < len(dataset.classes):
        raise DataError(
            f"{dataset.source} has {len(targets)} readable samples for {len(dataset.classes)} "
            "classes; give several samples of each class."
        )
    _check_present(dataset, targets, "no readable sample")


def _check_present(dataset: Dataset, targets: NDArray[Any], problem: str) -> None:
    if dataset.of_numbers:
        return
    counts = counts_of(targets, len(dataset.classes))
    absent = [dataset.classes[label] for label in np.flatnonzero(counts == 0)]
    if absent:
        shown = ", ".join(map(repr, absent[:5])) + (", ..." if len(absent) > 5 else "")
        word = "class has" if len(absent) == 1 else "classes have"
        raise DataError(
            f"{len(absent)} {word} {problem}: {shown}; add samples there or remove the class."
        )


def check_parts(
    dataset: Dataset,
    targets: NDArray[Any],
    part: NDArray[np.int8],
    shares: NDArray[np.float64],
) -> None:
    """Refuse a class without training samples, and an empty part that was asked for.

    Raises:
        DataError: so.
    """
    _check_present(dataset, targets[part == TRAIN], "no sample for training")
    for number in (TRAIN, VALIDATION, TEST):
        if shares[number] > 0 and not (part == number).any():
            word = PARTS[number]
            raise DataError(
                f"{dataset.source} has too few samples or groups ({len(part)} samples) to leave "
                f"any for {word}; add some, or set the share for {word} to 0."
            )


def counts_of(targets: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Samples of each class, from class numbers or from rows of 0 and 1."""
    counts: NDArray[np.int64] = np.count_nonzero(targets, axis=0)
    return np.bincount(targets, minlength=classes) if targets.ndim == 1 else counts
