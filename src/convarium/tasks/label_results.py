"""What a multilabel classifier says of samples, and what that is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.intervals import Interval, bootstrap
from convarium.tasks import scores
from convarium.tasks.class_results import ClassRow, in_turns, rates, top_words

NONE = "(none)"
_RESAMPLES = 200
_WORDS = {
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mean_average_precision": "mean AP",
    "auroc": "AUROC",
    "exact": "all labels right",
    "ece": "calibration error",
}


@dataclass(frozen=True)
class LabelRecord:
    """The labels' probabilities for one sample.

    Args:
        id: the sample's number in its data set.
        labels: the names that are given, in the card's order.
        probabilities: one a label, in the card's order.
        classes: the labels' names.
        truth: the true labels, where they are known.
    """

    id: int
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    classes: tuple[str, ...] = field(repr=False)
    truth: tuple[str, ...] | None = None

    @property
    def target(self) -> str | None:
        """The true labels in words, or None where they are not known."""
        return None if self.truth is None else in_words(self.truth)

    def columns(self) -> Mapping[str, Any]:
        """`labels`, then the three most probable labels as `top`."""
        top = top_words(self.probabilities, self.classes)
        return {"labels": "; ".join(self.labels), "top": top}

    def sentence(self) -> str:
        """The labels with their probabilities."""
        known = dict(zip(self.classes, self.probabilities, strict=True))
        return ", ".join(f"{name} ({100 * known[name]:.0f} %)" for name in self.labels) or NONE


@dataclass(frozen=True)
class LabelRow(ClassRow):
    """How one label fares; what cannot be known is NaN.

    Args:
        average_precision: over all thresholds.
        auroc: area under the ROC curve.
    """

    average_precision: float
    auroc: float

    def line(self, width: int) -> str:
        """The same with the figures over all thresholds."""
        more = f"  AP {self.average_precision:.3f}  AUROC {self.auroc:.3f}"
        return super().line(width) + more


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation:
    """What decisions on several labels a sample are worth.

    Args:
        classes: names of the K labels.
        threshold: of the probability, for giving a label.
        temperature: what outputs were divided by.
        ids: of the samples, `(N,)`.
        losses: mean binary cross-entropy of each sample, without a temperature, `(N,)`.
        targets, decided: truth and decision, bool `(N, K)`.
        rows_kept: probabilities, float32 `(N, K)`, or None where they would take over 256 MiB.
    """

    classes: tuple[str, ...]
    threshold: float
    temperature: float
    ids: NDArray[np.int64]
    losses: NDArray[np.float32]
    targets: NDArray[np.bool_]
    decided: NDArray[np.bool_]
    rows_kept: NDArray[np.float32] | None
    shown_as: ClassVar[str] = "labels"

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.ids)

    @property
    def loss(self) -> float:
        """Mean binary cross-entropy over samples and labels."""
        return float(self.losses.mean(dtype=np.float64))

    @cached_property
    def sample_f1(self) -> NDArray[np.float64]:
        """F1 of each sample, 1 where it has no label and got none, `(N,)`."""
        both = (self.targets & self.decided).sum(1)
        either = self.targets.sum(1) + self.decided.sum(1)
        return np.where(either == 0, 1.0, 2 * both / np.maximum(either, 1))

    @property
    def score(self) -> float:
        """Mean F1 of the samples."""
        return float(self.sample_f1.mean())

    @property
    def interval(self) -> Interval:
        """95 % interval of `score`, by bootstrap over the samples."""
        values = self.sample_f1
        return bootstrap(lambda chosen: float(values[chosen].mean()), self.n, resamples=_RESAMPLES)

    @property
    def exact(self) -> int:
        """Samples whose labels are all right."""
        return int((self.targets == self.decided).all(1).sum())

    @cached_property
    def rows(self) -> tuple[LabelRow, ...]:
        """One row a label, in the card's order."""
        return tuple(self._row(k) for k in range(len(self.classes)))

    def _row(self, k: int) -> LabelRow:
        truth, given = self.targets[:, k], self.decided[:, k]
        n, said, hits = int(truth.sum()), int(given.sum()), int((truth & given).sum())
        kept = None if self.rows_kept is None else self.rows_kept[:, k]
        nan = float("nan")
        return LabelRow(
            self.classes[k],
            n,
            *rates(hits, n, said),
            average_precision=nan if kept is None else scores.average_precision(kept, truth),
            auroc=nan if kept is None else scores.auroc(kept, truth),
        )

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that a sample has."""
        return scores.mean_of([row.f1 for row in self.rows if row.n])

    @property
    def micro_f1(self) -> float:
        """F1 of all decisions together; 1 where no label is and none was given."""
        hits = int((self.targets & self.decided).sum())
        either = int(self.targets.sum() + self.decided.sum())
        return 2 * hits / either if either else 1.0

    @cached_property
    def reliability(self) -> tuple[scores.Bin, ...] | None:
        """Stated probability against the share that has the label, all labels together."""
        if self.rows_kept is None:
            return None
        return scores.reliability(self.rows_kept, self.targets)

    def figures(self) -> dict[str, float | None]:
        """F1 over labels and decisions, ranking, calibration; None for what is not known."""
        bins = self.reliability
        return {
            "macro_f1": scores.or_none(self.macro_f1),
            "micro_f1": self.micro_f1,
            "mean_average_precision": scores.or_none(
                scores.mean_of([row.average_precision for row in self.rows])
            ),
            "auroc": scores.or_none(scores.mean_of([row.auroc for row in self.rows])),
            "exact": self.exact / self.n,
            "ece": None if bins is None else scores.calibration_error(bins),
            "temperature": self.temperature,
        }

    def worst(self, most: int) -> NDArray[np.int64]:
        """Ids of the samples with a wrong label, the largest loss first."""
        wrong = np.flatnonzero((self.targets != self.decided).any(1))
        return self.ids[wrong[np.argsort(-self.losses[wrong], kind="stable")][:most]]

    def examples(self, most: int) -> NDArray[np.int64]:
        """Ids of samples that take turns over the labels; each stands for its rarest one."""
        counts = self.targets.sum(0)
        rarity = np.where(self.targets, counts, np.iinfo(np.int64).max)
        kind = np.where(self.targets.any(1), rarity.argmin(1), len(self.classes))
        return self.ids[in_turns(kind, most)]

    def sentence(self) -> str:
        """The samples' F1 with its interval and n."""
        low, high = self.interval
        return (
            f"F1 {100 * self.score:.2f} % (mean of {self.n} samples), 95 % interval "
            f"{100 * low:.2f} to {100 * high:.2f} %; all labels right in {self.exact}"
        )

    def lines(self) -> Sequence[str]:
        """One line a label, then the figures over all labels."""
        width = max(len(name) for name in self.classes)
        rows = [row.line(width) for row in self.rows]
        shown = [
            f"{_WORDS.get(key, key)} {value:.4g}"
            for key, value in self.figures().items()
            if value is not None
        ]
        return [*rows, "  " + "  ".join(shown)]

    def summary(self) -> dict[str, Any]:
        """n, the samples' F1 with its interval, the loss and the other figures."""
        main = {"n": self.n, "f1": self.score, "interval": list(self.interval), "loss": self.loss}
        return {**main, **self.figures(), "threshold": self.threshold}

    def to_json(self) -> dict[str, Any]:
        """The summary, the labels' rows (NaN as null) and the reliability bins."""
        rows = [row.to_json() for row in self.rows]
        bins = () if self.reliability is None else self.reliability
        return {**self.summary(), "classes": rows, "reliability": scores.reliability_rows(bins)}

    def predictions(self) -> Iterator[Mapping[str, Any]]:
        """One mapping a sample: id, target and labels, separated by semicolons, and its F1."""
        for k in range(self.n):
            yield {
                "id": int(self.ids[k]),
                "target": self._words(self.targets[k]),
                "labels": self._words(self.decided[k]),
                "f1": float(self.sample_f1[k]),
            }

    def _words(self, given: NDArray[np.bool_]) -> str:
        return "; ".join(self.classes[k] for k in np.flatnonzero(given))


def in_words(labels: Sequence[str]) -> str:
    """Names with semicolons, or `(none)`.

    >>> in_words(["sky", "sea"]), in_words([])
    ('sky; sea', '(none)')
    """
    return "; ".join(labels) or NONE
