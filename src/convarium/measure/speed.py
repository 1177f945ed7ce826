"""Latency: how long a forward pass takes on this machine, by batch size.

warm-up -> rounds until enough or out of time -> median, percentiles, samples per second
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from convarium.errors import OptionError
from convarium.graph.timing import Timing, paired_timing
from convarium.measure import running

_FOR_P99 = 100


@dataclass(frozen=True)
class BatchLatency:
    """The time of one forward pass with one batch size.

    Attributes:
        batch_size: samples in a pass.
        n: passes that were timed.
        median_ms: milliseconds of a pass.
        p10_ms: a tenth of the passes took at most so many.
        p90_ms: nine in ten took at most so many.
        p99_ms: the same for 99 in 100; None below 100 passes, which cannot tell.
        samples_per_second: batch size by median.
    """

    batch_size: int
    n: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    p99_ms: float | None
    samples_per_second: float


@dataclass(frozen=True)
class Latency:
    """How long a model takes, and under which conditions that was measured.

    Attributes:
        rows: one a batch size, in the order that was asked for.
        input_shape: (B, C, *S) as given.
        threads: that torch computes with.
        device: "cpu", "cuda:0" ...
        processor: what computes, by name.
        dtype: of weights and input.
        torch: version of PyTorch.
    """

    rows: tuple[BatchLatency, ...]
    input_shape: tuple[int, ...]
    threads: int
    device: str
    processor: str
    dtype: str
    torch: str

    @property
    def median_ms(self) -> float:
        """Milliseconds of a pass with the first batch size."""
        return self.rows[0].median_ms

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return asdict(self)


def latency(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    batch_sizes: Sequence[int] | None = None,
    threads: int | None = None,
    warmup: int = 3,
    rounds: int = 100,
    seconds: float = 5.0,
) -> Latency:
    """The time of a forward pass in eval mode, without gradients, on random inputs.

    The model runs as it is given: a compiled one compiled, a wrapped one with its wrapper.
    Afterwards its mode, hooks, buffers and gradients, torch's random streams and its number of
    threads are as before. Work on a GPU is waited for, so its time counts.

    Args:
        model: any module that takes one tensor; what it returns does not matter.
        input_shape: (B, C, *S), batch included.
        batch_sizes: take the place of B, one row each; None measures B alone.
        threads: that torch computes with; None leaves its own number.
        warmup: passes before those that count, fewer where they would take half of `seconds`.
        rounds: passes that are timed for each batch size.
        seconds: limit for each batch size; three passes are timed even past it.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: a number is out of range, there is not enough memory, or the model has layers
            without a shape or weights without memory.

    >>> found = latency(nn.Conv2d(3, 8, 3), (1, 3, 32, 32), batch_sizes=(1, 4), seconds=0.1)
    >>> [row.batch_size for row in found.rows], found.device, found.dtype
    ([1, 4], 'cpu', 'float32')
    """
    shape = running.checked_shape(input_shape)
    sizes = _sizes(shape[:1] if batch_sizes is None else batch_sizes)
    device, dtype = running.place(model)
    with running.quiet(model, threads):
        count = torch.get_num_threads()
        rows = []
        for size in sizes:
            timing = _timed(model, (size, *shape[1:]), warmup, rounds, seconds)
            rows.append(_row(size, timing))
    return Latency(
        rows=tuple(rows),
        input_shape=shape,
        threads=count,
        device=str(device),
        processor=running.chip(device),
        dtype=str(dtype).removeprefix("torch."),
        torch=torch.__version__,
    )


def _timed(
    model: nn.Module, shape: tuple[int, ...], warmup: int, rounds: int, seconds: float
) -> Timing:
    """The passes of one batch size."""
    with running.explained(model, shape):
        x = running.random_input(model, shape)
        found = paired_timing(
            {"pass": lambda: model(x)},
            rounds=rounds,
            warmup=warmup,
            seconds=seconds,
            synchronize=running.waiting(model),
        )
    return found["pass"]


def _row(size: int, timing: Timing) -> BatchLatency:
    enough = timing.n >= _FOR_P99
    return BatchLatency(
        batch_size=size,
        n=timing.n,
        median_ms=1e3 * timing.median,
        p10_ms=1e3 * timing.percentile(10),
        p90_ms=1e3 * timing.percentile(90),
        p99_ms=1e3 * timing.percentile(99) if enough else None,
        samples_per_second=size / timing.median,
    )


def _sizes(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    sizes = tuple(batch_sizes)
    if not sizes or not all(type(n) is int and n > 0 for n in sizes):
        raise OptionError(
            f"batch_sizes (={batch_sizes!r}) must be whole numbers of 1 or more, such as (1, 8)."
        )
    return sizes
