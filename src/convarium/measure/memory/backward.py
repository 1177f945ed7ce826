"""Gradients on their way from the outputs of a graph to its input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.memory.keeps import Need, results_of, total_of
from convarium.measure.memory.kernels import room_backward
from convarium.measure.memory.layouts import Steps, in_order, steps_back, steps_made, steps_of
from convarium.measure.memory.ledger import Ledger, Line, size_of, storage_of

_IN_ORDER: Final = ("_softmax", "_log_softmax", "native_layer_norm")


@dataclass
class _Memory:
    """Where a gradient lies, and how many wait for it."""

    size: Line
    holders: int = 1


@dataclass(frozen=True)
class Gradient:
    """One gradient, or a view of it with other steps."""

    memory: _Memory
    steps: Steps


class Backward:
    """The gradients that have come and were not used yet, by the number of their tensor.

    Args:
        ledger: of what is alive.
        batch: samples that the network is given.
    """

    def __init__(self, ledger: Ledger, batch: int) -> None:
        self.ledger, self.batch = ledger, batch
        self.flowing: dict[int, Gradient] = {}
        self.weights: set[int] = set()

    def new(self, size: Line, steps: Steps) -> Gradient:
        """A gradient in memory of its own."""
        self.ledger.add(size)
        self.ledger.mark()
        return Gradient(_Memory(size), steps)

    def through(
        self, operation: Operation, given: Sequence[Value | Tensor], needed: Need | None
    ) -> list[tuple[Value | Tensor, Gradient]]:
        """The gradients of what an operation was given, once those of its results are known."""
        if needed is None:
            return []
        results = results_of(operation)
        numbers = {k: results[k].number for k in needed.reached}
        incoming = {k: self.flowing.pop(n) for k, n in numbers.items() if n in self.flowing}
        if not incoming:
            return []
        found, steps = [], next(iter(incoming.values())).steps
        for place, source in needed.gradients:
            x = given[place]
            if source in incoming:
                shared = incoming[source]
                shared.memory.holders += 1
                gradient = Gradient(shared.memory, steps_back(operation, x, shared.steps))
            else:
                gradient = self.new(size_of(x), steps_made(operation, x, steps))
            found.append((x, gradient))
        beside = round(needed.extra * total_of(operation)) if needed.extra else 0
        if operation.name in _IN_ORDER:  # they copy gradients that are not
            beside += sum(
                gradient.memory.size[1]
                for k, gradient in incoming.items()
                if not in_order(results[k].shape, gradient.steps)
            )
        wanted = [place for place, _ in needed.gradients]
        self.ledger.mark(room_backward(operation, wanted, steps, self.batch), beside)
        for gradient in incoming.values():
            self._drop(gradient)
        return found

    def accept(self, given: Iterable[tuple[Value | Tensor, Gradient]]) -> None:
        """Hand gradients on to the tensors that they belong to."""
        for x, gradient in given:
            if isinstance(x, Value):
                self.give(x, gradient)
            elif storage_of(x) in self.weights:
                self._drop(gradient)
            else:
                self.weights.add(storage_of(x))

    def give(self, value: Value, gradient: Gradient) -> None:
        """One more gradient of a value, added in place to one that nobody else waits for."""
        before = self.flowing.get(value.number)
        if before is None:
            self.flowing[value.number] = gradient
            return
        both, size = (before, gradient), size_of(value)
        alone = (g for g in both if g.memory.holders == 1 and g.memory.size == size)
        total = next(alone, None) or self.new(size, steps_of(value))
        for one in both:
            if one is not total:
                self._drop(one)
        self.flowing[value.number] = total

    def _drop(self, gradient: Gradient) -> None:
        memory = gradient.memory
        memory.holders -= 1
        if not memory.holders:
            self.ledger.add(memory.size, -1)
