"""Regression: one number or several a sample, in physical units.

    outputs (B, K) --* std + mean--> values

Networks give standardised values: mean and deviation of the training targets stand in the card.
The loss is computed there too (mean over the K outputs), so that outputs of different units count
alike; records, figures and targets are in physical units. The score is R2, the outputs' mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError, OptionError
from convarium.tasks.objective import Objective, batch_target, weighted_mean
from convarium.tasks.value_results import ValueEvaluation, ValueRecord

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch


class ValueMeter:
    """Gathers values: 8 bytes a sample, and 12 more for each output."""

    def __init__(self, task: Regression) -> None:
        self._task = task
        self._loss = 0.0
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Take in outputs `(B, K)` of a batch with targets."""
        target = batch_target(batch)
        self._loss += self._task.loss(outputs, batch).item() * len(target)
        columns = (batch.index, target.float(), self._task.stated(outputs))
        self._parts.append(tuple(column.cpu().numpy() for column in columns))

    def evaluation(self) -> ValueEvaluation:
        """The evaluation of all that was taken in.

        Raises:
            DataError: nothing was taken in.
        """
        if not self._parts:
            raise DataError("There is no sample to evaluate; give data with readable samples.")
        task = self._task
        ids, targets, values = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        return ValueEvaluation(
            names=task.names,
            units=task.units,
            spread=task.std,
            loss=self._loss / len(ids),
            ids=ids,
            targets=targets,
            values=values,
        )


@dataclass(frozen=True)
class Regression:
    """The numbers `names` of a sample.

    Args:
        names: of the outputs, in order.
        units: of the outputs; empty texts where there is none.
        mean: of each output over the training samples, in its unit.
        std: standard deviation, likewise; above 0.

    Raises:
        OptionError: not one unit, mean and deviation for each name, or a deviation that is not
            above 0.

    >>> Regression(names=("age",), units=("years",), mean=(40.0,), std=(20.0,)).head_size
    1
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    name: ClassVar[str] = "regression"
    metric: ClassVar[str] = "r2"
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae", "huber")
    has_classes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.units), len(self.mean), len(self.std)}
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if lengths != {max(1, len(self.names))} or not finite or min(self.std) <= 0:
            raise OptionError(
                f"names (={self.names}) need a unit, a finite mean (={self.mean}) and a deviation "
                f"(={self.std}) above 0 each."
            )

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Regression:
        """The task of a card's entries `classes` (the outputs' names) and `targets`.

        Raises:
            OptionError: they are missing or do not fit.
        """
        targets = card.get("targets", {})
        try:
            return cls(
                names=tuple(map(str, card["classes"])),
                units=tuple(map(str, targets["units"])),
                mean=tuple(map(float, targets["mean"])),
                std=tuple(map(float, targets["std"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError(
                f"The card's targets (={targets!r}) must have units, mean and std, one for each "
                "output; use a card that `train` wrote."
            ) from error

    @property
    def head_size(self) -> int:
        """One output a number."""
        return len(self.names)

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean loss of outputs `(B, K)` in standard deviations, in float32.

        Mixed samples have the target s y + (1 - s) y'.
        """
        from torch.nn import functional

        objective = objective or Objective()
        target = self._standardised(batch_target(batch))
        if batch.mix is not None:
            partner = self._standardised(batch.mix.target)
            target = partner.lerp(target, batch.mix.share[:, None])
        outputs, chosen = outputs.float(), objective.chosen(self.losses)
        if chosen == "huber":
            delta = objective.huber_delta
            found = functional.huber_loss(outputs, target, delta=delta, reduction="none")
        else:
            measure = functional.mse_loss if chosen == "mse" else functional.l1_loss
            found = measure(outputs, target, reduction="none")
        return weighted_mean(found.mean(1), batch)

    def score_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum over the samples of 1 - squared error in standard deviations, the outputs' mean.

        Its mean over the training samples is their R2, since mean and deviation are theirs.
        """
        error = outputs.float() - self._standardised(batch_target(batch))
        return (1 - error.square().mean(1)).sum()

    def stated(self, outputs: Tensor) -> Tensor:
        """Physical values of outputs `(B, K)`, rounded once to float32."""
        exact = outputs.double()
        return (exact * exact.new_tensor(self.std) + exact.new_tensor(self.mean)).float()

    def _standardised(self, target: Tensor) -> Tensor:
        """(target - mean) / std, rounded once."""
        exact = target.double()
        return ((exact - exact.new_tensor(self.mean)) / exact.new_tensor(self.std)).float()

    def merge(self, views: Sequence[Tensor]) -> Tensor:
        """The mean of the outputs of several views of each sample.

        Shape:
            views: `(B, K)` each. Returns: `(B, K)`.
        """
        import torch

        return views[0] if len(views) == 1 else torch.stack(list(views)).mean(0)

    def calibrate(self, outputs: Tensor, target: Tensor) -> None:
        """Nothing: there is no probability to make honest."""

    def decode(self, outputs: Tensor, batch: Batch) -> Sequence[ValueRecord]:
        """The values in physical units, one record a sample."""
        rows = self.stated(outputs).tolist()
        truths = [None] * len(rows) if batch.target is None else batch.target.tolist()
        return [
            ValueRecord(
                id=id,
                values=tuple(row),
                names=self.names,
                units=self.units,
                truth=None if truth is None else tuple(truth),
            )
            for id, row, truth in zip(batch.index.tolist(), rows, truths, strict=True)
        ]

    def meter(self) -> ValueMeter:
        """A new, empty meter."""
        return ValueMeter(self)
