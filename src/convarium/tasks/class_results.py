"""What a classifier says of samples, and what it is worth: records, rows, evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.intervals import Interval, bootstrap, wilson
from convarium.tasks import scores
from convarium.tasks.class_scores import ClassScores


@dataclass(frozen=True)
class ClassRecord:
    """The classes' probabilities for one sample.

    Args:
        id: the sample's number in its data set.
        label: name of the most probable class.
        confidence: its probability.
        probabilities: one a class, in the card's order.
        classes: the classes' names.
        target: name of the true class, where it is known.
    """

    id: int
    label: str
    confidence: float
    probabilities: tuple[float, ...]
    classes: tuple[str, ...] = field(repr=False)
    target: str | None = None

    def columns(self) -> Mapping[str, Any]:
        """`label`, `confidence`, then the three most probable classes as `top`."""
        top = top_words(self.probabilities, self.classes)
        return {"label": self.label, "confidence": self.confidence, "top": top}

    def sentence(self) -> str:
        """The label and its probability."""
        return f"{self.label} ({100 * self.confidence:.1f} %)"


@dataclass(frozen=True)
class ClassRow:
    """How one class or label fares: precision, recall with its 95 % interval (Wilson), F1.

    A precision without a prediction, or a recall without a sample, is NaN.
    """

    name: str
    n: int
    precision: float
    recall: float
    interval: Interval
    f1: float

    def line(self, width: int) -> str:
        """n, recall with its interval and precision, for a terminal."""
        low, high = self.interval
        return (
            f"  {self.name:<{width}}  n {self.n:>6}  recall {self.recall:6.1%} "
            f"({low:.1%} to {high:.1%})  precision {self.precision:6.1%}"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it; NaN as null."""
        own = {k: scores.or_none(v) for k, v in vars(self).items() if k not in ("name", "interval")}
        return {"name": self.name, **own, "interval": list(self.interval)}


@dataclass(frozen=True)
class ClassEvaluation:
    """Accuracy, confusion and the single predictions of a classifier.

    Args:
        classes: names, K of them.
        confusion: `(K, K)` counts, rows are the truth, columns the predictions.
        loss: mean cross-entropy of the outputs as they are, without a temperature.
        ids, targets, labels, confidences: one a sample, `(N,)`.
        stated: figures of the stated probabilities; None where only the labels are known.

    References:
        Guo et al. (2017), arXiv:1706.04599, equation 3 (`ece`).
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    loss: float
    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    labels: NDArray[np.int64]
    confidences: NDArray[np.float32]
    stated: ClassScores | None = None
    shown_as: ClassVar[str] = "classes"

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def correct(self) -> int:
        """Number of right predictions."""
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        """Share of right predictions."""
        return self.correct / self.n

    @property
    def score(self) -> float:
        """The accuracy."""
        return self.accuracy

    @property
    def interval(self) -> Interval:
        """95 % interval of the accuracy, by Wilson's score."""
        return wilson(self.correct, self.n)

    @property
    def rows(self) -> tuple[ClassRow, ...]:
        """One row a class, in the card's order."""
        counts = (np.diagonal(self.confusion), self.confusion.sum(1), self.confusion.sum(0))
        columns = zip(self.classes, *(each.tolist() for each in counts), strict=True)
        return tuple(
            ClassRow(name, truth, *rates(hits, truth, said)) for name, hits, truth, said in columns
        )

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have samples."""
        return _macro_f1(self.confusion)

    @property
    def macro_f1_interval(self) -> Interval:
        """95 % interval of `macro_f1`, by bootstrap over the samples."""
        cells = self.targets * len(self.classes) + self.labels

        def statistic(chosen: NDArray[np.int64]) -> float:
            counts = np.bincount(cells[chosen], minlength=self.confusion.size)
            return _macro_f1(counts.reshape(self.confusion.shape))

        return bootstrap(statistic, self.n, resamples=200)

    @cached_property
    def reliability(self) -> tuple[scores.Bin, ...]:
        """Stated confidence against the share of right labels, in 15 bins of equal width."""
        return scores.reliability(self.confidences, self.labels == self.targets)

    @property
    def ece(self) -> float:
        """Expected calibration error over the 15 bins."""
        return scores.calibration_error(self.reliability)

    @cached_property
    def auroc(self) -> float | None:
        """Mean area under the ROC curve of each class against the rest.

        Classes without samples are left out; None where the probabilities were not kept.
        """
        if self.stated is None or self.stated.rows is None:
            return None
        rows = self.stated.rows
        areas = [scores.auroc(rows[:, k], self.targets == k) for k in range(len(self.classes))]
        return scores.or_none(scores.mean_of(areas))

    def figures(self) -> dict[str, float | None]:
        """Figures of the probabilities by name; empty where only the labels are known."""
        if self.stated is None:
            return {}
        top = {"top5": self.stated.top(5)} if len(self.classes) > 5 else {}
        calibrated = {"ece": self.ece, "brier": self.stated.brier, "nll": self.stated.nll}
        return {**top, "auroc": self.auroc, **calibrated, "temperature": self.stated.temperature}

    def worst(self, most: int) -> NDArray[np.int64]:
        """Ids of the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.labels != self.targets)
        order = np.argsort(-self.confidences[wrong], kind="stable")
        return self.ids[wrong[order][:most]]

    def examples(self, most: int) -> NDArray[np.int64]:
        """Ids of samples that take turns over the classes."""
        return self.ids[in_turns(self.targets, most)]

    def sentence(self) -> str:
        """Accuracy with its interval and n."""
        low, high = self.interval
        return (
            f"accuracy {100 * self.accuracy:.2f} % ({self.correct} of {self.n}), "
            f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"
        )

    def lines(self) -> Sequence[str]:
        """One line a class: n, recall with its interval, precision; then the other figures."""
        width = max(len(name) for name in self.classes)
        return [*(row.line(width) for row in self.rows), *self._figure_lines()]

    def _figure_lines(self) -> list[str]:
        """Macro F1, ranking and calibration, for a terminal."""
        if self.stated is None:
            return []
        low, high = self.macro_f1_interval
        found = self.figures()
        ranking = f"  macro F1 {self.macro_f1:.1%} ({low:.1%} to {high:.1%})"
        if "top5" in found:
            ranking += f"  top-5 accuracy {found['top5']:.2%}"
        if self.auroc is not None:
            ranking += f"  AUROC {self.auroc:.4f}"
        calibrated = (
            f"  calibration error {self.ece:.2%}  Brier {self.stated.brier:.4f}  "
            f"NLL {self.stated.nll:.4f}  temperature {self.stated.temperature:.3g}"
        )
        return [ranking, calibrated]

    def summary(self) -> dict[str, Any]:
        """n, accuracy with interval, loss, macro F1, and the figures of the probabilities."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "loss": self.loss,
            "macro_f1": self.macro_f1,
            **self.figures(),
        }

    def to_json(self) -> dict[str, Any]:
        """The summary, the classes' rows (NaN as null) and the confusion matrix."""
        rows = [row.to_json() for row in self.rows]
        more = {"macro_f1_interval": list(self.macro_f1_interval), "classes": rows}
        if self.stated is not None:
            more["reliability"] = scores.reliability_rows(self.reliability)
        return {**self.summary(), **more, "confusion": self.confusion.tolist()}

    def predictions(self) -> Iterator[Mapping[str, Any]]:
        """One mapping a sample: id, target, label, confidence."""
        for k in range(self.n):
            yield {
                "id": int(self.ids[k]),
                "target": self.classes[self.targets[k]],
                "label": self.classes[self.labels[k]],
                "confidence": float(self.confidences[k]),
            }


def rates(hits: int, truth: int, said: int) -> tuple[float, float, Interval, float]:
    """Precision, recall, its interval, and F1 = 2 TP / (2 TP + FP + FN), from counts of samples."""
    precision = hits / said if said else float("nan")
    recall = hits / truth if truth else float("nan")
    f1 = 2 * hits / (truth + said) if truth + said else float("nan")
    return precision, recall, wilson(hits, truth), f1


def top_words(probabilities: Sequence[float], names: Sequence[str]) -> str:
    """The three most probable names with their probabilities."""
    order = np.argsort(-np.asarray(probabilities), kind="stable")[:3]
    return "; ".join(f"{names[k]} {probabilities[k]:.3f}" for k in order)


def in_turns(kinds: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Places of samples that take turns over their kinds.

    >>> in_turns(np.array([0, 0, 0, 1, 2]), 4).tolist()
    [0, 3, 4, 1]
    """
    turns = np.zeros(len(kinds), np.int64)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        turns[members] = np.arange(len(members))
    return np.lexsort((kinds, turns))[:most]


def _macro_f1(confusion: NDArray[np.int64]) -> float:
    """Mean over the classes with samples of 2 TP / (2 TP + FP + FN)."""
    truth, predicted = confusion.sum(1), confusion.sum(0)
    present = truth > 0
    hits = np.diagonal(confusion)
    return float(np.mean(2 * hits[present] / (truth + predicted)[present]))
