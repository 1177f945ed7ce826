"""Distributions of fine fields: of one network, or of several whose fields are its members."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError
from convarium.tasks.field_distributions import (
    member_cells,
    normal_cells,
    quantile_cells,
    rank_histogram,
)
from convarium.tasks.field_scores import mean_of

if TYPE_CHECKING:
    from convarium.tasks.downscaling_results import FieldEvaluation

Array = NDArray[Any]

_TENTHS: Final = tuple(k / 10 for k in range(1, 10))


class Rank(NamedTuple):
    """How often the truth falls between two ends of a distribution.

    Args:
        place: which ends.
        share: of the cells and times.
        right: what the share is of a right distribution.
    """

    place: str
    share: float
    right: float


@dataclass(frozen=True, eq=False)
class FieldDistribution:
    """Distributions of one variable.

    Args:
        kind: "normal", "quantiles" or "members".
        values: mean and spread, the quantiles, or the members, (K, n, H, W).
        levels: of the quantiles.
    """

    kind: Literal["normal", "quantiles", "members"]
    values: Array
    levels: tuple[float, ...] = ()

    def distances(self, truth: Array) -> NDArray[np.float64]:
        """CRPS of each time and cell, (n, H, W); NaN where the truth is."""
        if self.kind == "members":
            return member_cells(truth, self.values)
        if self.kind == "normal":
            return normal_cells(truth, *self.values)
        return quantile_cells(truth, self.values, self.levels)

    def ranks(self, truth: Array, areas: Array | None = None) -> list[Rank]:
        """Where the truth falls: among members, between quantiles, or in tenths; by area."""
        if self.kind == "members":
            return member_ranks(rank_histogram(truth, self.values, areas=areas), "member")
        levels = _TENTHS if self.kind == "normal" else self.levels
        shares = rank_histogram(truth, self._quantiles(), areas=areas)
        right = np.diff([0.0, *levels, 1.0])
        return _ranks([f"{100 * level:g} %" for level in levels], shares, right)

    def _quantiles(self) -> Array:
        if self.kind == "quantiles":
            return self.values
        mean, spread = self.values.astype(np.float64)
        normal = NormalDist()
        return np.stack([mean + spread * normal.inv_cdf(level) for level in _TENTHS])


def member_ranks(shares: Array, word: str) -> list[Rank]:
    """Ranks among members, (M + 1,), each as likely as the others; `word` names a member."""
    ends = [f"{word} {k + 1}" for k in range(len(shares) - 1)]
    return _ranks(ends, shares, np.full(len(shares), 1 / len(shares)))


def _ranks(ends: Sequence[str], shares: Array, right: Array) -> list[Rank]:
    names = [f"below {ends[0]}", *(f"up to {end}" for end in ends[1:]), f"above {ends[-1]}"]
    return [Rank(*row) for row in zip(names, shares.tolist(), right.tolist(), strict=True)]


def together(evaluations: Sequence[FieldEvaluation], areas: Array | None = None) -> FieldEvaluation:
    """What several networks are worth together, on the same times.

    Of values their mean, with each as a member of an ensemble; of normal distributions mean and
    spread of their mixture; of quantiles their means.

    Args:
        evaluations: one a network.
        areas: of the cells, (H, 1), by which errors count; None counts all alike.

    Raises:
        OptionError: they give other things, or of other times.
    """
    first, *others = evaluations
    for each in others:
        same = (each.parts, each.names) == (first.parts, first.names)
        if not same or not np.array_equal(each.ids, first.ids):
            raise OptionError(
                f"Runs that are evaluated together must give the same: {first.names} as "
                f"{first.parts} of {first.n} times, and not {each.names} as {each.parts} of "
                f"{each.n}."
            )
    if not others:
        return first
    every = np.stack([each.values for each in evaluations])
    mean = every.mean(0)
    if first.parts[-1] == "spread":
        count = len(first.names)
        variance = np.square(every[:, :, count:]).mean(0) + every[:, :, :count].var(0)
        mean[:, count:] = np.sqrt(variance)
    members = every if len(first.parts) == 1 else None
    found = dataclasses.replace(first, values=mean, members=members, areas=areas)
    apart = np.square((found.fields - found.truth) / np.reshape(first.spread, (1, -1, 1, 1)))
    scores = np.array([1 - mean_of(each, areas) for each in apart])
    loss = float(1 - scores.mean())
    if len(first.parts) > 1:
        loss = float(np.mean(np.divide(found.crps, first.spread)))
    return dataclasses.replace(found, scores=scores.astype(np.float32), loss=loss)
