"""Forecast: the next steps of one series or several, target by target, step by step.

    MASE = mean |v - y| / mean |y_t - y_{t - m}|, the second one over the training part

A MASE of 1 is what the value one season (m steps) before reaches in the training part, step by
step; it has no unit, so that series of different sizes can be compared.

References:
    Hyndman, Koehler (2006), "Another look at measures of forecast accuracy", International Journal
    of Forecasting 22, section 2.4 and equation 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from convarium.errors import OptionError
from convarium.tasks.regression import Regression, ValueMeter
from convarium.tasks.value_results import ValueEvaluation


@dataclass(frozen=True, kw_only=True)
class ForecastEvaluation(ValueEvaluation):
    """What forecasts are worth: of each target and step the figures of a number, and MASE.

    Args:
        scale: of each output, what its MASE is in units of.
    """

    scale: tuple[float, ...]

    @property
    def mase(self) -> tuple[float, ...]:
        """Of each output."""
        sizes = np.abs(self.residuals).mean(0) / np.asarray(self.scale)
        return tuple(sizes.tolist())

    def sentence(self) -> str:
        """MASE, the mean over the outputs, beside what a regression says."""
        return f"MASE {np.mean(self.mase):.3f}; {super().sentence()}"

    def summary(self) -> dict[str, Any]:
        """That of a regression, with MASE."""
        found = super().summary()
        for name, mase in zip(self.names, self.mase, strict=True):
            found["outputs"][name]["mase"] = mase
        return {**found, "mase": float(np.mean(self.mase))}


class ForecastMeter(ValueMeter):
    """Gathers forecasts."""

    def __init__(self, task: Forecast) -> None:
        super().__init__(task)
        self._scale = task.scale

    def evaluation(self) -> ForecastEvaluation:
        """The evaluation of all that was taken in.

        Raises:
            DataError: nothing was taken in.
        """
        found = super().evaluation()
        own = {each.name: getattr(found, each.name) for each in fields(found)}
        return ForecastEvaluation(**own, scale=self._scale)


@dataclass(frozen=True)
class Forecast(Regression):
    """The next steps `names` of a window.

    Args:
        scale: of each output, the mean absolute change over a season in the training part.

    Raises:
        OptionError: not one scale for each name, or one that is not above 0.

    >>> task = Forecast(("load+1",), ("MW",), (40.0,), (20.0,), scale=(3.0,))
    >>> task.name, task.head_size
    ('forecast', 1)
    """

    scale: tuple[float, ...] = ()
    name: ClassVar[str] = "forecast"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.scale) != len(self.names) or not min(self.scale) > 0:
            raise OptionError(f"scale (={self.scale}) must have a number above 0 for each output.")

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Forecast:
        """The task of a card's entries `classes`, `targets` and `forecast`.

        Raises:
            OptionError: they are missing or do not fit.
        """
        plain = Regression.from_card(card)
        try:
            scale = tuple(map(float, card["forecast"]["scale"]))
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError(
                "The card's forecast must have a scale for each output; use a card that `train` "
                "wrote."
            ) from error
        return cls(plain.names, plain.units, plain.mean, plain.std, scale)

    def meter(self) -> ForecastMeter:
        """A new, empty meter."""
        return ForecastMeter(self)
