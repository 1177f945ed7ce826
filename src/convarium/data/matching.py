"""Labelled data brought to the classes of a card: matched by name, never by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.errors import DataError, did_you_mean


def match_classes(
    dataset: Dataset, classes: Sequence[str], *, task: str | None = None, units: Sequence[str] = ()
) -> Dataset:
    """The same samples with targets in the order of `classes`, matched by name.

    Args:
        dataset: labelled data, whatever its own order of classes.
        classes: the names of a card. Classes and labels that the data lacks are fine.
        task: the card's task; None means that of the data.
        units: the card's units of numbers.

    Raises:
        DataError: the data is for another task, has classes that `classes` lacks (all are named),
            lacks a number, or has one in another unit.
    """
    if task is not None and dataset.task != task:
        raise DataError(
            f"The labels of {dataset.source} are read for {dataset.task} and the model is for "
            f"{task}; give a table and open it for that task."
        )
    known = set(classes)
    unknown = [name for name in dataset.classes if name not in known]
    if unknown:
        shown = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
        hint = did_you_mean(unknown[0], classes)
        words = {"multilabel": "label", "regression": "number", "forecast": "number"}
        word = {**words, "downscale": "variable"}.get(dataset.task, "class")
        word += "" if len(unknown) == 1 else "es" if word == "class" else "s"
        raise DataError(
            f"The data in {dataset.source} has {len(unknown)} {word} that the model was not "
            f"trained on: {shown}; rename or remove them.{hint}"
        )
    if dataset.of_numbers:
        _check_numbers(dataset, classes, units)
    matched = Dataset(
        dataset.samples,
        source=dataset.source,
        classes=classes,
        targets=None if dataset.targets is None else _placed(dataset, classes, dataset.targets),
        groups=dataset.groups,
        given=dataset.given,
        skipped=dataset.skipped.copy(),
        mirrored=dataset.mirrored,
        task=dataset.task,
        units=units or dataset.units,
        times=dataset.times,
        forecasts=dataset.forecasts,
    )
    matched._survey = dataset._survey
    return matched


def _placed(dataset: Dataset, classes: Sequence[str], targets: NDArray[Any]) -> NDArray[Any]:
    """Class numbers translated, or columns moved to their places; what is lacking is 0."""
    place = {name: number for number, name in enumerate(classes)}
    table = np.array([place[name] for name in dataset.classes], dtype=np.int64)
    if dataset.task == "classification":
        numbers: NDArray[Any] = table[targets]
        return numbers
    columns = np.zeros((len(targets), len(classes)), targets.dtype)
    columns[:, table] = targets
    return columns


def _check_numbers(dataset: Dataset, classes: Sequence[str], units: Sequence[str]) -> None:
    missing = [name for name in classes if name not in dataset.classes]
    if missing:
        raise DataError(
            f"{dataset.source} lacks numbers that the model gives: {', '.join(map(repr, missing))};"
            " name their columns, or add them."
        )
    own = dict(zip(dataset.classes, dataset.units, strict=True))
    for name, unit in zip(classes, units, strict=False):
        if own[name] != unit:
            raise DataError(
                f"{name!r} is in {own[name] or 'no unit'} in {dataset.source} and in "
                f"{unit or 'no unit'} in the card; convert it, or correct the column's name."
            )
