"""Classification: exactly one of several classes a sample.

    outputs (B, K) --/ temperature--> --softmax--> probabilities --argmax--> label

The loss is the cross-entropy or the focal loss, optionally with smoothed labels and weights of
classes; the score is the accuracy.

References:
    Szegedy et al. (2016), "Rethinking the Inception Architecture", arXiv:1512.00567, section 7
    (label smoothing); Guo et al. (2017), arXiv:1706.04599, equation 9 (temperature).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError
from convarium.tasks import scores
from convarium.tasks.calibration import Calibration, softmax_temperature
from convarium.tasks.class_results import ClassEvaluation, ClassRecord
from convarium.tasks.class_scores import ClassScores
from convarium.tasks.focal import softmax_focal
from convarium.tasks.objective import Objective, batch_target, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch


class ClassMeter:
    """Gathers predictions: 36 bytes a sample, and up to 256 MiB of probabilities."""

    def __init__(self, task: Classification) -> None:
        self._task = task
        self._loss = 0.0
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._rows = scores.Kept()

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Take in outputs `(B, K)` of a batch with targets."""
        target = batch_target(batch)
        self._loss += self._task.loss(outputs, batch).item() * len(target)
        label = outputs.float().softmax(1).argmax(1)
        log_p = self._task.scaled(outputs).log_softmax(1)
        p = self._task.stated(outputs)
        columns = (
            batch.index,
            target,
            label,
            p.gather(1, label[:, None])[:, 0],
            -log_p.gather(1, target[:, None])[:, 0],
            p.square().sum(1),
            _ranks(outputs.float(), target),
        )
        self._parts.append(tuple(column.cpu().numpy() for column in columns))
        self._rows.add(p.cpu().numpy())

    def evaluation(self) -> ClassEvaluation:
        """The evaluation of all that was taken in.

        Raises:
            DataError: nothing was taken in.
        """
        if not self._parts:
            raise DataError("There is no sample to evaluate; give data with readable samples.")
        ids, targets, labels, confidences, surprises, squares, ranks = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        classes = self._task.classes
        k = len(classes)
        confusion = np.bincount(targets * k + labels, minlength=k * k).reshape(k, k)
        loss = self._loss / len(ids)
        rows = self._rows.all()
        stated = ClassScores(surprises, squares, ranks, rows, self._task.temperature)
        return ClassEvaluation(classes, confusion, loss, ids, targets, labels, confidences, stated)


@dataclass(frozen=True)
class Classification:
    """One of `classes` a sample.

    Args:
        classes: names, in the order of the outputs.
        temperature: what outputs are divided by before they are read as probabilities; it changes
            no label and no loss.

    >>> Classification(classes=("cat", "dog")).head_size
    2
    """

    classes: tuple[str, ...]
    temperature: float = 1.0
    name: ClassVar[str] = "classification"
    metric: ClassVar[str] = "acc"
    losses: ClassVar[tuple[str, ...]] = ("cross_entropy", "focal")
    has_classes: ClassVar[bool] = True

    @property
    def head_size(self) -> int:
        """One output a class."""
        return len(self.classes)

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean loss of outputs `(B, K)`, in float32; mixed samples have two targets.

        s l(y) + (1 - s) l(y'), which for the cross-entropy is that with the soft target s y +
        (1 - s) y' (arXiv:1710.09412, equation 1).
        """
        objective = objective or Objective()
        found = self._losses(outputs.float(), batch_target(batch), objective)
        if batch.mix is not None:
            partners = self._losses(outputs.float(), batch.mix.target, objective)
            found = partners.lerp(found, batch.mix.share)
        return weighted_mean(found, batch)

    def _losses(self, outputs: Tensor, target: Tensor, objective: Objective) -> Tensor:
        """The loss of each sample: (1 - e) w_y l_y + e / K sum_c w_c l_c with smoothing e."""
        from torch.nn import functional

        smoothing, weights = objective.label_smoothing, objective.class_weights
        weight = None if weights is None else outputs.new_tensor(weights)
        if objective.chosen(self.losses) == "focal":
            gamma = objective.focal_gamma
            return softmax_focal(
                outputs, target, gamma=gamma, label_smoothing=smoothing, weight=weight
            )
        return functional.cross_entropy(
            outputs, target, weight, label_smoothing=smoothing, reduction="none"
        )

    def score_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Number of right predictions."""
        return (outputs.argmax(1) == batch_target(batch)).sum()

    def scaled(self, outputs: Tensor) -> Tensor:
        """Outputs over the temperature, in float32."""
        outputs = outputs.float()
        return outputs if self.temperature == 1 else outputs / self.temperature

    def stated(self, outputs: Tensor) -> Tensor:
        """Probabilities, one a class, `(B, K)`."""
        return self.scaled(outputs).softmax(1)

    def merge(self, views: Sequence[Tensor]) -> Tensor:
        """Outputs whose probabilities are the means of those of several views of each sample.

        Probabilities are averaged, not outputs: the mean of probabilities is one, and a single
        view cannot rule a class out alone.

        Shape:
            views: `(B, K)` each. Returns: `(B, K)`.
        """
        import torch

        if len(views) == 1:
            return views[0]
        logs = torch.stack([self.scaled(view).log_softmax(1) for view in views])
        return (logs.logsumexp(0) - math.log(len(views))) * self.temperature

    def calibrate(self, outputs: Tensor, target: Tensor) -> Calibration:
        """The temperature that fits outputs `(N, K)` as they are to targets `(N,)`, and its effect.

        Raises:
            DataError: there is no sample.
        """
        if not len(target):
            raise DataError("A temperature cannot be fitted to no samples; give validation data.")
        temperature = softmax_temperature(outputs, target)
        label = outputs.float().softmax(1).argmax(1)
        right = (label == target).numpy()
        errors = []
        for task in (replace(self, temperature=1.0), replace(self, temperature=temperature)):
            confidence = task.stated(outputs).gather(1, label[:, None])[:, 0].numpy()
            errors.append(scores.calibration_error(scores.reliability(confidence, right)))
        return Calibration(temperature, errors[0], errors[1], len(target))

    def decode(self, outputs: Tensor, batch: Batch) -> Sequence[ClassRecord]:
        """The probabilities of outputs `(B, K)`, one record a sample."""
        labels = outputs.float().softmax(1).argmax(1)
        probabilities = self.stated(outputs)
        confidences = probabilities.gather(1, labels[:, None])[:, 0]
        targets = [None] * len(labels) if batch.target is None else batch.target.tolist()
        columns = (
            batch.index.tolist(),
            labels.tolist(),
            confidences.tolist(),
            probabilities.tolist(),
            targets,
        )
        return [
            ClassRecord(
                id=id,
                label=self.classes[label],
                confidence=confidence,
                probabilities=tuple(row),
                classes=self.classes,
                target=None if target is None else self.classes[target],
            )
            for id, label, confidence, row, target in zip(*columns, strict=True)
        ]

    def meter(self) -> ClassMeter:
        """A new, empty meter."""
        return ClassMeter(self)


def _ranks(outputs: Tensor, target: Tensor) -> Tensor:
    """How many classes come before the true one: larger outputs, and equal ones further left."""
    import torch

    own = outputs.gather(1, target[:, None])
    places = torch.arange(outputs.shape[1], device=outputs.device)
    tied_before = (outputs == own) & (places < target[:, None])
    return ((outputs > own) | tied_before).sum(1).to(torch.int32)
