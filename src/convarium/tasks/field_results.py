"""Fine fields of several methods beside each other: the figures of each, over all and by groups.

The errors have 95 % intervals by bootstrap over blocks of times, and so has the share by which the
error of a method is smaller than that of another: both are drawn at the same times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError
from convarium.intervals import Interval, block_bootstrap
from convarium.tasks import field_scores as scores

Array = NDArray[Any]
Groups = Mapping[str, tuple[NDArray[np.int64] | None, NDArray[np.bool_] | None]]

BLOCK = 12  # times that intervals keep together where there are no dates
_YEAR, _MONTH = 365.25, 30.0  # days
_DAY = 86400.0  # seconds
_TEN = 10  # of times that come once a year or less often
_RESAMPLES = 400
_FEWEST_BLOCKS = 4
_SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
_BANDS = {"south": (-90.0, -30.0), "tropics": (-30.0, 30.0), "north": (30.0, 90.0)}
WHOLE = "all"


@dataclass(frozen=True)
class FieldRow:
    """What one method reaches in one group of times and cells, in the unit of the field.

    Args:
        method: its name.
        group: "all", a season or a region.
        n: number of times.
        rmse: root of the mean squared error, by area.
        rmse_interval: of it.
        mae: mean absolute error.
        bias: mean error.
        anomaly_correlation: over the cells, the mean over times; NaN without a climatology.
        quantile_error: mean size of the error of each cell's 99th percentile over the times.
        ssim: structural similarity; NaN of a group of cells.
        high_waves: power of waves too short for the coarse field, as a share of the truth's; NaN of
            a group of cells.
        conservation_error: largest difference of a block mean, in the coarse field's deviations;
            NaN of a group of cells, and without a coarse field.
    """

    method: str
    group: str
    n: int
    rmse: float
    rmse_interval: Interval
    mae: float
    bias: float
    anomaly_correlation: float
    quantile_error: float
    ssim: float
    high_waves: float
    conservation_error: float

    def to_json(self) -> dict[str, Any]:
        """Values for JSON; what is not known is None."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in asdict(self).items()
        }


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

    def gain(self, method: str, over: str) -> tuple[float, Interval]:
        """The share by which a method's RMSE is smaller than another's, with its interval."""
        ours, theirs = (self._errors(name, self.truth) for name in (method, over))

        def share(ids: NDArray[np.int64]) -> float:
            return 1 - _root_mean(ours[ids]) / _root_mean(theirs[ids])

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
        areas, errors = self._areas(), self._errors(method, truth, chosen)
        whole = cells is None
        correlation = math.nan
        if self.climatology is not None:
            correlation = scores.anomaly_correlation(truth, value, self.climatology[chosen], areas)
        return FieldRow(
            method=method,
            group=group,
            n=len(truth),
            rmse=_root_mean(errors),
            rmse_interval=self._interval(lambda ids: _root_mean(errors[ids]), len(truth)),
            mae=scores.mae(truth, value, areas),
            bias=scores.bias(truth, value, areas),
            anomaly_correlation=correlation,
            quantile_error=scores.quantile_error(truth, value, areas=areas),
            ssim=_ssim(truth, value) if whole else math.nan,
            high_waves=self._high_waves(truth, value) if whole else math.nan,
            conservation_error=self._conservation(truth, value, chosen) if whole else math.nan,
        )

    def _areas(self) -> Array | None:
        return None if self.areas is None else np.asarray(self.areas).reshape(-1, 1)

    def _errors(self, method: str, truth: Array, chosen: Any = slice(None)) -> NDArray[np.float64]:
        """The sum of the squared errors of each time, by area, and its known area: (n, 2)."""
        squares = np.square(self.values[method][chosen].astype(np.float64) - truth)
        known = ~np.isnan(squares)
        weights = known * (1.0 if self.areas is None else self._areas())
        sums = np.where(known, squares, 0.0) * weights
        return np.stack([sums.sum((1, 2)), weights.sum((1, 2))], 1)

    def _interval(self, statistic: Any, n: int) -> Interval:
        return interval_of_times(statistic, n, self.block)

    def _high_waves(self, truth: Array, value: Array) -> float:
        if max(self.factor) == 1:
            return math.nan
        return scores.spectrum_ratio(truth, value, max(self.factor), wrap=self.wrap)[1]

    def _conservation(self, truth: Array, value: Array, chosen: Any) -> float:
        """Over the cells that the truth has, of which the coarse field is the mean."""
        if self.coarse is None:
            return math.nan
        areas = self.areas if self.weighted else None
        known = np.where(np.isnan(truth), np.nan, value)
        return scores.conservation_error(known, self.coarse[chosen], self.factor, areas)


def block_of(times: Array) -> int:
    """How many times intervals keep together: a year of months, 30 days of what comes more often.

    Of years it is ten, and 12 of what has no dates.

    Example:
        >>> block_of(np.arange("2000-01", "2004-01", dtype="datetime64[M]"))
        12
        >>> block_of(np.arange("2000-01-01", "2000-03-01", dtype="datetime64[6h]"))
        120
    """
    if len(times) < 2 or not (np.asarray(times).dtype.kind == "M" or hasattr(times[0], "year")):
        return BLOCK
    dates = np.sort(times)
    if dates.dtype.kind == "M":
        days = float(np.median(np.diff(dates.astype("datetime64[s]")).astype(np.float64))) / _DAY
    else:
        days = float(np.median([each.total_seconds() for each in np.diff(dates)])) / _DAY
    if days > _YEAR / 2:
        return _TEN
    whole = _MONTH if days < _MONTH * 0.9 else _YEAR
    return max(1, round(whole / max(days, 1 / 1440)))


def interval_of_times(statistic: Any, n: int, block: int = BLOCK) -> Interval:
    """95 % interval of a statistic of n times, by blocks of them; of few times, of a quarter."""
    block = max(1, min(block, n // _FEWEST_BLOCKS))
    return block_bootstrap(statistic, n, block=block, resamples=_RESAMPLES)


def _root_mean(errors: NDArray[np.float64]) -> float:
    """Root of the mean of squares from their sums and areas, (n, 2)."""
    total, area = errors.sum(0)
    return math.sqrt(total / area) if area else math.nan


def season_groups(months: NDArray[np.int64]) -> Groups:
    """The times of each season that there are, by the months' first letters.

    Example:
        >>> found = season_groups(np.array([1, 2, 7]))
        >>> {name: times.tolist() for name, (times, _) in found.items()}
        {'DJF': [0, 1], 'JJA': [2]}
    """
    found = {name: np.flatnonzero(np.isin(months, given)) for name, given in _SEASONS.items()}
    return {name: (times, None) for name, times in found.items() if len(times)}


def decade_groups(times: Array) -> Groups:
    """The times of each decade, where dates span two of them or more.

    Example:
        >>> dates = np.array(["1999-06", "2001-06", "2002-06"], "datetime64[M]")
        >>> {name: ids.tolist() for name, (ids, _) in decade_groups(dates).items()}
        {'1990s': [0], '2000s': [1, 2]}
    """
    if np.asarray(times).dtype.kind == "M":
        years = times.astype("datetime64[Y]").astype(int) + 1970
    elif len(times) and hasattr(times[0], "year"):
        years = np.array([time.year for time in times])
    else:
        return {}
    decades = years // 10 * 10
    named = {f"{decade}s": np.flatnonzero(decades == decade) for decade in np.unique(decades)}
    return {name: (ids, None) for name, ids in named.items()} if len(named) > 1 else {}


def band_groups(latitude: Sequence[float] | Array, columns: int) -> Groups:
    """The cells of the tropics (to 30 degrees), and of the north and south beyond."""
    rows = np.asarray(latitude, np.float64).reshape(-1, 1)
    found = {name: (rows >= low) & (rows < high) for name, (low, high) in _BANDS.items()}
    return {
        name: (None, np.broadcast_to(inside, (len(rows), columns)))
        for name, inside in found.items()
        if inside.any()
    }


def _ssim(truth: Array, value: Array) -> float:
    return scores.ssim(truth, value) if min(truth.shape[1:]) >= scores.WINDOW else math.nan
