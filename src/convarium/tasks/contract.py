"""What every task provides, so that training, prediction and the report need not know which it is.

A task turns `outputs`, the float tensor `(B, ...)` that a network gives, into a loss for training,
into records for people, and into an evaluation with intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from convarium.intervals import Interval
from convarium.tasks.calibration import Calibration
from convarium.tasks.objective import Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from convarium.data import Batch


class Record(Protocol):
    """What the network says of one sample."""

    @property
    def id(self) -> int:
        """The sample's number in its data set."""

    @property
    def target(self) -> Any:
        """The truth in words or numbers, or None where it is not known."""

    def columns(self) -> Mapping[str, Any]:
        """The record as the columns of a table, in order, without the sample's name."""

    def sentence(self) -> str:
        """The record in a few words, for a terminal."""


class Evaluation(Protocol):
    """What a network is worth on a set of samples it was not trained on."""

    shown_as: ClassVar[str]  # which page of the report shows it

    @property
    def n(self) -> int:
        """Number of samples."""

    @property
    def loss(self) -> float:
        """Mean loss."""

    @property
    def score(self) -> float:
        """The task's main figure, larger is better."""

    @property
    def interval(self) -> Interval:
        """95 % interval of `score`."""

    def sentence(self) -> str:
        """The result in one sentence, with n and the interval."""

    def lines(self) -> Sequence[str]:
        """The details as plain lines, for a terminal."""

    def summary(self) -> dict[str, Any]:
        """The figures that the card keeps, JSON-able."""

    def to_json(self) -> dict[str, Any]:
        """Everything but the single predictions, JSON-able."""

    def worst(self, most: int) -> NDArray[np.int64]:
        """Ids of the samples that the network got most wrong, the worst first."""

    def examples(self, most: int) -> NDArray[np.int64]:
        """Ids of samples that show what the data is like."""

    def predictions(self) -> Iterator[Mapping[str, Any]]:
        """The single predictions, `id` first."""


class Meter(Protocol):
    """Gathers outputs batch by batch into an evaluation.

    Memory grows by a few bytes a sample, and by the probabilities while they fit into 256 MiB.
    """

    def add(self, outputs: Tensor, batch: Batch) -> None:
        """Take in one batch."""

    def evaluation(self) -> Evaluation:
        """The evaluation of all that was taken in."""


class Task(Protocol):
    """One kind of question that a network answers."""

    name: ClassVar[str]
    metric: ClassVar[str]  # the name of the score in history rows: train_<metric>, val_<metric>
    losses: ClassVar[tuple[str, ...]]  # what it can be trained with, the default first
    has_classes: ClassVar[bool]  # whether the outputs stand for classes, with weights of their own

    @property
    def head_size(self) -> int:
        """Number of outputs of the network's last layer."""

    def loss(self, outputs: Tensor, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Mean loss of a batch, a tensor without axes that can be differentiated.

        None is the plain loss of an evaluation, which knows no smoothing and no weights of classes.
        """

    def score_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum over the batch of the metric that the history follows, a tensor without axes."""

    def decode(self, outputs: Tensor, batch: Batch) -> Sequence[Record]:
        """One record a sample."""

    def stated(self, outputs: Tensor) -> Tensor:
        """What outputs `(B, ...)` say, in float32: probabilities, or physical values."""

    def merge(self, views: Sequence[Tensor]) -> Tensor:
        """One output a sample from those of several views of it, `(B, ...)` each."""

    def calibrate(self, outputs: Tensor, target: Tensor) -> Calibration | None:
        """Fit what makes the probabilities honest to outputs `(N, ...)`; None without any."""

    def meter(self) -> Meter:
        """A new, empty meter."""
