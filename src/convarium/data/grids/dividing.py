"""Training, validation and test times: blocks that follow each other, with gaps between them.

Times that stand beside each other are alike, so that dividing them at random would show the test
set in training. Here each part is one stretch of time, and times between two parts can be left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError


class TimeParts(NamedTuple):
    """Numbers of times, rising: what is learnt from, what chooses, and what is touched once."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_times(
    count: int,
    *,
    train: int | float = 0.7,
    validation: int | float = 0.15,
    test: int | float = 0.15,
    gap: int = 0,
) -> TimeParts:
    """The first times for training, the last ones for the test, validation just before them.

    Args:
        count: of times.
        train: a whole number of times, or their share; no more than what is left.
        validation: likewise.
        test: likewise.
        gap: times that are left out between two parts.

    Raises:
        OptionError: a number is negative, or the parts are longer than all times.

    Example:
        >>> [part.tolist() for part in split_times(10, train=5, validation=2, test=2)]
        [[0, 1, 2, 3, 4], [6, 7], [8, 9]]
    """
    sizes = {"train": train, "validation": validation, "test": test, "gap": gap}
    for name, size in sizes.items():
        if size < 0 or (isinstance(size, float) and size > 1):
            raise OptionError(f"{name} (={size}) must be a number of times, or a share up to 1.")
    first, second, last = (
        int(size * count) if isinstance(size, float) else size for size in (train, validation, test)
    )
    gaps = gap * (int(second > 0) + int(last > 0))
    if first + second + last + gaps > count or not first:
        raise OptionError(
            f"train (={train}), validation (={validation}), test (={test}) and gap (={gap}) need "
            f"{first + second + last + gaps} times, the first one at least; there are {count}."
        )
    end = count - last
    before = end - gap if last else end
    numbers = np.arange(count, dtype=np.int64)
    return TimeParts(numbers[:first], numbers[before - second : before], numbers[end:])
