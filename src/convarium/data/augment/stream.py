"""The random numbers of a batch: each belongs to a sample and to the word it is drawn for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium import seeds

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stream:
    """Numbers that follow from (seed, word, epoch, sample id) alone.

    Args:
        ids: sample ids, int64 `(n,)`.
        seed: of the run.
        epoch: number of the epoch.

    >>> two = Stream(np.array([7, 3]), seed=0, epoch=1)
    >>> bool(two.uniform("flip")[1] == Stream(np.array([3]), 0, 1).uniform("flip")[0])
    True
    """

    ids: NDArray[np.int64]
    seed: int
    epoch: int

    def __len__(self) -> int:
        return len(self.ids)

    def uniform(self, word: str) -> Floats:
        """A number in [0, 1) for each sample, `(n,)`."""
        return seeds.uniform(self.ids, self.seed, word, self.epoch)

    def several(self, word: str, count: int) -> Floats:
        """`count` numbers in [0, 1) for each sample, `(n, count)`."""
        places = self.ids[:, None] * count + np.arange(count)
        return seeds.uniform(places, self.seed, word, self.epoch)

    def normal(self, word: str, count: int) -> Floats:
        """`count` normal numbers of mean 0 and deviation 1 for each sample (Box and Muller)."""
        radius = np.sqrt(-2 * np.log1p(-self.several(f"{word} radius", count)))
        numbers: Floats = radius * np.cos(2 * np.pi * self.several(f"{word} angle", count))
        return numbers

    def between(self, low: float, high: float, word: str) -> Floats:
        """A number in [low, high) for each sample."""
        return low + (high - low) * self.uniform(word)

    def below(self, count: int, word: str) -> NDArray[np.int64]:
        """A whole number in 0 .. count-1 for each sample."""
        return (self.uniform(word) * count).astype(np.int64)

    def chance(self, probability: float, word: str) -> NDArray[np.bool_]:
        """True with the probability, for each sample."""
        return self.uniform(word) < probability
