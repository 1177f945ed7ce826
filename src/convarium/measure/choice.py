"""Which network? The decision guide as an answer from measurements on this machine.

forms of the catalogue -> cheap limits -> latency, measured or kept -> ranked rows, Pareto front
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from convarium.errors import ShapeError
from convarium.measure import arguments, guide, running
from convarium.measure.accuracies import SMALL
from convarium.measure.arguments import one_of, whole
from convarium.measure.candidates import MOST_CLASSES, Form, Forms, forms
from convarium.measure.chosen import Choices, described, pareto_front
from convarium.measure.kept import Kept
from convarium.measure.limits import checked_limits, misses, worst
from convarium.measure.stopwatch import FormTime, times
from convarium.progress import Progress

TASKS: Final[Mapping[str, int]] = {"series": 1, "images": 2, "volumes": 3}


def choose(
    *,
    input_shape: Sequence[int],
    target: str = "server",
    task: str | None = None,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    max_ms: float | None = None,
    max_memory_mb: float | None = None,
    min_field: float | None = None,
    causal: bool = False,
    long_context: bool = False,
    small_data: bool = False,
    num_classes: int | None = None,
    pattern: str = "*",
    n: int = 24,
    threads: int | None = None,
    cache: bool | str | Path = True,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Choices:
    """The networks that meet every limit, built for this input, measured here and ranked.

    They are ranked by the accuracy published for an input of about this size (ImageNet-1k from 64
    pixels on, CIFAR-10 below), the higher first; those without such a number follow, first those
    whose field covers the input, then in the order of the decision guide for the target, then by
    multiply-adds. With `small_data`, networks with published weights to start from come first, then
    DenseNets, then the others, both with fewer parameters first.

    A published accuracy is a prior, not a promise: it was reached on other data by another recipe.
    Latency is measured, not derived from multiply-adds, with fresh weights in float32.

    Args:
        input_shape: (B, C, *S), batch included; latency and memory are those of this batch.
        target: "server", "mobile", "edge" or "sequence"; mobile and edge set limits of their own,
            which those below replace, and ask for networks with fewer channels too.
        task: "series", "images" or "volumes"; None follows from the number of axes.
        max_parameters: trainable numbers.
        max_macs: multiply-adds of one sample.
        max_ms: milliseconds of one forward pass on this machine's processor.
        max_memory_mb: megabytes (10^6) in a forward pass: weights, input, and maps at their most.
        min_field: inputs that a position of the last map sees along each axis.
        causal: outputs may not see later inputs.
        long_context: the field must cover the whole input, unless `min_field` says otherwise.
        small_data: few samples to train on.
        num_classes: outputs; None keeps each network's own.
        pattern: only names that match, as in a shell.
        n: how many are measured: those on the front of multiply-adds against accuracy, and the
            best ranked. With `max_ms` all are, cheapest first.
        threads: that torch computes with; None leaves its own number.
        cache: where facts and measurements are kept: True in the user's cache folder, False
            nowhere, or a folder.
        fresh: measure anew what was kept.
        progress: counts the networks, once where they are built and once where they are measured.

    Raises:
        OptionError: an option is unknown, or its value not allowed.
        ShapeError: no network takes inputs of this shape.
        UnknownModelError: no name matches `pattern`.

    Example:
        >>> found = choose(
        ...     input_shape=(1, 1, 16, 16), target="edge", pattern="resnet[28]*", cache=False
        ... )
        >>> [row.name for row in found.rows], found.rows[0].accuracy_data
        (['resnet20_cifar', 'resnet8'], 'CIFAR-10')
    """
    shape = arguments.shape(input_shape)
    _check(shape, target, task)
    num_classes = None if num_classes is None else whole(0, MOST_CLASSES, num_classes=num_classes)
    limits = {
        "max_parameters": max_parameters,
        "max_macs": max_macs,
        "max_memory_mb": max_memory_mb,
        "min_field": max(shape[2:]) if long_context and min_field is None else min_field,
        "max_ms": max_ms,
    }
    needs = {"causal": 1.0} if causal else {}
    asked = _Asked(
        shape=shape,
        target=target,
        limits={**guide.TARGETS[target].limits, **checked_limits(limits), **needs},
        causal=causal,
        small_data=small_data,
        n=whole(1, n=n),
        threads=running.checked_threads(threads),
    )
    kept = Kept(cache, fresh=fresh)
    found = forms(shape, target, pattern, num_classes=num_classes, kept=kept, progress=progress)
    return _answer(asked, found, progress)


@dataclass(frozen=True)
class _Asked:
    """What `choose` was asked, checked."""

    shape: tuple[int, ...]
    target: str
    limits: Mapping[str, float]
    causal: bool
    small_data: bool
    n: int
    threads: int | None


def _answer(asked: _Asked, found: Forms, progress: Progress | None) -> Choices:
    """Rank what meets the limits that need no clock, measure, and keep what meets the last one."""
    limits = asked.limits
    if not found.fitting:
        raise ShapeError(
            f"None of the networks asked takes inputs of shape {asked.shape}; give larger ones, or "
            "another pattern."
        )
    passing = [form for form in found.fitting if not misses(form, limits)]
    passing.sort(key=lambda form: _rank(form, asked.target, asked.small_data))
    chosen = (
        _to_measure(passing, asked.n, "max_ms" in limits) or _nearest(found.fitting, limits, {})[:1]
    )
    timed = times(chosen, threads=asked.threads, progress=progress)
    kept = [form for form in passing if form.label in timed]
    kept = [form for form in kept if not misses(form, limits, timed[form.label].median_ms)]
    near = None if kept else _nearest(chosen, limits, timed)[0]
    return Choices(
        **_results(kept, near, limits, timed),
        input_shape=asked.shape,
        target=asked.target,
        limits=limits,
        unfit=tuple(found.unfit),
        notes=_notes(asked, found.fitting, passing, timed),
        threads=torch.get_num_threads() if asked.threads is None else asked.threads,
        processor=running.processor(),
        torch=torch.__version__,
    )


def _results(
    kept: Sequence[Form],
    near: Form | None,
    limits: Mapping[str, float],
    timed: Mapping[str, FormTime],
) -> dict[str, Any]:
    """Rows and front, or the nearest and what it misses."""
    counted = [
        (form.label, (timed[form.label].median_ms, form.counted))
        for form in kept
        if form.counted is not None
    ]
    front = tuple(counted[i][0] for i in pareto_front([point for _, point in counted]))
    time = timed.get(near.label) if near else None
    return {
        "rows": tuple(described(form, timed[form.label], form.label in front) for form in kept),
        "front": front,
        "nearest": described(near, time, False) if near else None,
        "missed": misses(near, limits, time.median_ms if time else None) if near else (),
    }


def _rank(form: Form, target: str, small_data: bool) -> tuple[float, ...]:
    """What sorts the best first; see `choose`."""
    counted = form.counted
    if small_data and not form.pretrained:
        return (1 + (form.family != "densenet"), form.parameters)
    order = guide.order(form.family, target, small=min(form.input_shape[2:]) < SMALL)
    if counted is None:
        place = (1, 0.0, not form.covers, order, form.macs)
    else:
        place = (0, -counted, False, order, form.macs)
    return (0, *place) if small_data else place


def _to_measure(passing: Sequence[Form], n: int, everything: bool) -> list[Form]:
    """All, cheapest first; or the front of multiply-adds against accuracy, then the best ranked."""
    if everything:
        return sorted(passing, key=lambda form: form.macs)
    counted = [form for form in passing if form.counted is not None]
    front = pareto_front([(form.macs, form.counted or 0.0) for form in counted])
    first = [counted[i] for i in front][: max(n // 2, 1)]
    rest = [form for form in passing if form not in first]
    return [*first, *rest][:n]


def _nearest(
    fitting: Sequence[Form], limits: Mapping[str, float], timed: Mapping[str, FormTime]
) -> list[Form]:
    """The networks by how far they are from the limits, the nearest first."""

    def distance(form: Form) -> tuple[float, int]:
        time = timed.get(form.label)
        return worst(misses(form, limits, time.median_ms if time else None)), form.macs

    return sorted(fitting, key=distance)


def _notes(
    asked: _Asked, fitting: Sequence[Form], passing: Sequence[Form], timed: Mapping[str, FormTime]
) -> tuple[str, ...]:
    """What a reader must know about the rows, a sentence each."""
    notes = []
    in_time = asked.causal or asked.target == "sequence"
    if in_time and not any(form.causal for form in fitting):
        notes.append(
            f"None of the {len(fitting)} networks is causal: each output sees later inputs too."
        )
    if passing and not any(form.counted is not None for form in passing):
        notes.append(
            "No accuracy is published for inputs like these, so the order is that of the decision "
            "guide; train the first few and compare."
        )
    elif passing:
        data = "CIFAR-10" if min(asked.shape[2:]) < SMALL else "ImageNet-1k"
        notes.append(f"Accuracies on {data} are a prior for other data, not a promise.")
    left = len(passing) - len(timed)
    if left > 0:
        notes.append(f"{left} more meet the limits that need no clock; they were not measured.")
    return tuple(notes)


def _check(shape: Sequence[int], target: str, task: str | None) -> None:
    """Refuse a target or task that does not exist, or that has another number of axes."""
    one_of(guide.TARGETS, target=target)
    if task is not None:
        one_of(TASKS, task=task)
    wanted = {TASKS[task]} if task else {*TASKS.values()}
    if target == "sequence":
        wanted &= {TASKS["series"]}
    if len(shape) - 2 not in wanted:
        said = f"task={task!r}, " if task else ""
        axes = " or ".join(map(str, sorted(wanted))) or "no"
        raise ShapeError(
            f"input_shape (={shape}) must have {axes} axes after batch and channels for "
            f"{said}target={target!r}."
        )
