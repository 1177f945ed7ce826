"""What a network of fields says of times, and what it is worth: records and evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.intervals import Interval
from convarium.tasks import field_scores as scores
from convarium.tasks import field_words as words
from convarium.tasks.field_draws import Draws, PatternDraws
from convarium.tasks.field_ensembles import FieldDistribution, Rank
from convarium.tasks.field_groups import BLOCK
from convarium.tasks.field_results import FieldComparison, interval_of_times
from convarium.tasks.field_rows import WHOLE, FieldRow

NETWORK, DRAWN = "network", "network, drawn"  # among the methods of a comparison


def middle_fields(parts: Sequence[str], variables: int) -> slice:
    """Where the fields themselves are among what is given: values, means or medians."""
    first = parts.index("q0.5") if "q0.5" in parts else 0
    return slice(first * variables, (first + 1) * variables)


@dataclass(frozen=True, kw_only=True)
class FieldEvaluation:
    """What fine fields are worth.

    Args:
        names, units: of the T variables.
        spread: deviation of each over the training times and cells.
        parts: what is given of each variable.
        loss: in these deviations.
        ids: of the times, `(N,)`.
        scores: of each time the share of the variance that is explained, `(N,)`.
        truth: the fine fields, `(N, T, H, W)`; missing cells are NaN.
        values: what the network gave, `(N, P T, H, W)`.
        comparisons: by variable, the network beside what needs no training; empty where it was not
            compared.
        groups: of these comparisons, times and cells by name.
        areas: of the cells, `(H, 1)`, by which errors count; None counts all alike.
        block: times that intervals keep together.
        members: of an ensemble of networks of values what each gives, `(M, N, T, H, W)`.
        draws: by variable, fields that are drawn beside the network's.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    spread: tuple[float, ...]
    parts: tuple[str, ...]
    loss: float
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    truth: NDArray[np.float32]
    values: NDArray[np.float32]
    comparisons: Mapping[str, FieldComparison] = field(default_factory=dict)
    groups: Mapping[str, Any] = field(default_factory=dict)
    areas: NDArray[np.float64] | None = None
    block: int = BLOCK
    members: NDArray[np.float32] | None = None
    draws: Mapping[str, Draws] = field(default_factory=dict)
    shown_as: ClassVar[str] = "fields"

    @property
    def n(self) -> int:
        """Number of times."""
        return len(self.ids)

    @property
    def score(self) -> float:
        """R2, the mean over the times."""
        return float(self.scores.mean(dtype=np.float64))

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of R2, by bootstrap over blocks of times."""
        exact = self.scores.astype(np.float64)
        return interval_of_times(lambda ids: float(exact[ids].mean()), self.n, self.block)

    @property
    def fields(self) -> NDArray[np.float32]:
        """The fields themselves: values, means or medians, `(N, T, H, W)`."""
        return self.values[:, middle_fields(self.parts, len(self.names))]

    def part(self, k: int, variable: int) -> NDArray[np.float32]:
        """Part number `k` of a variable, `(N, H, W)`."""
        return self.values[:, k * len(self.names) + variable]

    @cached_property
    def rows(self) -> Mapping[str, tuple[FieldRow, ...]]:
        """By variable, a row for each method and group."""
        return {name: each.rows(self.groups) for name, each in self.comparisons.items()}

    @cached_property
    def strongest(self) -> Mapping[str, str]:
        """By variable, what comes nearest to the truth without training."""
        found = {}
        for name, rows in self.rows.items():
            own = {NETWORK, *self.comparisons[name].draws}
            others = [row for row in rows if row.group == WHOLE and row.method not in own]
            found[name] = min(others, key=lambda row: row.rmse).method
        return found

    @cached_property
    def gains(self) -> Mapping[str, tuple[float, Interval]]:
        """By variable, by how much the network's RMSE is smaller than that of the strongest."""
        return {
            name: self.comparisons[name].gain(NETWORK, over=method)
            for name, method in self.strongest.items()
        }

    @cached_property
    def crps_gains(self) -> Mapping[str, tuple[str, float, Interval]]:
        """By variable, what has the least CRPS without the network, and how much less this has.

        Of distributions alone: what a value has, the mean absolute error, any spread makes smaller.
        """
        found: dict[str, tuple[str, float, Interval]] = {}
        for k, (name, rows) in enumerate(self.rows.items()):
            whole = [row for row in rows if row.group == WHOLE and NETWORK not in row.method]
            others = [row for row in whole if row.method in self.comparisons[name].crps]
            if self.distribution(k) is None or not others:
                continue
            over = min(others, key=lambda row: row.crps).method
            own = DRAWN if name in self.draws else NETWORK
            found[name] = (over, *self.comparisons[name].gain(own, over, "crps"))
        return found

    def distribution(self, variable: int) -> FieldDistribution | PatternDraws | None:
        """The distributions of a variable; None of single values."""
        draws = self.draws.get(self.names[variable])
        if isinstance(draws, PatternDraws):
            return draws
        if self.members is not None:
            return FieldDistribution("members", self.members[:, :, variable])
        if len(self.parts) == 1:
            return None
        parts = np.stack([self.part(k, variable) for k in range(len(self.parts))])
        if self.parts[-1] == "spread":
            return FieldDistribution("normal", parts)
        levels = tuple(float(name[1:]) for name in self.parts)
        return FieldDistribution("quantiles", parts, levels)

    def distances(self, variable: int) -> NDArray[np.float64] | None:
        """CRPS of a variable's distribution in each cell, `(N, H, W)`; None of single values."""
        found = self.distribution(variable)
        return None if found is None else found.distances(self.truth[:, variable])

    def ranks(self, variable: int) -> list[Rank]:
        """Where the truth falls in a variable's distribution; nothing of single values."""
        found = self.distribution(variable)
        return [] if found is None else found.ranks(self.truth[:, variable], self.areas)

    @cached_property
    def crps(self) -> tuple[float, ...]:
        """Of each variable's distribution; the mean absolute error of a value."""
        found = []
        for k in range(len(self.names)):
            cells = self.distances(k)
            value = scores.mae(self.truth[:, k], self.fields[:, k], self.areas)
            found.append(value if cells is None else scores.mean_of(cells, self.areas))
        return tuple(found)

    def sentence(self) -> str:
        """R2 with n and the interval, and what is gained over the strongest of the others."""
        low, high = self.interval
        told = f"R2 {self.score:.4f} ({low:.4f} to {high:.4f}) of {self.n} times"
        for name, (gain, (least, most)) in self.gains.items():
            if math.isnan(gain):
                told += f"; {name}: {self.strongest[name]} has no error, and the network has"
                continue
            word = "smaller" if gain >= 0 else "larger"
            told += (
                f"; {name}: RMSE {abs(gain):.1%} {word} than {self.strongest[name]} "
                f"({least:.1%} to {most:.1%})"
            )
        return told

    def lines(self) -> Sequence[str]:
        """RMSE of each method over all times, with its interval and other figures."""
        found = []
        for k, (name, unit) in enumerate(zip(self.names, self.units, strict=True)):
            for row in self.rows.get(name, ()):
                if row.group == WHOLE and math.isfinite(row.rmse):
                    found.append(f"  {name}: {words.row(row, unit)}")
            if name not in self.rows:
                figures = self._figures(k)
                found.append(f"  {name}: RMSE {figures['rmse']:.4g} {unit}".rstrip())
            ranks, drawn = self.ranks(k), self._row_of(k)
            if ranks:
                told = words.distribution(self.crps[k], unit, drawn, ranks)
                found.append(f"  {name}: {told}{words.gained(self.crps_gains.get(name))}")
            if name in self.draws and drawn is not None:
                shown = (NETWORK, DRAWN, self.strongest[name])
                rows = [each for each in self.rows[name] if each.group == WHOLE]
                chosen = [each for each in rows if each.method in shown]
                found.append(f"  {name}: {words.extremes(chosen, unit)}")
        return found

    def _row_of(self, k: int) -> FieldRow | None:
        """The row of the network, or of its draws, over all times and cells; None without one."""
        name = self.names[k]
        own = (DRAWN if name in self.draws else NETWORK, WHOLE)
        return next(
            (row for row in self.rows.get(name, ()) if (row.method, row.group) == own), None
        )

    def _figures(self, k: int) -> dict[str, float]:
        truth, value = self.truth[:, k], self.fields[:, k]
        return {
            "rmse": scores.rmse(truth, value, self.areas),
            "mae": scores.mae(truth, value, self.areas),
            "bias": scores.bias(truth, value, self.areas),
            "crps": self.crps[k],
        }

    def summary(self) -> dict[str, Any]:
        """The figures that the card keeps."""
        found: dict[str, Any] = {"n": self.n, "loss": self.loss, "r2": self.score}
        found["r2_interval"] = self.interval.or_none()
        outputs: dict[str, Any] = {}
        for k, name in enumerate(self.names):
            outputs[name] = {"unit": self.units[k], **self._figures(k), **self._distribution(k)}
            if name in self.gains:
                outputs[name]["gain"] = words.gain_as_json(self.strongest[name], *self.gains[name])
        return {**found, "outputs": outputs}

    def _distribution(self, k: int) -> dict[str, Any]:
        """Of a distribution the interval of its CRPS, and where the truth falls."""
        ranks, row = self.ranks(k), self._row_of(k)
        if not ranks:
            return {}
        found: dict[str, Any] = (
            {} if row is None else {"crps_interval": row.crps_interval.or_none()}
        )
        name = self.names[k]
        if name in self.draws:
            found["draws"] = self.draws[name].count
        if name in self.crps_gains:
            found["crps_gain"] = words.gain_as_json(*self.crps_gains[name])
        return {**found, "ranks": [rank._asdict() for rank in ranks]}

    def to_json(self) -> dict[str, Any]:
        """The summary, and the rows of all methods and groups."""
        methods = {name: [row.to_json() for row in rows] for name, rows in self.rows.items()}
        return {**self.summary(), "methods": methods}

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """Of each time the RMSE in the variables' deviations, the mean over them, `(N,)`."""
        std = np.asarray(self.spread).reshape(1, -1, 1, 1)
        squares = np.square((self.fields.astype(np.float64) - self.truth) / std)
        return np.sqrt([scores.mean_of(each, self.areas) for each in squares])

    def worst(self, most: int) -> NDArray[np.int64]:
        """Ids of the times with the largest errors, the worst first."""
        return self.ids[np.argsort(-self.errors, kind="stable")[:most]]

    def examples(self, most: int) -> NDArray[np.int64]:
        """Ids of times that are spread over all."""
        places = np.unique(np.linspace(0, self.n - 1, min(most, self.n)).round().astype(int))
        found: NDArray[np.int64] = self.ids[places]
        return found

    def predictions(self) -> Iterator[Mapping[str, Any]]:
        """Of each time RMSE and bias of each variable."""
        for i, truth, value in zip(self.ids.tolist(), self.truth, self.fields, strict=True):
            own = {}
            for name, one, other in zip(self.names, truth, value, strict=True):
                own[f"rmse_{name}"] = scores.rmse(one, other, self.areas)
                own[f"bias_{name}"] = scores.bias(one, other, self.areas)
            yield {"id": i, **own}
