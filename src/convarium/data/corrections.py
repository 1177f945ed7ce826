"""Corrections of labels: a small table that says which samples are of another class.

It may hold a digest of each sample, so that a label never reaches another sample of its name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from convarium import files
from convarium.errors import DataError, OptionError, did_you_mean

if TYPE_CHECKING:
    from convarium.data.dataset import Dataset

_HEADER: Final = ("path", "label", "digest")
#: In a file a digest has a letter in front: a spreadsheet would make a number of digits alone.
_MARK: Final = "x"
_DIGEST: Final = re.compile(f"(?:{_MARK}?[0-9a-f]{{16}})?")
_NAMED: Final = 3  # paths that an error names, at most
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Correction(NamedTuple):
    """Another label for a sample.

    Args:
        label: a class.
        digest: of the sample, as `digest_of` has it; "" where it is not known.
    """

    label: str
    digest: str = ""


def read_corrections(file: str | Path) -> dict[str, str]:
    """The label of each path in a CSV file with the columns `path` and `label`.

    Raises:
        DataError: the file cannot be read, lacks a column or a cell, gives a path two labels, or
            has a digest that is none.
    """
    return {path: row.label for path, row in _rows(file).items()}


def write_corrections(
    file: str | Path, corrections: Mapping[str, str], digests: Mapping[str, str] = _NONE
) -> None:
    """Write corrections as `read_corrections` reads them, by path, atomically.

    Args:
        file: the CSV file.
        corrections: the label of each sample's name.
        digests: of samples by their names, as `digest_of` has them; of others none is written.

    Raises:
        RunError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    returns = any("\r" in word for words in corrections.items() for word in words)
    writer = csv.writer(
        text,
        lineterminator="\n",
        quoting=csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL,  # which leaves a lone \r bare
    )
    writer.writerow(_HEADER)
    for path, label in sorted(corrections.items()):
        digest = digests.get(path, "")
        writer.writerow((path, label, digest and _MARK + digest))
    files.write_text(file, text.getvalue())


def digest_of(dataset: Dataset, i: int) -> str:
    """16 hexadecimal digits over what sample `i` holds, as `splits.parquet` has them.

    Raises:
        DataError: it cannot be read; the text gives the reason alone.
    """
    return f"{dataset.samples.facts(i).digest:016x}"


def corrected(dataset: Dataset, corrections: Mapping[str, str] | str | Path) -> Dataset:
    """The data set with other labels for some samples; it keeps what was corrected.

    Args:
        dataset: of one class a sample; it is changed.
        corrections: the label of each sample's name, or a file of them.

    Raises:
        OptionError: the labels are not one class a sample.
        DataError: no sample has such a name, no class is called so, or a sample is another one
            than the file has the digest of.
    """
    if dataset.task != "classification" or dataset.targets is None:
        raise OptionError(
            f"Corrections are for labels of one class each, and {dataset.source} has other ones; "
            "leave them out."
        )
    rows = (
        {path: Correction(label) for path, label in corrections.items()}
        if isinstance(corrections, Mapping)
        else _rows(corrections)
    )
    numbers = {name: k for k, name in enumerate(dataset.classes)}
    for row in rows.values():
        if row.label not in numbers:
            near = did_you_mean(row.label, numbers)
            raise DataError(
                f"The corrections have the label {row.label!r}, which is no class.{near}"
            )
    places = {name: i for i in range(len(dataset)) if (name := dataset.name(i)) in rows}
    if left := [path for path in rows if path not in places]:
        raise DataError(f"{dataset.source} has no sample that the corrections name: {_some(left)}.")
    _check_digests(dataset, rows, places)
    targets = np.array(dataset.targets)
    for path, i in places.items():
        targets[i] = numbers[rows[path].label]
    dataset.targets = targets
    dataset.corrections = MappingProxyType({path: row.label for path, row in rows.items()})
    return dataset


def _rows(file: str | Path) -> dict[str, Correction]:
    """The rows of a file by their paths; raises what `read_corrections` does."""
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
        rows = [*csv.DictReader(io.StringIO(text, newline=""), strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"The corrections {file} cannot be read as CSV: {error}.") from error
    found: dict[str, Correction] = {}
    for number, row in enumerate(rows, start=2):
        path, label, digest = (row.get(name) or "" for name in _HEADER)
        if not path or not label:
            raise DataError(
                f"Row {number} of the corrections {file} lacks a path or a label; each row needs "
                "both, in columns of these names."
            )
        if not _DIGEST.fullmatch(digest):
            raise DataError(
                f"The digest in row {number} of the corrections {file} (={digest!r}) is none of 16 "
                "hexadecimal digits, as if a spreadsheet had changed it; empty its cell, then the "
                "name alone counts."
            )
        if found.setdefault(path, Correction(label, digest.removeprefix(_MARK))).label != label:
            raise DataError(f"The corrections {file} give {path} two labels; keep one of them.")
    return found


def _check_digests(
    dataset: Dataset, rows: Mapping[str, Correction], places: Mapping[str, int]
) -> None:
    """Refuse labels of samples that are other ones now."""
    changed = []
    for path, row in rows.items():
        try:
            same = not row.digest or row.digest == digest_of(dataset, places[path])
        except DataError:  # it cannot be read any more
            same = False
        if not same:
            changed.append(path)
    if changed:
        samples = "1 sample" if len(changed) == 1 else f"{len(changed)} samples"
        raise DataError(
            f"{samples} of {dataset.source} changed after the labels were corrected: "
            f"{_some(changed)}; look again, or take the rows out of the corrections."
        )


def _some(paths: Sequence[str]) -> str:
    """The first of some paths."""
    return ", ".join(paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")
