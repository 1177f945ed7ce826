"""Downscaling: fine fields of variables from coarse ones, in physical units.

    outputs (B, P T, H, W), targets (B, T, H, W), NaN where a cell is missing

P parts of T variables: a value, a mean and a spread, or quantiles. The loss is `field_loss`: the
squared error in the targets' deviations, or CRPS, by the areas of cells where these count. The
score is R2, the share of the variance over training times and cells that is explained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from convarium.errors import DataError, OptionError
from convarium.tasks.downscaling_results import FieldEvaluation, FieldRecord
from convarium.tasks.objective import Objective, batch_target

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
class Downscaling:
    """The fine fields of the variables `names`.

    Args:
        names: of the variables, in order.
        units: of each; empty texts where there is none.
        mean: of each over the training times and cells.
        std: its deviation, likewise; above 0.
        parts: what a network gives of each, as `FieldToField.parts` has it.

    Raises:
        OptionError: not one unit, mean and deviation for each name, or a deviation that is not
            above 0.

    >>> Downscaling(("u",), ("m/s",), (0.0,), (5.0,), parts=("mean", "spread")).head_size
    2
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parts: tuple[str, ...] = ("value",)
    name: ClassVar[str] = "downscale"
    metric: ClassVar[str] = "r2"
    losses: ClassVar[tuple[str, ...]] = ("mse", "mae")
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
    def from_card(cls, card: Mapping[str, Any]) -> Downscaling:
        """The task of a card's entries `classes` (the variables), `targets` and `parts`.

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
                parts=tuple(map(str, card["parts"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError(
                f"The card's targets (={targets!r}) must have units, mean and std, one for each "
                "variable, beside the parts; use a card that `train` wrote."
            ) from error

    @property
    def head_size(self) -> int:
        """A field for each part of each variable."""
        return len(self.names) * len(self.parts)

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean loss over the known cells of a batch, in float32."""
        from convarium.tasks.field_losses import loss_of_parts

        chosen = "mse" if objective is None else objective.chosen(self.losses)
        target, outputs = batch_target(batch).float(), outputs.float()
        weights, std = batch.named.get("weights"), target.new_tensor(self.std)
        kind = cast("FieldLoss", chosen)
        loss = loss_of_parts(self.parts, outputs, target, std, weights=weights, kind=kind)
        if objective is None or not objective.soft_constraint:
            return loss
        return loss + objective.soft_constraint * self._apart(outputs, batch, std)

    def _apart(self, outputs: Tensor, batch: Batch, std: Tensor) -> Tensor:
        """How far block means are from the coarse fields that were read."""
        from convarium.layers import conservation_penalty

        size = std.view(1, -1, 1, 1)
        y, x = self.middle(outputs) / size, batch.inputs[0][:, : len(self.names)] / size
        factor = [fine // coarse for fine, coarse in zip(y.shape[2:], x.shape[2:], strict=True)]
        weights = batch.named.get("weights")
        return conservation_penalty(y, x, factor, weights, batch.mask)

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
        first = self.parts.index("q0.5") if "q0.5" in self.parts else 0
        return outputs[:, first * len(self.names) : (first + 1) * len(self.names)]

    def stated(self, outputs: Tensor) -> Tensor:
        """The outputs in float32: they are in physical units."""
        return outputs.float()

    def merge(self, views: Sequence[Tensor]) -> Tensor:
        """The mean of the outputs of several views of each time."""
        import torch

        return views[0] if len(views) == 1 else torch.stack(list(views)).mean(0)

    def calibrate(self, outputs: Tensor, target: Tensor) -> None:
        """Nothing: there is no probability to make honest."""

    def decode(self, outputs: Tensor, batch: Batch) -> Sequence[FieldRecord]:
        """The mean, the least and the largest value of each field, one record a time."""
        fields = self.middle(outputs).float().flatten(2)
        rows = zip(fields.mean(2), fields.amin(2), fields.amax(2), strict=True)
        return [
            FieldRecord(id, self.names, self.units, *(tuple(each.tolist()) for each in row))
            for id, row in zip(batch.index.tolist(), rows, strict=True)
        ]

    def meter(self) -> FieldMeter:
        """A new, empty meter."""
        return FieldMeter(self)
