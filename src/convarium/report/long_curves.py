"""Curves of more steps than a drawing has columns, and how high they reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_COLUMNS = 720  # of a longer series each column has the smallest and the largest of several steps


def columns_of(values: NDArray[Any], most: int = _COLUMNS) -> tuple[Floats, Floats, Floats]:
    """Middle step, smallest and largest value of each column of a curve `(T,)`.

    >>> [column.tolist() for column in columns_of(np.array([3, 1, 2, 5]), most=2)]
    [[0.5, 2.5], [1.0, 2.0], [3.0, 5.0]]
    """
    length = len(values)
    edges = np.unique(np.linspace(0, length, min(length, most) + 1).round().astype(int))
    steps = ((edges[:-1] + edges[1:] - 1) / 2).astype(np.float32)
    smallest = np.minimum.reduceat(values, edges[:-1]).astype(np.float32)
    largest = np.maximum.reduceat(values, edges[:-1]).astype(np.float32)
    return steps, smallest, largest


def limits_of(values: Floats) -> tuple[float, float]:
    """Smallest and largest finite value, apart from each other."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def stretches(levels: Sequence[int]) -> list[tuple[int, int, int]]:
    """(begin, end, level) of the stretches of equal levels.

    >>> stretches([0, 0, 3])
    [(0, 2, 0), (2, 3, 3)]
    """
    starts = [k for k in range(len(levels)) if k == 0 or levels[k] != levels[k - 1]]
    return [
        (begin, end, levels[begin])
        for begin, end in zip(starts, [*starts[1:], len(levels)], strict=True)
    ]
