"""What `choose` answers: ranked candidates with reasons, the Pareto front, and the nearest miss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from convarium.errors import OptionError
from convarium.measure import guide
from convarium.measure.arguments import shown
from convarium.measure.candidates import Form
from convarium.measure.limits import Miss
from convarium.measure.stopwatch import FormTime


@dataclass(frozen=True)
class Candidate:
    """One network as it would be built, with what is known and what was measured.

    Attributes:
        name: what `create` knows it by.
        label: name and options.
        family: the file of its class.
        options: keywords for `create` besides channels, axes and classes.
        parameters: trainable numbers.
        macs: multiply-adds of one sample.
        field: inputs along each axis that a position of the last map sees, without gates.
        memory_mb: megabytes in a forward pass of the whole batch.
        latency_ms: milliseconds of such a pass, the median; None where it was not measured.
        latency_p90_ms: nine in ten passes took at most so many.
        accuracy: published top-1 in %, or None.
        accuracy_data: what it was measured on.
        accuracy_size: sides of the pictures in pixels.
        accuracy_source: who measured it.
        counted: whether it says something about inputs of this size; see `choose`.
        on_front: no other row is faster and more accurate.
        reason: for and against it, in a sentence without its full stop.
    """

    name: str
    label: str
    family: str
    options: Mapping[str, Any]
    parameters: int
    macs: int
    field: tuple[int, ...]
    memory_mb: float
    latency_ms: float | None
    latency_p90_ms: float | None
    accuracy: float | None
    accuracy_data: str
    accuracy_size: int | None
    accuracy_source: str
    counted: bool
    on_front: bool
    reason: str


@dataclass(frozen=True)
class Choices:
    """The answer of `choose`.

    Attributes:
        rows: what was measured and meets every limit, the best first.
        front: labels of the rows to which none is both faster and more accurate, fastest first.
        nearest: where there are no rows, the network that is nearest to the limits.
        missed: the limits that it misses.
        input_shape: (B, C, *S).
        target: "server", "mobile", "edge" or "sequence".
        limits: those that were given, and those of the target.
        unfit: names of networks that do not take the input, or leave one position of it.
        notes: what else to know, a sentence each.
        threads: that torch computed with.
        processor: its name.
        torch: version of PyTorch.
    """

    rows: tuple[Candidate, ...]
    front: tuple[str, ...]
    nearest: Candidate | None
    missed: tuple[Miss, ...]
    input_shape: tuple[int, ...]
    target: str
    limits: Mapping[str, float]
    unfit: tuple[str, ...]
    notes: tuple[str, ...]
    threads: int
    processor: str
    torch: str

    def sentence(self) -> str:
        """The result in a sentence: the first row, or the nearest miss."""
        if self.rows:
            first = self.rows[0]
            return f"{first.label} is the first of {len(self.rows)}: {first.reason}."
        if self.nearest is None or not self.missed:
            return "Nothing satisfies this."
        missed = " and ".join(miss.words() for miss in self.missed)
        return f"Nothing satisfies this; the nearest is {self.nearest.label}: {missed}."

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values; a ratio without bound is None."""
        found = asdict(self)
        for miss in found["missed"]:
            miss["ratio"] = miss["ratio"] if miss["ratio"] < float("inf") else None
        return found | {"satisfied": bool(self.rows), "sentence": self.sentence()}


def described(form: Form, time: FormTime | None, on_front: bool) -> Candidate:
    """The row of a form."""
    found = form.accuracy
    return Candidate(
        name=form.name,
        label=form.label,
        family=form.family,
        options=dict(form.options),
        parameters=form.parameters,
        macs=form.macs,
        field=form.field,
        memory_mb=form.memory / 1e6,
        latency_ms=time.median_ms if time else None,
        latency_p90_ms=time.p90_ms if time else None,
        accuracy=found.percent if found else None,
        accuracy_data=found.data if found else "",
        accuracy_size=found.size if found else None,
        accuracy_source=found.source if found else "",
        counted=form.counted is not None,
        on_front=on_front,
        reason=_reason(form, on_front),
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points to which no other is both at most as far right and at least as high.

    One of two equal points is not better than the other, so both stay. From left to right. A point
    with NaN is on no front and keeps none off it.

    Args:
        points: (what should be small, what should be large).

    Raises:
        OptionError: they are no pairs of numbers.

    Example:
        >>> pareto_front([(1.0, 70.0), (2.0, 69.0), (3.0, 80.0)])
        [0, 2]
    """
    try:
        pairs = [(float(low), float(high)) for low, high in points]
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(
            f"points (={shown(points)}) must be a list of pairs of numbers, such as [(1.0, 70.0)]."
        ) from error
    known = [i for i, pair in enumerate(pairs) if not any(map(math.isnan, pair))]
    order = sorted(known, key=lambda i: (pairs[i][0], -pairs[i][1], i))
    front: list[int] = []
    for i in order:
        best = pairs[front[-1]] if front else None
        if best is None or pairs[i][1] > best[1] or pairs[i] == best:
            front.append(i)
    return front


def _reason(form: Form, on_front: bool) -> str:
    """What speaks for and against a form, without a full stop."""
    parts = [guide.words(form.family)]
    found = form.accuracy
    if found is None:
        parts.append("no published accuracy")
    else:
        large = ", too large to count here" if form.counted is None else ""
        parts.append(f"{found.words()} ({found.source}){large}")
    if on_front:
        parts.append("none is both faster and more accurate")
    if form.field and not form.covers:
        parts.append(f"sees {_times(form.field)} of {_times(form.input_shape[2:])}")
    if form.pretrained:
        parts.append("published weights to start from")
    return "; ".join(parts)


def _times(sizes: Sequence[int]) -> str:
    """435 where all axes are alike, 435x427 else."""
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
