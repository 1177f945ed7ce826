"""A series in memory: numbers of its channels at its time steps, and its rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Series:
    """One series; what is missing is NaN.

    Args:
        values: float32 `(C, T)`.
        rate: time steps a second, where the file says it.

    Raises:
        DataError: another shape or type, or nothing in it.

    >>> Series(np.zeros((2, 5), np.float32)).length
    5
    """

    values: Floats
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or not self.values.size or self.values.dtype != np.float32:
            raise DataError(
                f"values of shape {self.values.shape} and type {self.values.dtype} must be float32 "
                "(C, T) with a time step or more"
            )

    @property
    def channels(self) -> int:
        """How many curves there are."""
        return len(self.values)

    @property
    def length(self) -> int:
        """Time steps."""
        return int(self.values.shape[1])


def floats_of(values: NDArray[Any]) -> Floats:
    """Numbers as float32, the last axis in a row; what is not finite there is missing.

    Raises:
        DataError: no numbers; the text is the reason alone.

    >>> floats_of(np.array([1.0, np.inf, 1e300])).tolist()
    [1.0, nan, nan]
    """
    if values.dtype.kind not in "biuf":
        raise DataError(f"values of type {values.dtype}, which are no numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.astype(np.float32, order="C")
    found[~np.isfinite(found)] = np.nan
    return found


def check_readable(series: Series) -> None:
    """Refuse a series without a single value.

    Raises:
        DataError: so; the text is the reason alone.
    """
    if np.isnan(series.values).all():
        raise DataError("all of its values are missing")
