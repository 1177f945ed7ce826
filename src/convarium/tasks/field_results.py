"""Fine fields of several methods beside each other: the figures of each, over all and by groups.

What is a mean over times has 95 % intervals by bootstrap over blocks of them, and so has the share
by which the error of a method is smaller than that of another: both are drawn at the same times.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import pieces
from convarium.errors import DataError
from convarium.intervals import Interval, block_bootstrap
from convarium.tasks import field_scores as scores
from convarium.tasks.field_draws import CellDraws, Draws
from convarium.tasks.field_groups import BLOCK, Groups
from convarium.tasks.field_rows import WHOLE, FieldRow, of_cells
from convarium.tasks.field_spectra import high_waves

Array = NDArray[Any]

_RESAMPLES = 400
_FEWEST_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class FieldComparison:
    """The truth, and what several methods give for it.

    Args:
        truth: fine fields of one variable, (n, H, W); missing cells are NaN.
        values: by method, likewise.
        areas: of the cells of each row, (H,); None counts all alike.
        coarse: the coarse fields (n, H / r, W / s), for the conservation error.
        factor: rows and columns of a block.
        weighted: whether the coarse fields are means weighted by `areas`.
        climatology: of each time (n, H, W), for the anomaly correlation.
        wrap: the columns go all the way around.
        block: times that are drawn together for intervals; of few times, a quarter of them.
        crps: by method, of each time and cell (n, H, W), where it gives distributions.
        years: of each time (n,), for what is reached once in ten years.
        draws: by method, where its field is the first of several: extremes are the means over all
            of them, as CRPS is of all.

    Raises:
        DataError: a method's fields have another shape than the truth.
    """

    truth: Array
    values: Mapping[str, Array]
    areas: Array | None
    coarse: Array | None = None
    factor: tuple[int, int] = (1, 1)
    weighted: bool = False
    climatology: Array | None = None
    wrap: bool = False
    block: int = 1
    crps: Mapping[str, Array] = field(default_factory=dict)
    years: Array | None = None
    draws: Mapping[str, Draws] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if value.shape != self.truth.shape:
                raise DataError(
                    f"The fields of {name} {value.shape} must have the truth's shape "
                    f"{self.truth.shape}."
                )

    def rows(self, groups: Groups | None = None) -> tuple[FieldRow, ...]:
        """A row a method, over all and for each group.

        Args:
            groups: by name, numbers of times and which cells; None is all of them.
        """
        named: Groups = {WHOLE: (None, None), **(groups or {})}
        return tuple(
            self._row(method, group, *chosen)
            for group, chosen in named.items()
            for method in self.values
        )

    def gain(
        self, method: str, over: str, figure: Literal["rmse", "crps"] = "rmse"
    ) -> tuple[float, Interval]:
        """The share by which a method's RMSE or CRPS is smaller than another's, with its interval.

        NaN where the other's is 0, as it is of a field that never changes.
        """
        ours, theirs = (
            self._errors(name, self.truth, self.values[name], slice(None))[figure]
            for name in (method, over)
        )
        power = 0.5 if figure == "rmse" else 1.0

        def share(ids: NDArray[np.int64]) -> float:
            own, other = (_mean_at(each, ids) ** power for each in (ours, theirs))
            return scores.share_gained(own, other)

        n = len(self.truth)
        return share(np.arange(n)), self._interval(share, n)

    def _row(
        self,
        method: str,
        group: str,
        times: NDArray[np.int64] | None,
        cells: NDArray[np.bool_] | None,
    ) -> FieldRow:
        chosen = slice(None) if times is None else times
        truth, value = self.truth[chosen], self.values[method][chosen]
        if cells is not None:
            truth = np.where(cells, truth, np.nan)
        tables = self._tables(method, truth, value, chosen, whole=cells is None)
        means = {name: scores.mean_of_sums(table) for name, table in tables.items()}
        once = functools.partial(self._interval, n=len(truth))
        intervals = {
            name: once(functools.partial(_mean_at, table))
            for name, table in tables.items()
            if name not in ("rmse", "crps") and group == WHOLE and math.isfinite(means[name])
        }
        quantile_error, return_error = self._extremes(method, truth, value, group, chosen)
        found = FieldRow(
            method=method,
            group=group,
            n=len(truth),
            rmse=math.sqrt(means["rmse"]),
            rmse_interval=once(lambda ids: math.sqrt(_mean_at(tables["rmse"], ids))),
            mae=means["mae"],
            bias=means["bias"],
            anomaly_correlation=means.get("anomaly_correlation", math.nan),
            quantile_error=quantile_error,
            ssim=means.get("ssim", math.nan),
            high_waves=means.get("high_waves", math.nan),
            conservation_error=(
                self._conservation(truth, value, chosen) if cells is None else math.nan
            ),
            crps=means["crps"],
            crps_interval=once(functools.partial(_mean_at, tables["crps"])),
            return_error=return_error,
            intervals=intervals,
        )
        return of_cells(found) if isinstance(self.draws.get(method), CellDraws) else found

    def _errors(
        self, method: str, truth: Array, value: Array, chosen: Any
    ) -> dict[str, NDArray[np.float64]]:
        """Of each time sums of errors by area, and the area, (n, 2)."""
        areas, sums = self._areas(), _sums_of_times(value, truth, self._areas())
        found = {name: sums[:, [k, 3]] for k, name in enumerate(("rmse", "mae", "bias"))}
        if method not in self.crps:
            return found | {"crps": found["mae"]}
        own = np.where(np.isnan(truth), np.nan, self.crps[method][chosen])
        return found | {"crps": _sums_of_times(own, np.zeros_like(truth), areas)[:, [1, 3]]}

    def _tables(
        self, method: str, truth: Array, value: Array, chosen: Any, *, whole: bool
    ) -> dict[str, NDArray[np.float64]]:
        """Figures that are means over times: of each a sum, and what it is divided by, (n, 2)."""
        found = self._errors(method, truth, value, chosen)
        if self.climatology is not None:
            given = (truth, value, self.climatology[chosen], self._areas())
            found["anomaly_correlation"] = scores.correlation_sums(*given)
        if whole and min(truth.shape[1:]) >= scores.WINDOW:
            found["ssim"] = scores.ssim_sums(truth, value)
        if whole and max(self.factor) > 1:
            found["high_waves"] = high_waves(truth, value, max(self.factor), wrap=self.wrap)
        return found

    def _areas(self) -> Array | None:
        return None if self.areas is None else np.asarray(self.areas).reshape(-1, 1)

    def _extremes(
        self, method: str, truth: Array, value: Array, group: str, chosen: Any
    ) -> tuple[float, float]:
        """Of the 99th percentile and of what comes once in ten years the mean size of the error.

        Of draws the percentiles and values are the means of theirs, over all times and cells alone.
        """
        draws, statistics = self.draws.get(method), [scores.cell_quantiles]
        if self.years is not None:
            once = functools.partial(scores.cell_returns, years=self.years[chosen])
            statistics.append(once)
        if draws is not None and group != WHOLE:  # each of them is made anew
            return math.nan, math.nan
        found = [statistic(truth, value) for statistic in statistics]
        for m in range(1, 1 if draws is None else draws.count):
            one = cast("Draws", draws).one(m, chosen)
            for mean, statistic in zip(found, statistics, strict=True):
                mean += (statistic(truth, one) - mean) / (m + 1)
        errors = [
            scores.mean_of(np.abs(mean - statistic(truth, truth)), self._areas())
            for mean, statistic in zip(found, statistics, strict=True)
        ]
        return errors[0], errors[1] if len(errors) > 1 else math.nan

    def _interval(self, statistic: Any, n: int) -> Interval:
        return interval_of_times(statistic, n, self.block)

    def _conservation(self, truth: Array, value: Array, chosen: Any) -> float:
        """Over the cells that the truth has, of which the coarse field is the mean."""
        if self.coarse is None:
            return math.nan
        areas = self.areas if self.weighted else None
        known = np.where(np.isnan(truth), np.nan, value)
        return scores.conservation_error(known, self.coarse[chosen], self.factor, areas)


def interval_of_times(statistic: Any, n: int, block: int = BLOCK) -> Interval:
    """95 % interval of a statistic of n times, by blocks of them; of few times, of a quarter."""
    block = max(1, min(block, n // _FEWEST_BLOCKS))
    return block_bootstrap(statistic, n, block=block, resamples=_RESAMPLES)


def _sums_of_times(value: Array, truth: Array, areas: Array | None) -> NDArray[np.float64]:
    """Of each time the sums by area of the squared errors, their sizes and the errors; the area.

    Shape:
        (n, H, W), (n, H, W) -> (n, 4)
    """
    found = [np.zeros((0, 4))]
    for some in pieces(np.arange(len(truth))):
        apart = value[some].astype(np.float64) - truth[some]
        known = ~np.isnan(apart)
        weights = known * (1.0 if areas is None else areas)
        apart = np.where(known, apart, 0.0)
        each = [(x * weights).sum((1, 2)) for x in (np.square(apart), np.abs(apart), apart)]
        found.append(np.stack([*each, weights.sum((1, 2))], 1))
    return np.concatenate(found)


def _mean_at(sums: NDArray[np.float64], ids: NDArray[np.int64]) -> float:
    """The mean over some times from sums and what they are divided by, (n, 2)."""
    return scores.mean_of_sums(sums[ids])
