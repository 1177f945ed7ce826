"""What one method reaches in one group of times and cells: a row of a comparison of fine fields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from convarium.intervals import Interval

WHOLE = "all"


@dataclass(frozen=True)
class FieldRow:
    """What one method reaches in one group of times and cells, in the unit of the field.

    Args:
        method: its name.
        group: "all", a season or a region.
        n: number of times.
        rmse: root of the mean squared error, by area; NaN of draws of each cell alone, as are all
            figures of them but CRPS and extremes.
        rmse_interval: of it.
        mae: mean absolute error.
        bias: mean error.
        anomaly_correlation: over the cells, the mean over times; NaN without a climatology.
        quantile_error: mean size of the error of each cell's 99th percentile over the times; of
            draws it is the mean of theirs, NaN of a group of times or cells.
        ssim: structural similarity; NaN of a group of cells.
        high_waves: power of waves too short for the coarse field, as a share of the truth's; NaN of
            a group of cells.
        conservation_error: largest difference of a block mean, in the coarse field's deviations;
            NaN of a group of cells, and without a coarse field.
        crps: of a distribution; the mean absolute error of a value.
        crps_interval: of it.
        return_error: mean size of the error of what each cell reaches once in ten years, by the
            largest values of the years; NaN of fewer than ten years, or where there are no dates;
            of draws as that of the 99th percentile.
        intervals: of the figures that are means over times, by name, where the group is "all".
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
    crps: float
    crps_interval: Interval
    return_error: float
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Values for JSON; what is not known is None."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        } | {
            "rmse_interval": self.rmse_interval.or_none(),
            "crps_interval": self.crps_interval.or_none(),
            "intervals": {name: each.or_none() for name, each in self.intervals.items()},
        }


def of_cells(found: FieldRow) -> FieldRow:
    """A row of draws of each cell alone: NaN where fields as a whole count, or one draw would."""
    nothing, interval = math.nan, Interval(math.nan, math.nan)
    return replace(
        found,
        rmse=nothing,
        rmse_interval=interval,
        mae=nothing,
        bias=nothing,
        anomaly_correlation=nothing,
        ssim=nothing,
        high_waves=nothing,
        conservation_error=nothing,
        intervals={},
    )
