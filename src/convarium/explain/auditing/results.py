"""What an audit found: frozen values, each with what JSON holds of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from convarium.explain.auditing.boxes import Box
from convarium.explain.auditing.counting import Difference, Rate, or_none
from convarium.explain.controls import SampleMean

Verdict = Literal["supported", "not supported", "undecided"]
SHORTCUTS = ("place", "background")  # kinds of claims that something beside the object decides


@dataclass(frozen=True, eq=False)
class Example:
    """A sample to look at.

    Attributes:
        image: (C, *S) as the network gets it, with mean and deviation put back, in [0, 1].
        title, note: what it is.
        heat: (*S) in [0, 1], or None.
    """

    image: Tensor
    title: str
    note: str = ""
    heat: Tensor | None = None


@dataclass(frozen=True)
class Cell:
    """The samples of a label in a group.

    Attributes:
        label, group: names.
        accuracy: share that is named rightly.
        gap: accuracy of the label's samples in the other groups less that of these; None where one
            of the two has fewer samples than are counted.
    """

    label: str
    group: str
    accuracy: Rate
    gap: Difference | None


@dataclass(frozen=True)
class GroupColumn:
    """Accuracy by the groups of a column.

    Attributes:
        column: its name.
        groups: accuracy of each group, all labels together.
        cells: of each label and group that has samples.
        worst: the cell of the lowest accuracy of those with enough samples.
        least: samples from which a cell counts.
        compared: cells whose gap was measured, in all columns; intervals of gaps hold for all
            together (Bonferroni).
        left_out: samples without a group.
    """

    column: str
    groups: tuple[tuple[str, Rate], ...]
    cells: tuple[Cell, ...]
    worst: Cell | None
    least: int
    compared: int
    left_out: int

    @property
    def lowest(self) -> Cell | None:
        """The cell of the lowest accuracy, however few its samples are."""
        order = sorted(self.cells, key=lambda cell: (cell.accuracy.value, -cell.accuracy.n))
        return order[0] if order else None

    @property
    def small(self) -> tuple[Cell, ...]:
        """Cells without a gap though their label is in other groups too, the lowest first."""
        labels = [cell.label for cell in self.cells]
        found = [c for c in self.cells if c.gap is None and labels.count(c.label) > 1]
        return tuple(sorted(found, key=lambda cell: cell.accuracy.value))

    @property
    def small_cells(self) -> str:
        """The same as a sentence; "" where there is none."""
        if not self.small:
            return ""
        first = self.small[0]
        return (
            f"{len(self.small)} of {len(self.cells)} pairs of label and {self.column} cannot be "
            f"compared, for want of {self.least} samples here or there; of {first.label} where "
            f"{self.column} is {first.group}, {first.accuracy.value:.1%} of {first.accuracy.n} are "
            "right."
        )

    @property
    def gaps(self) -> tuple[tuple[Cell, Difference], ...]:
        """Cells whose gap was measured, the largest gap first."""
        known = [(cell, cell.gap) for cell in self.cells if cell.gap is not None]
        return tuple(sorted(known, key=lambda pair: -pair[1].value))

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "column": self.column,
            "groups": [{"group": g, "accuracy": r.to_mapping()} for g, r in self.groups],
            "cells": [_cell(cell) for cell in self.cells],
            "worst": None if self.worst is None else _cell(self.worst),
            "lowest": None if self.lowest is None else _cell(self.lowest),
            "not_compared": len(self.small),
            "least_samples": self.least,
            "compared": self.compared,
            "left_out": self.left_out,
        }


@dataclass(frozen=True, eq=False)
class Cluster:
    """Like heatmaps of samples that get the same prediction.

    Attributes:
        label: the prediction.
        number: of the cluster, 0 for the largest of the prediction.
        n: heatmaps in it.
        share: of the prediction's heatmaps.
        purity: share of its samples whose label is the prediction.
        box: the place that holds half of the heat by which the mean map exceeds that of the other
            predictions.
        heat: share of the mean heat in the box.
        candidate: whether the box is small enough to be a shortcut.
        mean: (*S) the mean map, in [0, 1].
        average: (C, *S) the mean of its samples, in [0, 1].
        examples: some of its samples.
    """

    label: str
    number: int
    n: int
    share: float
    purity: Rate
    box: Box
    heat: float
    candidate: bool
    mean: Tensor
    average: Tensor
    examples: tuple[Example, ...]

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "prediction": self.label,
            "number": self.number,
            "n": self.n,
            "share": self.share,
            "purity": self.purity.to_mapping(),
            "place": _box(self.box),
            "heat_in_place": self.heat,
            "candidate": self.candidate,
        }


@dataclass(frozen=True, eq=False)
class PlaceTest:
    """What a cluster's place does, in samples that the cluster was not found in.

    Attributes:
        cluster: whose place.
        n: samples of the cluster among them.
        lift: of their heat in the place.
        pasted: other predictions' samples that take the prediction when the place is pasted into
            them, beside their objects, against another place of equal size from the same samples.
        foreign: the same, against the same place of samples with other predictions.
        whole: as `pasted`, over the objects too; None with regions, which say what they are.
        removed: samples that lose the prediction without the place, against another place.
        on_object: mean share of the place that lies in the marked regions; None without regions.
        examples: recipients before and after, in turn.
    """

    cluster: Cluster
    n: int
    lift: SampleMean
    pasted: Difference
    foreign: Difference
    whole: Difference | None
    removed: Difference
    on_object: float | None
    examples: tuple[tuple[Example, ...], ...]

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "prediction": self.cluster.label,
            "cluster": self.cluster.number,
            "place": _box(self.cluster.box),
            "n": self.n,
            "lift": mean_mapping(self.lift),
            "pasted_against_elsewhere": self.pasted.to_mapping(),
            "pasted_against_other_predictions": self.foreign.to_mapping(),
            "pasted_over_objects": None if self.whole is None else self.whole.to_mapping(),
            "removed_against_elsewhere": self.removed.to_mapping(),
            "on_object": self.on_object,
        }


@dataclass(frozen=True)
class Claim:
    """A sentence about the network, and whether the evidence carries it.

    Attributes:
        kind: "place", "background", "object" or "group".
        text: what is claimed.
        verdict: "supported" only where intervention and attribution agree.
        reason: why, in one or two sentences with numbers.
        p: of the intervention, adjusted for all that were tested in the audit (Holm); None where
            nothing was, and for groups, whose intervals are corrected instead.
    """

    kind: Literal["place", "background", "object", "group"]
    text: str
    verdict: Verdict
    reason: str
    p: float | None = None

    @property
    def shortcut(self) -> bool:
        """Whether it is a supported claim that something beside the object decides."""
        return self.verdict == "supported" and self.kind in SHORTCUTS

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "kind": self.kind,
            "claim": self.text,
            "verdict": self.verdict,
            "reason": self.reason,
            "p_adjusted": None if self.p is None else or_none(self.p),
        }


def mean_mapping(mean: SampleMean) -> dict[str, Any]:
    """A mean over samples, JSON-able."""
    return {
        "value": or_none(mean.value),
        "interval": [or_none(end) for end in mean.interval],
        "n": mean.n,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    gap = None if cell.gap is None else cell.gap.to_mapping()
    accuracy = cell.accuracy.to_mapping()
    return {"label": cell.label, "group": cell.group, "accuracy": accuracy, "gap": gap}


def _box(box: Box) -> dict[str, Any]:
    sides: Sequence[tuple[int, int]] = [*zip(box.start, box.size, strict=True)]
    ranges = [[first, first + side - 1] for first, side in sides]
    return {"ranges": ranges, "share": box.share, "words": box.words}
