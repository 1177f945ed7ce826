"""What a regression says of samples, and what it is worth: records, rows, evaluations.

The figures of each output, over N samples with truth y and value v:

    MAE = mean |v - y|    RMSE = sqrt(mean (v - y)^2)    R2 = 1 - sum (v - y)^2 / sum (y - mean y)^2
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.intervals import Interval, bootstrap

_RESAMPLES = 400


@dataclass(frozen=True)
class ValueRecord:
    """The numbers for one sample.

    Args:
        id: the sample's number in its data set.
        values: one an output, in its unit.
        names, units: of the outputs.
        truth: the true values, where they are known.
    """

    id: int
    values: tuple[float, ...]
    names: tuple[str, ...] = field(repr=False)
    units: tuple[str, ...] = field(repr=False)
    truth: tuple[float, ...] | None = None

    @property
    def target(self) -> str | None:
        """The true values in words, or None where they are not known."""
        return None if self.truth is None else _in_words(self.truth, self.names, self.units)

    def columns(self) -> Mapping[str, Any]:
        """`predicted_<name>` for each output."""
        return dict(zip((f"predicted_{name}" for name in self.names), self.values, strict=True))

    def sentence(self) -> str:
        """The values with their units."""
        return _in_words(self.values, self.names, self.units)


@dataclass(frozen=True)
class ValueRow:
    """How one output fares, with 95 % intervals by bootstrap over the samples.

    Args:
        name: of the output.
        unit: of it, of `mae` and of `rmse`; empty where there is none.
        mae: mean absolute error.
        rmse: root of the mean squared error.
        r2: share of the variance that is explained; 0 is what the mean of the truth reaches.
        mae_interval, rmse_interval, r2_interval: of them.
    """

    name: str
    unit: str
    mae: float
    mae_interval: Interval
    rmse: float
    rmse_interval: Interval
    r2: float
    r2_interval: Interval


@dataclass(frozen=True, kw_only=True)
class ValueEvaluation:
    """What the numbers of a regression are worth.

    Args:
        names, units: of the K outputs.
        spread: standard deviation of each output over the training samples, in its unit.
        loss: mean squared error in these deviations.
        ids: of the samples, `(N,)`.
        targets, values: truth and prediction in their units, float32 `(N, K)`.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    spread: tuple[float, ...]
    loss: float
    ids: NDArray[np.int64]
    targets: NDArray[np.float32]
    values: NDArray[np.float32]
    shown_as: ClassVar[str] = "values"

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @cached_property
    def residuals(self) -> NDArray[np.float64]:
        """Prediction minus truth, `(N, K)`."""
        return self.values.astype(np.float64) - self.targets

    @property
    def score(self) -> float:
        """R2, the mean over the outputs."""
        return self._score(np.arange(self.n))

    def _score(self, chosen: NDArray[np.int64]) -> float:
        columns = range(len(self.names))
        return float(
            np.mean([_r2(self.residuals[chosen, k], self._truth(k)[chosen]) for k in columns])
        )

    @cached_property
    def interval(self) -> Interval:
        """95 % interval of `score`, by bootstrap over the samples."""
        return bootstrap(self._score, self.n, resamples=_RESAMPLES)

    @cached_property
    def rows(self) -> tuple[ValueRow, ...]:
        """One row an output."""
        return tuple(self._row(k) for k in range(len(self.names)))

    def _row(self, k: int) -> ValueRow:
        residuals, truth = self.residuals[:, k], self._truth(k)

        def interval(statistic: Callable[[NDArray[np.int64]], float]) -> Interval:
            return bootstrap(statistic, self.n, resamples=_RESAMPLES)

        return ValueRow(
            name=self.names[k],
            unit=self.units[k],
            mae=_mae(residuals),
            mae_interval=interval(lambda chosen: _mae(residuals[chosen])),
            rmse=_rmse(residuals),
            rmse_interval=interval(lambda chosen: _rmse(residuals[chosen])),
            r2=_r2(residuals, truth),
            r2_interval=interval(lambda chosen: _r2(residuals[chosen], truth[chosen])),
        )

    def _truth(self, k: int) -> NDArray[np.float64]:
        return self.targets[:, k].astype(np.float64)

    def worst(self, most: int) -> NDArray[np.int64]:
        """Ids of the samples with the largest errors in standard deviations, the largest first."""
        size = ((self.residuals / np.asarray(self.spread)) ** 2).sum(1)
        return self.ids[np.argsort(-size, kind="stable")[:most]]

    def examples(self, most: int) -> NDArray[np.int64]:
        """Ids of samples spread evenly from the smallest to the largest first truth."""
        order = np.argsort(self.targets[:, 0], kind="stable")
        places = np.linspace(0, self.n - 1, min(most, self.n)).round().astype(np.int64)
        return self.ids[order[places]]

    def sentence(self) -> str:
        """R2 with its interval and n; of a single output also the typical error."""
        low, high = self.interval
        said = f"R2 {self.score:.4f} (n {self.n}), 95 % interval {low:.4f} to {high:.4f}"
        if len(self.names) > 1:
            return f"{said}, mean of {len(self.names)} outputs"
        return f"{said}; {_figures(self.rows[0])}"

    def lines(self) -> Sequence[str]:
        """One line an output: MAE, RMSE and R2 with their intervals."""
        width = max(len(name) for name in self.names)
        return [
            f"  {row.name:<{width}}  {_figures(row)}  R2 {row.r2:.4f} "
            f"({row.r2_interval.low:.4f} to {row.r2_interval.high:.4f})"
            for row in self.rows
        ]

    def summary(self) -> dict[str, Any]:
        """n, R2 with its interval, the loss, and MAE and RMSE by output."""
        main = {"n": self.n, "r2": self.score, "interval": list(self.interval), "loss": self.loss}
        outputs = {
            row.name: {"unit": row.unit, "mae": row.mae, "rmse": row.rmse, "r2": row.r2}
            for row in self.rows
        }
        return {**main, "outputs": outputs}

    def to_json(self) -> dict[str, Any]:
        """The summary, with all intervals."""
        rows = {
            row.name: {k: list(v) if isinstance(v, Interval) else v for k, v in vars(row).items()}
            for row in self.rows
        }
        return {**self.summary(), "outputs": rows}

    def predictions(self) -> Iterator[Mapping[str, Any]]:
        """One mapping a sample: id, then `target_<name>` and `predicted_<name>` of each output."""
        for i in range(self.n):
            row: dict[str, Any] = {"id": int(self.ids[i])}
            for k, name in enumerate(self.names):
                row[f"target_{name}"] = float(self.targets[i, k])
                row[f"predicted_{name}"] = float(self.values[i, k])
            yield row


def _mae(residuals: NDArray[np.float64]) -> float:
    return float(np.abs(residuals).mean())


def _rmse(residuals: NDArray[np.float64]) -> float:
    return float(np.sqrt((residuals**2).mean()))


def _r2(residuals: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """R2; where the truth never changes, 1 without any error and else 0, so that it is finite."""
    error, spread = (residuals**2).sum(), ((truth - truth.mean()) ** 2).sum()
    if spread == 0:
        return 1.0 if error == 0 else 0.0
    return float(1 - error / spread)


def _figures(row: ValueRow) -> str:
    unit = f" {row.unit}" if row.unit else ""
    (low, high), (least, most) = row.mae_interval, row.rmse_interval
    return (
        f"MAE {row.mae:.4g}{unit} ({low:.4g} to {high:.4g})  RMSE {row.rmse:.4g}{unit} "
        f"({least:.4g} to {most:.4g})"
    )


def _in_words(values: Sequence[float], names: Sequence[str], units: Sequence[str]) -> str:
    """`width 3.2 mm, height 1 mm`; the name is left out of a single value."""
    said = [f"{v:.4g}{' ' if unit else ''}{unit}" for v, unit in zip(values, units, strict=True)]
    if len(said) == 1:
        return said[0]
    return ", ".join(f"{name} {text}" for name, text in zip(names, said, strict=True))
