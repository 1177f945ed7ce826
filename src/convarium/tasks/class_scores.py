"""What a classifier's stated probabilities are worth, from a few numbers a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScores:
    """What is measured of the stated probabilities, sample by sample.

    Args:
        surprises: -log of the true class's probability, float32 `(N,)`.
        squares: sum of the squared probabilities, float32 `(N,)`.
        ranks: how many classes come before the true one; 0 is right, int32 `(N,)`.
        rows: all probabilities, float32 `(N, K)`, or None where they would take more than 256 MiB.
        temperature: what outputs were divided by.

    References:
        Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather
        Review 78, equation 2.
    """

    surprises: NDArray[np.float32]
    squares: NDArray[np.float32]
    ranks: NDArray[np.int32]
    rows: NDArray[np.float32] | None
    temperature: float = 1.0

    @property
    def nll(self) -> float:
        """Negative log likelihood: the mean surprise, in nats."""
        return float(self.surprises.mean(dtype=np.float64))

    @property
    def brier(self) -> float:
        """Brier's score: the mean of sum_c (p_c - y_c)^2, between 0 and 2."""
        truth = np.exp(-self.surprises.astype(np.float64))
        return float((self.squares - 2 * truth + 1).mean())

    def top(self, k: int) -> float:
        """Share of the samples whose class is among the k most probable."""
        return float((self.ranks < k).mean())
