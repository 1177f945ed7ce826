"""Where the time goes: the layers of a model, in the order in which they run.

clock before and after each layer, round after round -> medians -> shares of the whole
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from convarium.graph import eager
from convarium.graph.timing import paired_timing
from convarium.measure import running
from convarium.measure.arguments import Sizes, shapes
from convarium.measure.leaves import leaves

_Key = tuple[str, int]


@dataclass(frozen=True)
class LayerTime:
    """The time of one call of one layer.

    Attributes:
        layer: dotted name.
        call: how often it had been called before in the same pass.
        kind: its class.
        median_ms: milliseconds of a call, over the rounds.
        share: of the whole pass, in [0, 1].
    """

    layer: str
    call: int
    kind: str
    median_ms: float
    share: float


@dataclass(frozen=True)
class Profile:
    """What each layer takes; the shares and that of `between` add up to 1.

    Attributes:
        rows: in the order of execution.
        between_ms: what passes outside layers: additions, reshaping, Python.
        between_share: of the whole pass.
        total_ms: sum of the rows and of `between_ms`; the clocks make it longer than `latency`.
        n: rounds.
        input_shape: (B, C, *S), of the first input.
        threads: that torch computes with.
        device: "cpu", "cuda:0" ...
        other_shapes: of the inputs after the first.
    """

    rows: tuple[LayerTime, ...]
    between_ms: float
    between_share: float
    total_ms: float
    n: int
    input_shape: tuple[int, ...]
    threads: int
    device: str
    other_shapes: tuple[tuple[int, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return asdict(self)


def profile(
    model: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    threads: int | None = None,
    warmup: int = 3,
    rounds: int = 20,
    seconds: float = 5.0,
) -> Profile:
    """The time of every layer in a forward pass, in eval mode and without gradients.

    A layer is a module without modules inside; one that is called twice has two rows. On a GPU each
    layer is waited for, so that its time is its own; a pass without clocks overlaps some of it.
    Nothing of the model changes; a compiled one runs as plain Python.

    Args:
        model: any module that takes tensors, in whatever wrapper.
        input_shape: (B, C, *S), batch included, or that of each of several inputs.
        threads: that torch computes with; None leaves its own number.
        warmup: passes before those that count, fewer where they would take half of `seconds`.
        rounds: passes that are timed.
        seconds: time limit; three passes are timed even past it.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: the model is scripted, or one of `latency`'s reasons.

    >>> found = profile(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), (1, 3, 32, 32))
    >>> [row.layer for row in found.rows], round(sum(row.share for row in found.rows), 1) <= 1
    (['0', '1'], True)
    """
    network = running.open_to_hooks(model)
    given = shapes(input_shape)
    timing = running.passes(threads=threads, warmup=warmup, rounds=rounds, seconds=seconds)
    clocks = _Clocks(network)

    def measured(*inputs: Tensor) -> int:
        clocks.rounds.clear()
        return paired_timing({"pass": lambda: clocks.run(*inputs)}, **timing)["pass"].n

    with running.quiet(network, threads), eager(network):
        count = torch.get_num_threads()
        clocks.attach()
        n = running.on_random_inputs(network, given, measured)
    return _summary(clocks, n, given, count)


@dataclass
class _Round:
    """What one pass took, layer by layer."""

    total: float = 0.0
    layers: dict[_Key, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)


class _Clocks:
    """A clock before and after each layer; whoever attaches them takes them off again."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.device, _ = running.place(network)
        self.wait = running.waiting(network) or _nothing
        self.rounds: list[_Round] = []
        self.kinds: dict[str, str] = {}

    def attach(self) -> None:
        """Hooks that stand closest to each layer's own work."""
        for name, module in leaves(self.network).items():
            self._attach(name, module)

    def run(self, *inputs: Tensor) -> None:
        """One pass, noted as a round."""
        self.rounds.append(_Round())
        self.wait()
        start = time.perf_counter()
        self.network(*inputs)
        self.wait()
        self.rounds[-1].total = time.perf_counter() - start

    def _attach(self, name: str, module: nn.Module) -> None:
        starts: list[float] = []
        self.kinds[name] = type(module).__name__

        def enter(module: nn.Module, args: object) -> None:
            self.wait()
            starts.append(time.perf_counter())

        def leave(module: nn.Module, args: object, given: object) -> None:
            self.wait()
            taken = time.perf_counter() - starts.pop()
            present = self.rounds[-1]
            call = present.calls.get(name, 0)
            present.calls[name] = call + 1
            present.layers[name, call] = taken

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, prepend=True)


def _summary(clocks: _Clocks, n: int, given: Sequence[Sizes], threads: int) -> Profile:
    """Medians over the last `n` rounds; the ones before them warmed up."""
    rounds = clocks.rounds[-n:]
    keys = dict.fromkeys(key for each in rounds for key in each.layers)
    medians = {
        key: statistics.median(each.layers[key] for each in rounds if key in each.layers)
        for key in keys
    }
    between = statistics.median(each.total - sum(each.layers.values()) for each in rounds)
    total = sum(medians.values()) + between
    rows = tuple(
        LayerTime(layer, call, clocks.kinds[layer], 1e3 * value, value / total)
        for (layer, call), value in medians.items()
    )
    return Profile(
        rows=rows,
        between_ms=1e3 * between,
        between_share=between / total,
        total_ms=1e3 * total,
        n=n,
        input_shape=given[0],
        threads=threads,
        device=str(clocks.device),
        other_shapes=tuple(given[1:]),
    )


def _nothing() -> None:
    """The processor's work is done when a call returns."""
