"""Corrections of labels: a small table that says which samples are of another class."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from convarium import files
from convarium.errors import DataError, OptionError, did_you_mean

if TYPE_CHECKING:
    from convarium.data.dataset import Dataset

_HEADER: Final = ("path", "label")
_NAMED: Final = 3  # paths that an error names, at most


def read_corrections(file: str | Path) -> dict[str, str]:
    """The label of each path in a CSV file with the columns `path` and `label`.

    Raises:
        DataError: the file cannot be read, lacks a column or a cell, or gives a path two labels.
    """
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
        rows = [*csv.DictReader(io.StringIO(text, newline=""), strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The corrections {file} cannot be read as CSV: {error}.") from error
    found: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        path, label = (row.get(name) for name in _HEADER)
        if not path or not label:
            raise DataError(
                f"Row {number} of the corrections {file} lacks a path or a label; each row needs "
                "both, in columns of these names."
            )
        if found.setdefault(path, label) != label:
            raise DataError(f"The corrections {file} give {path} two labels; keep one of them.")
    return found


def write_corrections(file: str | Path, corrections: Mapping[str, str]) -> None:
    """Write corrections as `read_corrections` reads them, by path, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(sorted(corrections.items()))
    files.write_text(file, text.getvalue())


def corrected(dataset: Dataset, corrections: Mapping[str, str] | str | Path) -> Dataset:
    """The data set with other labels for some samples; it keeps what was corrected.

    Args:
        dataset: of one class a sample; it is changed.
        corrections: the label of each sample's name, or a file of them.

    Raises:
        OptionError: the labels are not one class a sample.
        DataError: no sample has such a name, or no class is called so.
    """
    if dataset.task != "classification" or dataset.targets is None:
        raise OptionError(
            f"Corrections are for labels of one class each, and {dataset.source} has other ones; "
            "leave them out."
        )
    if not isinstance(corrections, Mapping):
        corrections = read_corrections(corrections)
    numbers = {name: k for k, name in enumerate(dataset.classes)}
    for label in corrections.values():
        if label not in numbers:
            near = did_you_mean(label, numbers)
            raise DataError(f"The corrections have the label {label!r}, which is no class.{near}")
    targets, left = np.array(dataset.targets), dict.fromkeys(corrections)
    for i in range(len(dataset)):
        name = dataset.name(i)
        if name in corrections:
            targets[i] = numbers[corrections[name]]
            left.pop(name, None)
    if left:
        some = ", ".join([*left][:_NAMED]) + (", ..." if len(left) > _NAMED else "")
        raise DataError(f"{dataset.source} has no sample that the corrections name: {some}.")
    dataset.targets = targets
    dataset.corrections = MappingProxyType(dict(corrections))
    return dataset
