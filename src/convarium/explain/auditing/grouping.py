"""Accuracy of each label in each group, and how far a group is behind the others of its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError
from convarium.explain.auditing.counting import Difference, Rate
from convarium.explain.auditing.gathering import Answers
from convarium.explain.auditing.results import Cell, GroupColumn

MOST_GROUPS = 50


class GroupTable(NamedTuple):
    """The groups of a column.

    Attributes:
        names: in order.
        numbers: (N,) the group of each sample; -1 where it has none.
    """

    names: tuple[str, ...]
    numbers: NDArray[np.int64]


def group_tables(words: Mapping[str, Sequence[str]], samples: int) -> dict[str, GroupTable]:
    """The groups of each column, from one word a sample; an empty word, None or NaN is no group.

    Raises:
        OptionError: a column has not one word a sample, more than 50 groups, or fewer than two.

    >>> group_tables({"site": ["b", "a", "", "b"]}, 4)["site"].numbers
    array([ 1,  0, -1,  1])
    """
    return {column: _table(column, each, samples) for column, each in words.items()}


def label_rates(told: Answers) -> tuple[tuple[str, Rate], ...]:
    """Accuracy of each label's samples, the lowest first; labels without samples are left out."""
    rates = [(name, Rate.of(told.right[told.targets == k])) for k, name in enumerate(told.classes)]
    return tuple(sorted((each for each in rates if each[1].n), key=lambda each: each[1].value))


def group_columns(
    tables: Mapping[str, GroupTable], told: Answers, least: int
) -> tuple[GroupColumn, ...]:
    """Each column's accuracies; intervals of gaps hold for all cells of all columns together.

    Args:
        tables: groups of the samples that were given.
        told: what the network says of those that can be read.
        least: samples from which a cell, and what it is compared with, counts.

    References:
        Sagawa et al. (2020), "Distributionally robust neural networks for group shifts",
        arXiv:1911.08731, section 2: accuracy of the worst group.
    """
    read = {name: GroupTable(t.names, t.numbers[told.places]) for name, t in tables.items()}
    compared = 0
    for table in read.values():
        counts = _counts(told, table)
        others = counts.sum(1, keepdims=True) - counts
        compared += int(((counts >= least) & (others >= least)).sum())
    confidence = 1 - 0.05 / max(1, compared)
    return tuple(
        _column(column, table, told, least, compared, confidence) for column, table in read.items()
    )


def _column(
    column: str, table: GroupTable, told: Answers, least: int, compared: int, confidence: float
) -> GroupColumn:
    names, numbers = table
    cells = []
    for label, name in enumerate(told.classes):
        mine = (told.targets == label) & (numbers >= 0)
        for group, word in enumerate(names):
            here = mine & (numbers == group)
            own, others = Rate.of(told.right[here]), Rate.of(told.right[mine & ~here])
            if not own.n:
                continue
            enough = own.n >= least and others.n >= least
            gap = Difference.of_others(others, own, confidence) if enough else None
            cells.append(Cell(name, word, own, gap))
    counted = [cell for cell in cells if cell.accuracy.n >= least]
    return GroupColumn(
        column=column,
        groups=tuple((word, Rate.of(told.right[numbers == k])) for k, word in enumerate(names)),
        cells=tuple(cells),
        worst=min(counted, key=lambda cell: cell.accuracy.value, default=None),
        least=least,
        compared=compared,
        left_out=int((numbers < 0).sum()),
    )


def _table(column: str, words: Sequence[Any], samples: int) -> GroupTable:
    if len(words) != samples:
        raise OptionError(
            f"groups[{column!r}] has {len(words)} values for {samples} samples; give one for each."
        )
    texts = ["" if word is None or word != word else str(word) for word in words]  # NaN is not NaN
    names = sorted(set(texts) - {""})
    if not 2 <= len(names) <= MOST_GROUPS:
        raise OptionError(
            f"The group column {column!r} has {len(names)} different values; groups need 2 to "
            f"{MOST_GROUPS}: name a column of few words, or put numbers into ranges first."
        )
    place = {name: number for number, name in enumerate(names)}
    return GroupTable(tuple(names), np.array([place.get(text, -1) for text in texts], np.int64))


def _counts(told: Answers, table: GroupTable) -> NDArray[np.int64]:
    """Samples of each label and group."""
    known = table.numbers >= 0
    flat = told.targets[known] * len(table.names) + table.numbers[known]
    size = len(told.classes), len(table.names)
    return np.bincount(flat, minlength=size[0] * size[1]).reshape(size)
