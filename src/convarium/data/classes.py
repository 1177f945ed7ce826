"""Class names: one order and one rule about mirroring, whatever the data came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def in_order(words: Iterable[str]) -> list[str]:
    """Class names in order: as numbers where all are whole numbers, else by letters.

    Equal numbers are ordered by their text.

    >>> in_order(["10", "9"]), in_order(["b", "a10", "a9"]), in_order(["1", "01"])
    (['9', '10'], ['a10', 'a9', 'b'], ['01', '1'])
    """
    by_letters = sorted(words)
    try:
        return sorted(by_letters, key=int)
    except ValueError:
        return by_letters


def numbered(
    labels: NDArray[np.int64], words: Mapping[str, int]
) -> tuple[list[str], NDArray[np.int64]]:
    """Class names in order, and labels that were numbered as they came, numbered by that order.

    >>> numbered(np.array([0, 1, 0]), {"b": 0, "a": 1})
    (['a', 'b'], array([1, 0, 1]))
    """
    classes = in_order(words)
    place = np.empty(len(classes), np.int64)
    for number, word in enumerate(classes):
        place[words[word]] = number
    return classes, place[labels]


def may_be_mirrored(classes: Sequence[str]) -> bool:
    """Whether a mirror image keeps its class, as far as the names tell.

    Three or more classes that all have names of one character are taken for digits or letters.

    >>> may_be_mirrored(["cat", "dog"]), may_be_mirrored(["0", "1", "2"])
    (True, False)
    """
    return len(classes) < 3 or any(len(name) > 1 for name in classes)
