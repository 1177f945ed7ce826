"""The random numbers of a batch: each belongs to a sample and to the word it is drawn for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convarium import seeds

Floats = NDArray[np.float64]
_TURN = 40  # bits above the sample ids


@dataclass(frozen=True, eq=False)
class Stream:
    """Numbers that follow from (seed, word, epoch, sample id, turn) alone.

    Args:
        ids: sample ids below 2^40, int64 `(n,)`.
        seed: of the run.
        epoch: number of the epoch.
        turns: how often the epoch had each sample before, int64 `(n,)`; None means never.

    >>> two = Stream(np.array([7, 3]), seed=0, epoch=1)
    >>> bool(two.uniform("flip")[1] == Stream(np.array([3]), 0, 1).uniform("flip")[0])
    True
    """

    ids: NDArray[np.int64]
    seed: int
    epoch: int
    turns: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def uniform(self, word: str) -> Floats:
        """A number in [0, 1) for each sample, `(n,)`."""
        return seeds.uniform(self._keys, self.seed, word, self.epoch)

    def several(self, word: str, count: int, first: int | None = None) -> Floats:
        """`count` numbers in [0, 1) for each sample, `(n, count)`; or the `first` of them alone."""
        places = self._keys[:, None] * count + np.arange(count if first is None else first)
        return seeds.uniform(places, self.seed, word, self.epoch)

    def normal(self, word: str, count: int, first: int | None = None) -> Floats:
        """`count` normal numbers of mean 0 and deviation 1 for each sample (Box and Muller).

        Or the `first` of them alone.
        """
        radius = np.sqrt(-2 * np.log1p(-self.several(f"{word} radius", count, first)))
        numbers: Floats = radius * np.cos(2 * np.pi * self.several(f"{word} angle", count, first))
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

    def turnabout(self, word: str) -> NDArray[np.bool_]:
        """True in every second epoch, for each sample; in the first one by chance.

        >>> first, second = (Stream(np.arange(4), 0, epoch).turnabout("flip") for epoch in (0, 1))
        >>> (first != second).all()
        np.True_
        """
        begins: NDArray[np.bool_] = seeds.uniform(self._keys, self.seed, f"{word} first", 0) < 1 / 2
        return ~begins if self.epoch % 2 else begins

    @property
    def _keys(self) -> NDArray[np.int64]:
        """A number for each sample and turn; the sample's id in its first turn."""
        return self.ids if self.turns is None else self.ids + (self.turns << _TURN)
