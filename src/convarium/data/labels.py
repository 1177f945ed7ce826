"""From the cells of label columns to targets: one class, several labels, or numbers a sample."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from convarium.data.classes import numbered
from convarium.errors import DataError, OptionError, did_you_mean

TASKS = ("classification", "multilabel", "regression", "forecast", "downscale")
OF_NUMBERS: Final = ("regression", "forecast", "downscale")  # whose targets are numbers
_FLAGS: Final[Mapping[str, float]] = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_SEPARATORS = re.compile(r"[;|]")
_UNIT = re.compile(r"^(.*\S)\s*[\[(]([^\[\]()]+)[\])]$")


class Labels(NamedTuple):
    """What label columns say.

    Args:
        classes: names of the classes, the labels or the numbers.
        targets: int64 `(N,)` class numbers, or float32 `(N, K)`: 0 and 1, or numbers.
        units: of the numbers; empty for classes and labels.
    """

    classes: Sequence[str]
    targets: NDArray[Any]
    units: Sequence[str] = ()


class Cells(Protocol):
    """Collects the label cells of one row after the other."""

    refused: int  # rows whose cells are no label of this task

    def add(self, cells: Sequence[str]) -> str | None:
        """Take in a row's cells, or give the reason why it has to be left out."""

    def labels(self) -> Labels:
        """All that was taken in.

        Raises:
            DataError: it cannot be what the task needs.
        """


def check_task(task: str | None) -> None:
    """Refuse a task that is unknown.

    Raises:
        OptionError: it is none of `TASKS`, nor None.
    """
    if task is not None and task not in TASKS:
        raise OptionError(
            f"task (={task!r}) must be one of {', '.join(TASKS)}.{did_you_mean(task, TASKS)}"
        )


def cells_of(task: str | None, columns: Sequence[str], separator: str | None = None) -> Cells:
    """The collector for a task and its label columns; without a task it is classification.

    Args:
        task: one of `TASKS`, or None.
        columns: of the labels.
        separator: of several labels in one cell; None takes `;` and `|`.

    Raises:
        DataError: several columns for one class a sample.
        OptionError: a separator where no cell has several labels.
    """
    if separator is not None and (task != "multilabel" or len(columns) > 1 or not separator):
        raise OptionError(
            f"separator (={separator!r}) stands between several labels in one column; give it with "
            "task='multilabel' and one label column, or leave it out."
        )
    if not columns:
        return NoCells()
    if task == "regression":
        return NumberCells(columns)
    if task == "multilabel":
        return SetCells(columns[0], separator) if len(columns) == 1 else FlagCells(columns)
    if len(columns) > 1:
        raise DataError(
            f"{len(columns)} label columns ({', '.join(columns[:5])}) are not one class a sample; "
            "say --task multilabel (columns of 0 and 1) or --task regression (numbers)."
        )
    return ClassCells(columns[0], sure=task is not None)


class NoCells:
    """No label a sample."""

    def __init__(self) -> None:
        self.refused = 0

    def add(self, cells: Sequence[str]) -> None:
        """Nothing is taken in."""

    def labels(self) -> Labels:
        """None."""
        return Labels([], np.empty(0, np.int64))


class ClassCells:
    """One class a sample.

    Args:
        column: its name, for errors.
        sure: whether the user said that these are classes, even where they look like numbers.
    """

    def __init__(self, column: str, *, sure: bool) -> None:
        self.refused = 0
        self._column, self._sure = column, sure
        self._numbers = array("q")
        self._words: dict[str, int] = {}

    def add(self, cells: Sequence[str]) -> str | None:
        """An empty cell is no class."""
        if not cells[0]:
            return "the row has no label"
        self._numbers.append(self._words.setdefault(cells[0], len(self._words)))
        return None

    def labels(self) -> Labels:
        """Classes in order; different decimal numbers in most rows are not taken for classes."""
        decimals = sum(map(_is_decimal, self._words))
        if not self._sure and 2 * decimals > len(self._numbers):
            raise DataError(
                f"The column {self._column!r} has {decimals} different decimal numbers in "
                f"{len(self._numbers)} rows; say --task regression to learn them as numbers, or "
                "--task classification if each is the name of a class."
            )
        return Labels(*numbered(np.frombuffer(self._numbers, np.int64), self._words))


class SetCells:
    """Several labels a sample in one cell, separated by `;` or `|`; an empty cell has none.

    Where all cells are 0 or 1, the column is one label that is named as the column is.

    Args:
        column: its name.
        separator: what stands between labels instead.
    """

    def __init__(self, column: str, separator: str | None = None) -> None:
        self.refused = 0
        self._between = _SEPARATORS if separator is None else re.compile(re.escape(separator))
        self._column = column
        self._labels = array("q")
        self._samples = array("q")
        self._words: dict[str, int] = {}
        self._rows = 0
        self._flags: FlagCells | None = FlagCells([column])

    def add(self, cells: Sequence[str]) -> None:
        """Names between the separators; the same one twice counts once."""
        if self._flags is not None and self._flags.add(cells) is not None:
            self._flags = None
        for name in dict.fromkeys(map(str.strip, self._between.split(cells[0]))):
            if name:
                self._labels.append(self._words.setdefault(name, len(self._words)))
                self._samples.append(self._rows)
        self._rows += 1

    def labels(self) -> Labels:
        """Labels in order, and for each sample 1 where it has them."""
        if self._flags is not None and self._rows:
            return self._flags.labels()
        if not self._words:
            raise DataError(
                f"The column {self._column!r} has no label in any row; name another column."
            )
        classes, numbers = numbered(np.frombuffer(self._labels, np.int64), self._words)
        targets = np.zeros((self._rows, len(classes)), np.float32)
        targets[np.frombuffer(self._samples, np.int64), numbers] = 1
        return Labels(classes, targets)


class FlagCells:
    """Several labels a sample, a column of 0 and 1 (or false and true) each."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.refused = 0
        self._columns = columns
        self._values = array("f")

    def add(self, cells: Sequence[str]) -> str | None:
        """Every cell must be 0 or 1; an empty one is not known, so the row is left out."""
        values = [_FLAGS.get(cell.lower()) for cell in cells]
        for name, cell, value in zip(self._columns, cells, values, strict=True):
            if value is None:
                self.refused += 1
                return f"{cell!r} in the column {name!r} is neither 0 nor 1"
        self._values.extend(value for value in values if value is not None)
        return None

    def labels(self) -> Labels:
        """The columns' names as labels."""
        targets = np.frombuffer(self._values, np.float32).reshape(-1, len(self._columns))
        return Labels(list(self._columns), targets)


class NumberCells:
    """One number or several a sample, a column each; `width [mm]` is the width in mm."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.refused = 0
        self._columns = columns
        self._values = array("f")

    def add(self, cells: Sequence[str]) -> str | None:
        """Every cell must be a finite number, or the row is left out."""
        values = list(map(_number, cells))
        for name, cell, value in zip(self._columns, cells, values, strict=True):
            if value is None:
                self.refused += 1
                return f"{cell!r} in the column {name!r} is no number"
        self._values.extend(value for value in values if value is not None)
        return None

    def labels(self) -> Labels:
        """Names and units from the columns' names, and the numbers."""
        pairs = [named_unit(column) for column in self._columns]
        targets = np.frombuffer(self._values, np.float32).reshape(-1, len(pairs))
        names, units = zip(*pairs, strict=True)
        if len(set(names)) < len(names):
            raise DataError(
                f"The columns {', '.join(map(repr, self._columns))} share a name without their "
                "units; rename one."
            )
        return Labels(names, targets, units)


def named_unit(column: str) -> tuple[str, str]:
    """A column's name and its unit, which stands behind it in brackets.

    >>> named_unit("width [mm]"), named_unit("age")
    (('width', 'mm'), ('age', ''))
    """
    found = _UNIT.match(column)
    return (found[1], found[2].strip()) if found else (column, "")


def _number(cell: str) -> float | None:
    """A finite number that float32 can hold; None for another text."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 3.4e38 else None


def _is_decimal(word: str) -> bool:
    """Whether a text is a number that is not whole."""
    value = _number(word)
    return value is not None and value != int(value)
