"""Latency: how long a forward pass takes on this machine, by batch size.

warm-up -> rounds until enough or out of time -> median, percentiles, samples per second
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.graph.timing import Timing, paired_timing
from convarium.measure import running
from convarium.measure.arguments import Sizes, shapes, shown, sizes

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
        input_shape: (B, C, *S) as given, of the first input.
        threads: that torch computes with.
        device: "cpu", "cuda:0" ...
        processor: what computes, by name.
        dtype: of the weights, and of the input unless it is looked up.
        torch: version of PyTorch.
        other_shapes: of the inputs after the first.
    """

    rows: tuple[BatchLatency, ...]
    input_shape: tuple[int, ...]
    threads: int
    device: str
    processor: str
    dtype: str
    torch: str
    other_shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def median_ms(self) -> float:
        """Milliseconds of a pass with the first batch size."""
        return self.rows[0].median_ms

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return asdict(self)


def latency(
    model: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
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
        model: any module that takes tensors; what it returns does not matter.
        input_shape: (B, C, *S), batch included, or that of each of several inputs. Inputs are
            normal numbers of the weights' type, or whole numbers where an embedding looks them up.
        batch_sizes: take the place of B, the first size of the first input and of those that have
            the same, one row each; None measures B alone.
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
    running.ready(model)
    first, *others = shapes(input_shape)
    batches = _batches(first[:1] if batch_sizes is None else batch_sizes)
    timing = running.passes(threads=threads, warmup=warmup, rounds=rounds, seconds=seconds)
    device, dtype = running.place(model)
    with running.quiet(model, threads):
        count = torch.get_num_threads()
        rows = []
        for batch in batches:
            given = [(batch, *s[1:]) if s[0] == first[0] else s for s in (first, *others)]
            rows.append(_row(batch, _timed(model, shapes(given), timing)))
    return Latency(
        rows=tuple(rows),
        input_shape=first,
        threads=count,
        device=str(device),
        processor=running.chip(device),
        dtype=str(dtype).removeprefix("torch."),
        torch=torch.__version__,
        other_shapes=tuple(others),
    )


def _timed(model: nn.Module, given: Sequence[Sizes], timing: dict[str, Any]) -> Timing:
    """The passes of one batch size."""

    def measured(*inputs: Tensor) -> Timing:
        calls = {"pass": lambda: model(*inputs)}
        return paired_timing(calls, synchronize=running.waiting(model), **timing)["pass"]

    return running.on_random_inputs(model, given, measured)


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


def _batches(batch_sizes: Sequence[int]) -> Sizes:
    found = sizes(batch_sizes)
    if not found or min(found) < 1:
        raise OptionError(
            f"batch_sizes (={shown(batch_sizes)}) must be a list of whole numbers of 1 or more, "
            "such as (1, 8)."
        )
    return found
