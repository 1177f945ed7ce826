"""Means and deviations of fields over times, and over cells too, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError

Statistics = tuple[list[float], list[float]]


class Moments:
    """Sums over times and cells of what is known, channel by channel, in double precision."""

    def __init__(self) -> None:
        self.count: NDArray[np.float64] | None = None
        self._sums: Any = 0.0
        self._squares: Any = 0.0
        self._origin: Any = None

    def add(self, values: NDArray[Any]) -> None:
        """Take in fields (n, C, H, W)."""
        known = ~np.isnan(values)
        numbers = np.where(known, values, 0.0).astype(np.float64)
        if self._origin is None:  # near the mean, so that squares keep their digits
            counts = known.sum((0, 2, 3), keepdims=True)
            self._origin = numbers.sum((0, 2, 3), keepdims=True) / np.maximum(counts, 1)
        numbers = np.where(known, numbers - self._origin, 0.0)
        self.count = (0.0 if self.count is None else self.count) + known.sum((0, 2, 3))
        self._sums = self._sums + numbers.sum((0, 2, 3))
        self._squares = self._squares + np.square(numbers).sum((0, 2, 3))

    def result(self, varied: Sequence[str] = ()) -> Statistics:
        """Means and deviations; a field that is the same everywhere has the deviation 1.

        Args:
            varied: names of the fields, where none may be the same everywhere.

        Raises:
            DataError: a field has no known cell, or does not vary as it should.
        """
        if self.count is None or not self.count.all():
            raise DataError("A field has no known cell in the training times; leave it out.")
        apart = self._sums / self.count
        variance = np.maximum(self._squares / self.count - apart**2, 0.0)
        std = np.sqrt(variance)
        mean = apart + self._origin.reshape(-1)
        small = std <= 1e-6 * np.abs(mean)
        for name, same, value in zip(varied, small, mean, strict=False):
            if same:
                raise DataError(
                    f"{name} is {value:g} in all cells and times of the training; there is nothing "
                    "to learn, choose another variable or region."
                )
        return mean.tolist(), np.where(small, 1.0, std).tolist()


class CellMeans:
    """Sums over times of what is known in each cell, in double precision."""

    def __init__(self) -> None:
        self._sums: Any = 0.0
        self._counts: Any = 0

    def add(self, values: NDArray[Any]) -> None:
        """Take in fields (n, C, H, W)."""
        known = ~np.isnan(values)
        self._sums = self._sums + np.where(known, values, 0.0).sum(0, dtype=np.float64)
        self._counts = self._counts + known.sum(0)

    def result(self) -> NDArray[np.float32]:
        """The mean of each cell, (C, H, W); NaN where it never is known."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found: NDArray[np.float64] = self._sums / self._counts
        return np.where(self._counts > 0, found, np.nan).astype(np.float32)
