"""Windows of series, and parts that follow each other in time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convarium.data.given import TEST, TRAIN, VALIDATION
from convarium.data.series.reading import Windows

NOWHERE = 3  # the part of what lies between two parts


def window_spans(length: int, windows: Windows) -> NDArray[np.int64]:
    """Start and end of each whole window of a series, int64 `(W, 2)`.

    Steps behind the last whole window are in none.

    >>> window_spans(10, Windows(4, 3)).tolist(), window_spans(3, Windows(4, 3)).shape
    ([[0, 4], [3, 7], [6, 10]], (0, 2))
    """
    stop = max(0, length - windows.length + 1)
    starts = np.arange(0, stop, windows.stride, dtype=np.int64)
    return np.stack([starts, starts + windows.length], axis=1)


def parts_in_time(
    times: NDArray[np.int64], shares: Sequence[float] | NDArray[np.float64], *, apart: bool
) -> NDArray[np.int8]:
    """The part of each span on one axis of time: training first, the test last.

    The axis is divided at the shares. A span belongs to the part that it lies in as a whole, and
    spans of later parts begin the length of a span behind the border where they are to be apart.
    What lies across a border or before that is `NOWHERE`.

    Args:
        times: start and end of each span, int64 `(N, 2)`.
        shares: of training, validation and test; they sum to 1.
        apart: whether spans of two parts have the length of a span between them.

    >>> spans = np.array([[k, k + 2] for k in range(10)])
    >>> parts_in_time(spans, (0.5, 0.0, 0.5), apart=True).tolist()
    [0, 0, 0, 0, 0, 3, 3, 3, 2, 2]
    """
    starts, ends = times[:, 0], times[:, 1]
    gap = int((ends - starts).max(initial=0)) if apart else 0
    first, last = (int(starts.min()), int(ends.max())) if len(times) else (0, 1)
    borders = first + np.rint(np.cumsum([0.0, *shares]) * (last - first)).astype(np.int64)
    found = np.full(len(times), NOWHERE, np.int8)
    for number in (TRAIN, VALIDATION, TEST):
        begin, end = int(borders[number]), int(borders[number + 1])
        begin += gap if begin > first else 0
        found[(starts >= begin) & (ends <= end)] = number
    return found
