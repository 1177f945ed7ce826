"""The view *Networks*: `choose` as a form, with the picture of latency against accuracy.

form -> measure.choose, in a thread of its own -> rows, reasons, drawing
"""

from __future__ import annotations

from typing import Any

from convarium.errors import OptionError
from convarium.studio.desk import Desk
from convarium.studio.jobs import Watched
from convarium.studio.networks import read_size


def form() -> dict[str, Any]:
    """What can be chosen from: targets with their limits, and tasks."""
    from convarium.measure import guide
    from convarium.measure.choice import TASKS

    targets = {name: dict(target.limits) for name, target in guide.TARGETS.items()}
    return {"targets": targets, "tasks": [*TASKS]}


def chosen(
    desk: Desk,
    size: str = "3x224x224",
    target: str = "server",
    pattern: str = "*",
    batch_size: int = 1,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    max_ms: float | None = None,
    max_memory_mb: float | None = None,
    min_field: float | None = None,
    causal: bool = False,
    long_context: bool = False,
    small_data: bool = False,
    n: int = 12,
    threads: int | None = None,
) -> dict[str, Any]:
    """Networks for an input, measured on this machine and ranked, as `measure.choose` does it.

    Asked again with the same values it tells how far it is, and then the result. It ends soon after
    nobody asks any more.

    Args:
        desk: has the thread that measures.
        size: of one sample, channels first; one number is an image's side.
        target: server, mobile, edge or sequence.
        pattern: only names that match.
        batch_size: samples in a pass.
        max_parameters: at most so many.
        max_macs: multiply-adds at most.
        max_ms: milliseconds of a pass at most.
        max_memory_mb: megabytes in a pass at most.
        min_field: inputs that a position sees, at least.
        causal: outputs may not see later inputs.
        long_context: the field must cover the whole input.
        small_data: there are few samples to train on.
        n: how many are measured, where `max_ms` is not given.
        threads: that torch computes with; None leaves its own number.

    Returns:
        How far the work is, as `Jobs.ask` says it; its result is `Choices.to_json` and `drawing`.

    Raises:
        OptionError: a value is not allowed.
        ShapeError: no network takes inputs of this size.
        UnknownModelError: no name matches.
    """
    given = read_size(size)
    if given is None:
        raise OptionError("size must be that of a sample, such as 3x224x224.")
    sample = (3, given, given) if isinstance(given, int) else given
    limits = {"max_parameters": max_parameters, "max_macs": max_macs, "max_ms": max_ms}
    limits |= {"max_memory_mb": max_memory_mb, "min_field": min_field}
    asked: dict[str, Any] = {
        **{name: value for name, value in limits.items() if value is not None},
        "causal": causal,
        "long_context": long_context,
        "small_data": small_data,
        "input_shape": (batch_size, *sample),
        "target": target,
        "pattern": pattern,
        "n": n,
        "threads": threads,
    }

    def work(progress: Watched) -> dict[str, Any]:
        from convarium import measure
        from convarium.report.pareto import draw_choices

        found = measure.choose(**asked, progress=progress)
        return {**found.to_json(), "drawing": draw_choices(found)}

    return desk.jobs.ask(("choose", *sorted(asked.items())), work)
