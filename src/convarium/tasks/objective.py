"""What training minimises: the loss by name, and what is put on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convarium.errors import DataError, OptionError, did_you_mean
from convarium.options import check_options, option

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch
    from convarium.tasks.contract import Task


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The loss of a training run: the mean over samples of w_i l_i.

    Args:
        loss: its name, one of the task's `losses`; "auto" is the first of them.
        label_smoothing: share of the target that is spread evenly over the classes (of a label
            that may be there or not: over yes and no), in [0, 1).
        class_weights: one weight a class, that multiplies its part in the loss: what a sample of
            the class loses, and what label smoothing spreads over it (of several labels a sample:
            the loss of that label); None means one. See `balanced_weights`.
        pos_weight: of several labels a sample, one factor a label on the loss of samples that have
            it, as torch's BCEWithLogitsLoss has it for labels that are not smoothed; None means
            one. See `balanced_labels`.
        focal_gamma: how little easy samples count in the focal loss; 0 is the cross-entropy.
        soft_constraint: weight of the mean square by which block means of fine fields differ from
            the coarse ones, in the targets' deviations; of downscaling alone.
        huber_delta: where the Huber loss turns from squares to straight lines, in standard
            deviations of the target.

    Raises:
        OptionError: a value of the wrong type or outside its range.

    >>> Objective(loss="focal", focal_gamma=1.5).focal_gamma
    1.5
    """

    loss: str = "auto"
    label_smoothing: float = option(0.0, low=0, below=1)
    class_weights: tuple[float, ...] | None = option(None, low=0)
    pos_weight: tuple[float, ...] | None = option(None, low=0)
    focal_gamma: float = option(2.0, low=0)
    huber_delta: float = option(1.0, above=0)
    soft_constraint: float = option(0.0, low=0)

    def __post_init__(self) -> None:
        check_options(self)

    def check(self, task: Task) -> None:
        """Refuse what does not belong to the task, before anything is computed.

        Raises:
            OptionError: a loss that the task does not have, label smoothing or class weights for a
                task without classes, `pos_weight` for one without several labels a sample, or
                another number of weights than classes.
        """
        if self.loss not in ("auto", *task.losses):
            raise OptionError(
                f"loss (={self.loss!r}) does not belong to {task.name}; allowed are auto, "
                f"{', '.join(task.losses)}.{did_you_mean(self.loss, task.losses)}"
            )
        if not task.has_classes:
            for name, value in (
                ("label_smoothing", self.label_smoothing),
                ("class_weights", self.class_weights),
            ):
                if value:
                    raise OptionError(
                        f"{name} (={value}) does not belong to {task.name}, which has no classes; "
                        "leave it out."
                    )
        if self.soft_constraint and task.name != "downscale":
            raise OptionError(
                f"soft_constraint (={self.soft_constraint}) belongs to fine fields, and the task "
                f"is {task.name}; leave it out."
            )
        if self.pos_weight is not None and task.name != "multilabel":
            raise OptionError(
                f"pos_weight (={self.pos_weight}) belongs to several labels a sample, and the task "
                f"is {task.name}; leave it out."
            )
        for name, weights in (
            ("class_weights", self.class_weights),
            ("pos_weight", self.pos_weight),
        ):
            if weights is not None and len(weights) != task.head_size:
                raise OptionError(
                    f"{name} (={len(weights)} numbers) must have one for each of the "
                    f"{task.head_size} classes."
                )

    def chosen(self, losses: Sequence[str]) -> str:
        """The loss by name: the task's first for "auto"."""
        return losses[0] if self.loss == "auto" else self.loss


def balanced_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights against the imbalance of classes: w_c = n / (K n_c).

    Each class has the same part in the loss, and the mean of the weights over the n samples is 1,
    so that the learning rate keeps its meaning.

    Args:
        counts: training samples of each of the K classes.

    Raises:
        OptionError: a class has no sample, or there is none.

    >>> balanced_weights([30, 10])
    (0.6666666666666666, 2.0)
    """
    if not counts or min(counts) < 1:
        raise OptionError(f"counts (={list(counts)}) must be 1 or more for each class.")
    n = sum(counts)
    return tuple(n / (len(counts) * count) for count in counts)


def balanced_labels(
    counts: Sequence[int], samples: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Class weights and `pos_weight` with which each label's yes and no have the same part.

    A label that n_c of n samples have takes n / (2 n_c) where it is there and n / (2 (n - n_c))
    where it is not: `balanced_weights` of its two answers, whose mean over the samples is 1.

    Args:
        counts: training samples that have each label.
        samples: all training samples, n.

    Raises:
        OptionError: a label that no sample has, or all have.

    >>> balanced_labels([1, 2], samples=4)
    ((0.6666666666666666, 1.0), (3.0, 1.0))
    """
    if any(not 0 < count < samples for count in counts):
        raise OptionError(f"counts (={list(counts)}) must lie between 0 and the {samples} samples.")
    pairs = [balanced_weights((samples - count, count)) for count in counts]
    return tuple(no for no, _ in pairs), tuple(yes / no for no, yes in pairs)


def batch_target(batch: Batch) -> Tensor:
    """The batch's targets.

    Raises:
        DataError: it has none.
    """
    if batch.target is None:
        raise DataError("These samples have no labels; give labelled data.")
    return batch.target


def weighted_mean(losses: Tensor, batch: Batch) -> Tensor:
    """The mean over the batch of w_i l_i, with the samples' weights w_i; None means one.

    The sum is divided by the number of samples, not by that of the weights, so that the mean over
    a large batch is the mean of the means over its equal parts.

    Shape:
        losses: `(B,)`. Returns: a tensor without axes.
    """
    return (losses if batch.weight is None else losses * batch.weight).mean()
