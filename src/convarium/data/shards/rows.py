"""From the label cells of rows to a data set: what every kind of table in shards shares."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.classes import may_be_mirrored
from convarium.data.dataset import Dataset
from convarium.data.given import TRAIN
from convarium.data.samples import EncodedSamples
from convarium.data.shards.columns import Columns, LabelReader
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError

_MOST_REFUSED = 0.1


class Rows:
    """Collects the labels, parts and groups of rows that have a label.

    Args:
        source: what the user named.
        reader: of the labels.
        columns: in use.
        skipped: takes the other rows.
    """

    def __init__(
        self, source: str, reader: LabelReader, columns: Columns, skipped: SkipList
    ) -> None:
        self.source, self.reader, self.columns, self.skipped = source, reader, columns, skipped
        self.numbers, self.parts, self.groups = array("q"), array("b"), array("q")
        self.bounds, self.starts = array("q", [0]), array("q", [0])
        self._words: dict[str, int] = {}

    def add(self, word: str, part: int | None, cells: Iterable[Sequence[Any]]) -> None:
        """Take in the rows of one table: label cells, and behind them the group's."""
        labels, row = len(self.columns.labels), -1
        for row, values in enumerate(cells):
            problem = self.reader.add(values[:labels])
            if problem is not None:
                self.skipped.append(Skipped(f"{word}/{row}", problem))
                continue
            self.numbers.append(self.starts[-1] + row)
            self.parts.append(-1 if part is None else part)
            if self.columns.group is not None:
                key = str(values[-1]) if values[-1] not in (None, "") else f"\0{word}/{row}"
                self.groups.append(self._words.setdefault(key, len(self._words)))
        self.starts.append(self.starts[-1] + row + 1)
        self.bounds.append(len(self.numbers))

    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The table of each row, and its number in it."""
        lengths = np.diff(np.array(self.bounds))
        table = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        starts = np.array(self.starts[:-1], np.int64)
        return table, np.frombuffer(self.numbers, np.int64) - starts[table]

    def dataset(self, samples: EncodedSamples) -> Dataset:
        """The data set of the rows that were taken in.

        Raises:
            DataError: there is none, or too many have no usable label.
        """
        _check_refused(self.source, self.reader, len(self.numbers), self.skipped)
        found, task = self.reader.labels(), self.reader.task
        given = np.frombuffer(self.parts, np.int8)
        return Dataset(
            samples,
            source=self.source,
            task=task,
            classes=found.classes,
            targets=found.targets,
            units=found.units,
            groups=np.frombuffer(self.groups, np.int64) if self.columns.group else None,
            given=given if (given == TRAIN).any() and len(self.bounds) > 2 else None,
            skipped=self.skipped,
            columns=self.columns.keywords,
            mirrored=task != "regression" and may_be_mirrored(found.classes),
        )


def _check_refused(source: str, reader: LabelReader, taken: int, skipped: SkipList) -> None:
    refused = reader.refused
    if refused > _MOST_REFUSED * (refused + taken):
        raise DataError(
            f"{refused} of {refused + taken} rows of {source} have no usable label "
            f"({skipped[-1].reason}); correct them, or name another column or --task."
        )
    if not taken:
        raise DataError(f"{source} has no row with a label; name its column with --label-column.")
