"""Several labels a sample, none and all of them included.

    outputs (B, K) --/ temperature--> --sigmoid--> probabilities --threshold--> labels

The loss is the binary cross-entropy or the focal loss, its mean over the labels; the score is the
mean of the samples' F1, 2 |truth and decided| / (|truth| + |decided|), 1 where both are empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError, OptionError
from convarium.tasks import scores
from convarium.tasks.calibration import Calibration, sigmoid_temperature
from convarium.tasks.focal import sigmoid_focal
from convarium.tasks.label_results import LabelEvaluation, LabelRecord
from convarium.tasks.objective import Objective, batch_target, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch


class LabelMeter:
    """Gathers decisions: two bytes a sample and label, and up to 256 MiB of probabilities."""

    def __init__(self, task: Multilabel) -> None:
        self._task = task
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._rows = scores.Kept()

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Take in outputs `(B, K)` of a batch with targets."""
        target = batch_target(batch)
        losses = self._task.losses_of(outputs, target, Objective()).mean(1)
        decided = self._task.decided(outputs)
        columns = (batch.index, losses, target > 0.5, decided)
        self._parts.append(tuple(column.cpu().numpy() for column in columns))
        self._rows.add(self._task.stated(outputs).cpu().numpy())

    def evaluation(self) -> LabelEvaluation:
        """The evaluation of all that was taken in.

        Raises:
            DataError: nothing was taken in.
        """
        if not self._parts:
            raise DataError("There is no sample to evaluate; give data with readable samples.")
        ids, losses, targets, decided = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        task = self._task
        return LabelEvaluation(
            classes=task.classes,
            threshold=task.threshold,
            temperature=task.temperature,
            ids=ids,
            losses=losses,
            targets=targets,
            decided=decided,
            rows_kept=self._rows.all(),
        )


@dataclass(frozen=True)
class Multilabel:
    """Any number of `classes` a sample.

    Args:
        classes: names of the labels, in the order of the outputs.
        threshold: a label is given from this probability on, in ]0, 1[.
        temperature: what outputs are divided by before they are read as probabilities; decisions
            are made as without it, so that it changes none.

    Raises:
        OptionError: a threshold outside its range.

    >>> Multilabel(classes=("sky", "sea")).head_size
    2
    """

    classes: tuple[str, ...]
    threshold: float = 0.5
    temperature: float = 1.0
    name: ClassVar[str] = "multilabel"
    metric: ClassVar[str] = "f1"
    losses: ClassVar[tuple[str, ...]] = ("bce", "focal")
    has_classes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise OptionError(f"threshold (={self.threshold!r}) must lie between 0 and 1.")

    @property
    def head_size(self) -> int:
        """One output a label."""
        return len(self.classes)

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean loss of outputs `(B, K)`, in float32; of mixed samples s l(y) + (1 - s) l(y')."""
        objective = objective or Objective()
        found = self.losses_of(outputs, batch_target(batch), objective).mean(1)
        if batch.mix is not None:
            partners = self.losses_of(outputs, batch.mix.target, objective).mean(1)
            found = partners.lerp(found, batch.mix.share)
        return weighted_mean(found, batch)

    def losses_of(self, outputs: Tensor, target: Tensor, objective: Objective) -> Tensor:
        """The loss of each label of each sample, times the label's weight.

        `pos_weight` goes with the label as it is told, not as it is smoothed: else a no that is
        smoothed would weigh as a yes, and of a rare label everyone had best be told.

        Shape:
            outputs, target: `(B, K)`. Returns: float32 `(B, K)`.
        """
        from torch.nn import functional

        outputs, target = outputs.float(), target.float()
        weight = outputs.new_tensor(objective.class_weights or [1.0])
        if objective.pos_weight is not None:
            weight = weight * (1 + (outputs.new_tensor(objective.pos_weight) - 1) * target)
        if objective.label_smoothing:
            target = target.lerp(target.new_tensor(0.5), objective.label_smoothing)
        if objective.chosen(self.losses) == "focal":
            found = sigmoid_focal(outputs, target, gamma=objective.focal_gamma)
        else:
            found = functional.binary_cross_entropy_with_logits(outputs, target, reduction="none")
        return found * weight

    def score_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum of the samples' F1."""
        truth, decided = batch_target(batch) > 0.5, self.decided(outputs)
        both = (truth & decided).sum(1)
        either = truth.sum(1) + decided.sum(1)
        return (2 * both / either.clamp_min(1)).masked_fill(either == 0, 1.0).sum()

    def decided(self, outputs: Tensor) -> Tensor:
        """Which labels are given, bool `(B, K)`."""
        return outputs.float() >= math.log(self.threshold / (1 - self.threshold))

    def stated(self, outputs: Tensor) -> Tensor:
        """Probabilities, one a label, `(B, K)`; they do not sum to 1."""
        outputs = outputs.float()
        return (outputs if self.temperature == 1 else outputs / self.temperature).sigmoid()

    def merge(self, views: Sequence[Tensor]) -> Tensor:
        """Outputs whose probabilities are the means of those of several views of each sample.

        Shape:
            views: `(B, K)` each. Returns: `(B, K)`.
        """
        import torch
        from torch.nn.functional import logsigmoid

        if len(views) == 1:
            return views[0]
        scaled = torch.stack([view.float() for view in views]) / self.temperature
        # log(p / (1 - p)) of the mean p; both sums are over as many views.
        merged = logsigmoid(scaled).logsumexp(0) - logsigmoid(-scaled).logsumexp(0)
        return merged * self.temperature

    def calibrate(self, outputs: Tensor, target: Tensor) -> Calibration:
        """The temperature that fits outputs `(N, K)` as they are to targets, and its effect.

        The expected calibration error is that of all labels of all samples together.

        Raises:
            DataError: there is no sample.
        """
        if not len(target):
            raise DataError("A temperature cannot be fitted to no samples; give validation data.")
        temperature = sigmoid_temperature(outputs, target)
        truth = (target > 0.5).numpy()
        errors = []
        for task in (replace(self, temperature=1.0), replace(self, temperature=temperature)):
            bins = scores.reliability(task.stated(outputs).numpy(), truth)
            errors.append(scores.calibration_error(bins))
        return Calibration(temperature, errors[0], errors[1], len(target))

    def decode(self, outputs: Tensor, batch: Batch) -> Sequence[LabelRecord]:
        """The probabilities and the labels given, one record a sample."""
        decided, rows = self.decided(outputs).tolist(), self.stated(outputs).tolist()
        truths = [None] * len(rows) if batch.target is None else (batch.target > 0.5).tolist()
        columns = (batch.index.tolist(), decided, rows, truths)
        return [
            LabelRecord(
                id=id,
                labels=self._named(given),
                probabilities=tuple(row),
                classes=self.classes,
                truth=None if truth is None else self._named(truth),
            )
            for id, given, row, truth in zip(*columns, strict=True)
        ]

    def _named(self, given: Sequence[bool]) -> tuple[str, ...]:
        return tuple(name for name, yes in zip(self.classes, given, strict=True) if yes)

    def meter(self) -> LabelMeter:
        """A new, empty meter."""
        return LabelMeter(self)
