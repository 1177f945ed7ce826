"""Simple forecasts beside a network's, on the same windows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from convarium.data import Part
from convarium.data.series.naive import naive_forecasts, season_in
from convarium.tasks import Evaluation, ForecastEvaluation


@dataclass(frozen=True)
class NaiveForecast:
    """What a simple rule reaches.

    Args:
        name: of the rule.
        n: windows.
        season: steps that the seasonal rule goes back; 1 where there is no season.
        mae: mean absolute error of each output, in its unit.
        rmse: root of the mean squared error, likewise.
        mase: the mean over the outputs of their mean absolute scaled errors.
        network: that of the network.
    """

    name: str
    n: int
    season: int
    mae: tuple[float, ...]
    rmse: tuple[float, ...]
    mase: float
    network: float

    def sentence(self) -> str:
        """Its MASE, and the network's share of it."""
        back = f" ({self.season} steps back)" if self.name != "naive" else ""
        gain = 1 - self.network / self.mase if self.mase else 0.0
        words = f"{gain:.0%} smaller" if gain >= 0 else f"{-gain:.0%} larger"
        return f"{self.name}{back}: MASE {self.mase:.3f}; the network's error is {words}"

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def forecast_baselines(
    part: Part, evaluation: Evaluation, training: Part
) -> tuple[NaiveForecast, ...]:
    """The naive and the seasonal naive forecast of the windows of an evaluation.

    Args:
        part: that was evaluated.
        evaluation: of the network.
        training: the part that the rules take seasons and means from.
    """
    if not isinstance(evaluation, ForecastEvaluation):
        return ()
    season = season_in(training)
    found = []
    for name, values in naive_forecasts(part.dataset, evaluation.ids, training).items():
        errors = values - evaluation.targets
        mae = np.abs(errors).mean(0)
        found.append(
            NaiveForecast(
                name=name,
                n=evaluation.n,
                season=season,
                mae=tuple(mae.tolist()),
                rmse=tuple(np.sqrt((errors**2).mean(0)).tolist()),
                mase=float((mae / np.asarray(evaluation.scale)).mean()),
                network=float(np.mean(evaluation.mase)),
            )
        )
    return tuple(found)
