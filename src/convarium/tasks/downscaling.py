"""Downscaling: fine fields of variables from coarse ones, in physical units.

    outputs (B, P T, H, W), targets (B, T, H, W), NaN where a cell is missing

P parts of T variables: a value, a mean and a spread, or quantiles. The loss is `field_loss`: the
squared error in the targets' deviations, or CRPS, by the areas of cells where these count. The
score is R2, the share of the variance over training times and cells that is explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from convarium.errors import DataError, OptionError
from convarium.tasks.downscaling_results import FieldEvaluation, middle_fields
from convarium.tasks.field_records import FieldRecord
from convarium.tasks.objective import Objective, batch_target
from convarium.tasks.regression import Regression

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch
    from convarium.tasks.field_losses import FieldLoss


class FieldMeter:
    """Gathers fields: all outputs and targets of what is evaluated, 4 bytes a number."""

    def __init__(self, task: Downscaling) -> None:
        self._task = task
        self._loss = 0.0
        self._found: list[tuple[Any, ...]] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Take in outputs `(B, P T, H, W)` of a batch with targets."""
        self._loss += self._task.loss(outputs, batch).item() * len(batch)
        scores = self._task.scores(outputs, batch)
        columns = (batch.index, scores, batch_target(batch).float(), outputs.float())
        self._found.append(tuple(column.cpu().numpy() for column in columns))

    def evaluation(self) -> FieldEvaluation:
        """The evaluation of all that was taken in.

        Raises:
            DataError: nothing was taken in.
        """
        if not self._found:
            raise DataError("There is no field to evaluate; give data with known cells.")
        ids, scores, truth, values = map(np.concatenate, zip(*self._found, strict=True))
        return FieldEvaluation(
            names=self._task.names,
            units=self._task.units,
            spread=self._task.std,
            parts=self._task.parts,
            loss=self._loss / len(ids),
            ids=ids,
            scores=scores,
            truth=truth,
            values=values,
        )


@dataclass(frozen=True)
class Downscaling(Regression):
    """The fine fields of the variables `names`; means and deviations are over times and cells.

    Args:
        parts: what a network gives of each, as `FieldToField.parts` has it.

    Raises:
        OptionError: not one unit, mean and deviation for each name, or a deviation that is not
            above 0.

    >>> Downscaling(("u",), ("m/s",), (0.0,), (5.0,), parts=("mean", "spread")).head_size
    2
    """

    parts: tuple[str, ...] = ("value",)
    name: ClassVar[str] = "downscale"
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae")

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Downscaling:
        """The task of a card's entries `classes` (the variables), `targets` and `parts`.

        Raises:
            OptionError: they are missing or do not fit.
        """
        plain = Regression.from_card(card)
        parts = card.get("parts")
        if not isinstance(parts, list) or not parts:
            raise OptionError(f"The card's parts (={parts!r}) must be a list; use one of `train`.")
        own = tuple(map(str, parts))
        return cls(plain.names, plain.units, plain.mean, plain.std, own)

    @property
    def head_size(self) -> int:
        """A field for each part of each variable."""
        return len(self.names) * len(self.parts)

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean loss over the known cells of a batch, in float32."""
        from convarium.tasks.field_losses import apart_from_coarse, loss_of_parts

        chosen = "mse" if objective is None else objective.chosen(self.losses)
        target, outputs = batch_target(batch).float(), outputs.float()
        weights, std = batch.named.get("weights"), target.new_tensor(self.std)
        kind = cast("FieldLoss", chosen)
        loss = loss_of_parts(self.parts, outputs, target, std, weights=weights, kind=kind)
        if objective is None or not objective.soft_constraint:
            return loss
        y, x = self.middle(outputs), batch.inputs[0]
        return loss + objective.soft_constraint * apart_from_coarse(y, x, std, weights, batch.mask)

    def score_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum of the `scores`."""
        return self.scores(outputs, batch).sum()

    def scores(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Of each time 1 - squared error in the training part's deviations, `(B,)`."""
        import torch

        target = batch_target(batch).float()
        std = target.new_tensor(self.std).view(1, -1, 1, 1)
        known, weights = ~torch.isnan(target), batch.named.get("weights")
        counted = known.to(target.dtype) if weights is None else known * weights
        error = torch.where(known, (self.middle(outputs).float() - target) / std, 0.0)
        each = (error.square() * counted).sum((1, 2, 3)) / counted.sum((1, 2, 3)).clamp(min=1e-12)
        return 1 - each

    def middle(self, outputs: Tensor) -> Tensor:
        """Of outputs the fields themselves: values, means or medians, `(B, T, H, W)`."""
        return outputs[:, middle_fields(self.parts, len(self.names))]

    def stated(self, outputs: Tensor) -> Tensor:
        """The outputs in float32: they are in physical units."""
        return outputs.float()

    def decode(  # type: ignore[override]
        self, outputs: Tensor, batch: Batch
    ) -> Sequence[FieldRecord]:
        """The mean, the least and the largest value of each field, one record a time."""
        fields = self.middle(outputs).float().flatten(2)
        rows = zip(fields.mean(2), fields.amin(2), fields.amax(2), strict=True)
        return [
            FieldRecord(id, self.names, self.units, *(tuple(each.tolist()) for each in row))
            for id, row in zip(batch.index.tolist(), rows, strict=True)
        ]

    def meter(self) -> FieldMeter:  # type: ignore[override]
        """A new, empty meter."""
        return FieldMeter(self)
