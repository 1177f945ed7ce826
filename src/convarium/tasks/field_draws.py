"""Fields that are drawn beside what a network gives, for figures: one draw at a time.

    sums of patterns    field + sum_k e_k pattern_k, so that neighbouring cells go together
    cell by cell        from a distribution of each cell, without what neighbours have in common

Draws are made when they are asked for: twenty fields of each time would not fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.tasks.field_distributions import member_cells, rank_counts
from convarium.tasks.field_ensembles import FieldDistribution, Rank, member_ranks

Array = NDArray[Any]

_AT_ONCE: Final = 2**22  # numbers of all draws of some times


@dataclass(frozen=True, eq=False)
class PatternDraws:
    """Draws around the fields of one variable.

    Args:
        fields: (n, H, W).
        patterns: (K, H, W).
        weights: of the patterns, for each of M draws, (n, M, K).
    """

    fields: Array
    patterns: Array
    weights: Array

    @property
    def count(self) -> int:
        """The draws M of each time."""
        return int(self.weights.shape[1])

    def one(self, m: int, times: Any = slice(None)) -> Array:
        """Draw number `m` of some times, (n, H, W)."""
        found: Array = self.fields[times] + np.tensordot(self.weights[times, m], self.patterns, 1)
        return found

    def distances(self, truth: Array) -> NDArray[np.float64]:
        """CRPS of what is drawn from, of each time and cell, (n, H, W); NaN where the truth is."""
        found = np.full(truth.shape, np.nan)
        for some in self._pieces():
            found[some] = member_cells(truth[some], self._all_of(some), fair=True)
        return found

    def ranks(self, truth: Array, areas: Array | None = None) -> list[Rank]:
        """Where the truth falls among the draws, by area."""
        total: NDArray[np.float64] = np.zeros(self.count + 1)
        for some in self._pieces():
            total += rank_counts(truth[some], self._all_of(some), seed=some.start, areas=areas)
        return member_ranks(total / max(total.sum(), 1e-12), "draw")

    def _pieces(self) -> Iterator[slice]:
        n = len(self.fields)
        size = max(1, _AT_ONCE // (self.count * self.fields[:1].size))
        return (slice(start, min(start + size, n)) for start in range(0, n, size))

    def _all_of(self, times: slice) -> Array:
        """All draws of some times, (M, n, H, W)."""
        added = np.tensordot(self.weights[times].swapaxes(0, 1), self.patterns, 1)
        found: Array = self.fields[times] + added
        return found


@dataclass(frozen=True, eq=False)
class CellDraws:
    """Draws of a distribution of one variable, each cell by itself.

    Args:
        distribution: normal, or quantiles; beyond the outermost ones nothing is drawn.
        count: draws of each time.
        key: of their random numbers.
        bounded: what is drawn is not below 0.
    """

    distribution: FieldDistribution
    count: int
    key: str
    bounded: bool = False

    def one(self, m: int, times: Any = slice(None)) -> Array:
        """Draw number `m` of some times, (n, H, W)."""
        found: Array = self._drawn(m)[times]
        return np.maximum(found, 0) if self.bounded else found

    def _drawn(self, m: int) -> Array:
        values = self.distribution.values
        random = np.random.default_rng(seeds.derive("cells", self.key, m))
        if self.distribution.kind == "normal":
            mean, spread = values
            z = random.standard_normal(mean.shape, "f4")
            return np.asarray(mean + spread * z)
        u, found = random.random(values.shape[1:], "f4"), values[0].copy()
        ends = zip(self.distribution.levels, values, strict=True)
        (low, below), *others = ends
        for level, above in others:
            found += np.clip((u - low) / (level - low), 0, 1) * (above - below)
            low, below = level, above
        return np.asarray(found)

    def distances(self, truth: Array) -> NDArray[np.float64]:
        """CRPS of the distribution itself in each time and cell, (n, H, W)."""
        return self.distribution.distances(truth)


Draws = PatternDraws | CellDraws
