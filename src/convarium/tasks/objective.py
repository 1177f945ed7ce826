"""What training minimises: the loss by name, and what is put on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Batch


@dataclass(frozen=True)
class Objective:
    """The loss of a training run.

    Args:
        label_smoothing: share of the target that is spread evenly over the classes.
    """

    label_smoothing: float = 0.0


def weighted_mean(losses: Tensor, batch: Batch) -> Tensor:
    """The mean over the batch of w_i l_i, with the samples' weights w_i; None means one.

    The sum is divided by the number of samples, not by that of the weights, so that the mean over
    a large batch is the mean of the means over its equal parts.

    Shape:
        losses: `(B,)`. Returns: a tensor without axes.
    """
    return (losses if batch.weight is None else losses * batch.weight).mean()
