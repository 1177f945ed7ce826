"""Classification: exactly one of several classes a sample.

    outputs (B, K) --softmax--> probabilities --argmax--> label

The loss is the cross-entropy, optionally with smoothed labels; the score is the accuracy.

References:
    Szegedy et al. (2016), "Rethinking the Inception Architecture", arXiv:1512.00567, section 7
    (label smoothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError
from convarium.tasks.class_results import ClassEvaluation, ClassRecord
from convarium.tasks.objective import Objective, weighted_mean

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch


class ClassMeter:
    """Gathers predictions; keeps twenty-odd bytes a sample."""

    def __init__(self, task: Classification) -> None:
        self._task = task
        self._loss = 0.0
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Take in outputs `(B, K)` of a batch with targets."""
        target = _target(batch)
        self._loss += self._task.loss(outputs, batch).item() * len(target)
        confidence, label = outputs.float().softmax(1).max(1)
        columns = (batch.index, target, label, confidence)
        self._parts.append(tuple(column.cpu().numpy() for column in columns))

    def evaluation(self) -> ClassEvaluation:
        """The evaluation of all that was taken in.

        Raises:
            DataError: nothing was taken in.
        """
        if not self._parts:
            raise DataError("There is no sample to evaluate; give data with readable samples.")
        ids, targets, labels, confidences = (
            np.concatenate(column) for column in zip(*self._parts, strict=True)
        )
        classes = self._task.classes
        k = len(classes)
        confusion = np.bincount(targets * k + labels, minlength=k * k).reshape(k, k)
        return ClassEvaluation(
            classes, confusion, self._loss / len(ids), ids, targets, labels, confidences
        )


@dataclass(frozen=True)
class Classification:
    """One of `classes` a sample.

    >>> Classification(classes=("cat", "dog")).head_size
    2
    """

    classes: tuple[str, ...]
    name: ClassVar[str] = "classification"
    metric: ClassVar[str] = "acc"

    @property
    def head_size(self) -> int:
        """One output a class."""
        return len(self.classes)

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean cross-entropy of outputs `(B, K)`, in float32; mixed samples have two targets.

        s CE(z, y) + (1 - s) CE(z, y'), which is the cross-entropy with the soft target s y +
        (1 - s) y' (arXiv:1710.09412, equation 1).
        """
        from torch.nn import functional

        smoothing = (objective or Objective()).label_smoothing

        def losses(target: Tensor) -> Tensor:
            return functional.cross_entropy(
                outputs.float(), target, label_smoothing=smoothing, reduction="none"
            )

        found = losses(_target(batch))
        if batch.mix is not None:
            found = losses(batch.mix.target).lerp(found, batch.mix.share)
        return weighted_mean(found, batch)

    def score_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Number of right predictions."""
        return (outputs.argmax(1) == _target(batch)).sum()

    def decode(self, outputs: Tensor, batch: Batch) -> Sequence[ClassRecord]:
        """The probabilities of outputs `(B, K)`, one record a sample."""
        probabilities = outputs.float().softmax(1)
        confidences, labels = probabilities.max(1)
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


def _target(batch: Batch) -> Tensor:
    if batch.target is None:
        raise DataError("These samples have no labels; give labelled data.")
    return batch.target
