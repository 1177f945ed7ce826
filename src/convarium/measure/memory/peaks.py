"""The most memory that a graph of operations needs at once, worked out from when tensors die.

without gradients      a tensor lives until its last use
with gradients         also what autograd keeps, and the gradients on their way back

What does not grow with the batch (weights' gradients, weights worked out of others) is told apart
from what does, so that one graph says how much any number of samples takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Final

from torch import Tensor, nn

from convarium.graph import Graph, Operation, Value
from convarium.measure.memory.as_run import as_run
from convarium.measure.memory.autograd import need
from convarium.measure.memory.backward import Backward
from convarium.measure.memory.keeps import Need, results_of, tensors, total_of
from convarium.measure.memory.kernels import lstm_need, room_forward
from convarium.measure.memory.layouts import plain
from convarium.measure.memory.ledger import Ledger, Line, Lines, Rooms, size_of, storage_of

_LOSS: Final = (
    2.5  # of the output beside its gradient: 2 in a cross-entropy, 3 in a mean of squares
)
_POOL: Final = "max_pool2d_with_indices"
_PRODUCTS: Final = ("convolution", "mm", "addmm", "bmm", "baddbmm", "mv", "addmv")


def peaks(graph: Graph, learning: Graph, network: nn.Module) -> tuple[Lines, Lines]:
    """Bytes of the tensors that are alive at once without gradients, and in a training step.

    Args:
        graph: of a prediction.
        learning: of a training step; it may be the same one.
        network: that they were traced from; frozen parameters have no gradients.

    Returns:
        For each of `SAMPLES` pairs of what does not grow with the batch, and what the batch takes;
        the peak is the largest sum. Those that can never be it are left out.
    """
    constants, modules = _Constants(network), dict(network.named_modules())
    flow = _Flow(*as_run(graph, modules, False), constants)
    forward = _forward_peak(flow)
    if learning is not graph or flow.shared:
        flow = _Flow(*as_run(learning, modules, True), constants)
    return forward, _training_peak(flow)


def _forward_peak(flow: _Flow) -> Lines:
    ledger = Ledger()
    flow.set_indices([None] * len(flow.given))
    flow.forward(ledger, flow.lasts)
    return ledger.largest()


def _training_peak(flow: _Flow) -> Lines:
    """In a forward and backward pass.

    The backward pass takes the operations back to front. Each holds the gradients of its results,
    makes those of its arguments, then lets go of what it kept; a gradient that several operations
    give is added up as they come, and waits for the operation that made its tensor.
    """
    ledger, needs = Ledger(), flow.needs()
    flow.set_indices(needs)
    kept = [flow.kept(n, needed) for n, needed in enumerate(needs)]
    holders = Counter(key for keys in kept for key in keys)
    flow.forward(ledger, flow.lasts | dict.fromkeys(holders, len(kept)))
    backward, graph = Backward(ledger, flow.batch), flow.graph
    learns = bool(flow.constants.trained)
    outputs = [*{value.number: value for value in graph.outputs}.values()] * learns
    for output in outputs:
        backward.give(output, backward.new(size_of(output), plain(output.shape)))
    ledger.mark(more=round(_LOSS * sum(value.bytes for value in outputs)))
    stay = {value.memory for value in (*graph.inputs, *graph.outputs)}
    for n in range(len(kept) - 1, -1, -1):
        given = backward.through(graph.operations[n], flow.given[n], needs[n])
        for key in kept[n]:
            holders[key] -= 1
            if not holders[key] and key not in stay:
                ledger.add(flow.sizes[key], -1)
        backward.accept(given)
    return ledger.largest()


class _Constants:
    """Which constant tensors are weights that learn, and which were worked out of weights."""

    def __init__(self, network: nn.Module) -> None:
        own = [*network.parameters(), *network.buffers()]
        self.trained = {storage_of(x) for x in own if x.requires_grad}
        self.own = {storage_of(x) for x in own}
        self.meta = any(x.is_meta for x in own)

    def derived(self, x: Tensor) -> bool:
        """Whether it has memory of its own; what only stands for a weight has none."""
        return x.is_meta == self.meta and storage_of(x) not in self.own

    def learns(self, x: Tensor, operation: Operation) -> bool:
        """Whether it has a gradient, as has what a product takes as its weight."""
        known, storage = self.own, storage_of(x)
        if storage in known or operation.name not in _PRODUCTS:
            return storage in self.trained
        return bool(self.trained) and x.is_floating_point()


class _Flow:
    """The memory that each operation reads and makes, and how long it lives."""

    def __init__(self, graph: Graph, shared: dict[int, int], constants: _Constants) -> None:
        self.graph, self.shared, self.constants = graph, shared, constants
        norms = (op for op in graph.operations if "batch_norm" in op.name)
        statistics = (value for op in norms for value in op.results[1:] if value is not None)
        self.sizes: dict[Hashable, Line] = {value.memory: (value.bytes, 0) for value in statistics}
        for value in graph.values:
            if value.memory not in self.sizes:
                self.sizes[value.memory] = (0, value.bytes)
        self.batch = graph.inputs[0].shape[0]
        self.given = [tensors(operation) for operation in graph.operations]
        self.uses = [
            [*self._keys(*pair)] for pair in zip(graph.operations, self.given, strict=True)
        ]
        self.lasts = self._last_uses()
        self.rooms: dict[int, Rooms] = {}

    def forward(self, ledger: Ledger, lasts: dict[Hashable, int]) -> None:
        """From the input to the outputs; what lasts longer is alive afterwards."""
        ends: dict[int, list[Hashable]] = {}
        for key, n in lasts.items():
            ends.setdefault(n, []).append(key)
        alive: set[Hashable] = {value.memory for value in self.graph.inputs}
        for key in alive:
            ledger.add(self.sizes[key])
        ledger.mark()
        for n, keys in enumerate(self.uses):
            for key in keys:
                if key not in alive:
                    alive.add(key)
                    ledger.add(self.sizes[key])
            operation = self.graph.operations[n]
            if n not in self.rooms:
                self.rooms[n] = room_forward(operation, self.batch)
            ledger.mark(self.rooms[n])
            for key in alive.intersection(ends.get(n, [])):
                ledger.add(self.sizes[key], -1)

    def set_indices(self, needs: Sequence[Need | None]) -> None:
        """Pools of series have no indices where no gradient is wanted."""
        unsqueezed: set[int] = set()
        for operation, needed in zip(self.graph.operations, needs, strict=True):
            if operation.name == "unsqueeze":
                unsqueezed.update(value.number for value in results_of(operation))
                continue
            if operation.name == _POOL and operation.values[0].number in unsqueezed:
                indices = results_of(operation)[1]
                self.sizes[indices.memory] = (0, 0 if needed is None else indices.bytes)

    def needs(self) -> list[Need | None]:
        """What each operation needs for its backward pass; None where it has none."""
        reached: set[int] = set()
        found: list[Need | None] = []
        for operation, given in zip(self.graph.operations, self.given, strict=True):
            wanted = [
                x.number in reached if isinstance(x, Value) else self.constants.learns(x, operation)
                for x in given
            ]
            ask = need if operation.name != "lstm" else lstm_need
            needed = ask(operation, wanted) if operation.values and any(wanted) else None
            found.append(needed)
            results = results_of(operation)
            reached.update(results[k].number for k in (needed.reached if needed else ()))
        return found

    def kept(self, n: int, needed: Need | None) -> set[Hashable]:
        """The memory that an operation keeps for its backward pass."""
        if needed is None:
            return set()
        operation = self.graph.operations[n]
        given, results = self.given[n], results_of(operation)
        kept = [*(given[k] for k in needed.arguments), *(results[k] for k in needed.results)]
        found = {key for x in kept if (key := self._key(x)) is not None}
        if needed.kept and (beside := round(needed.kept * total_of(operation))):
            key = "beside", n
            self.sizes[key] = (0, beside)
            self.uses[n].append(key)
            found.add(key)
        return found

    def _keys(self, operation: Operation, given: list[Value | Tensor]) -> Iterator[Hashable]:
        for x in (*given, *results_of(operation)) if operation.values else ():
            if (key := self._key(x)) is not None:
                yield key

    def _key(self, x: Value | Tensor) -> Hashable:
        if isinstance(x, Value):
            return self.shared.get(x.memory, x.memory)
        if not self.constants.derived(x):
            return None
        key = "constant", storage_of(x)
        size = x.untyped_storage().nbytes()
        first = x.shape[:1] == (self.batch,)  # a first state has a row a sample
        self.sizes[key] = (0, size) if first else (size, 0)
        return key

    def _last_uses(self) -> dict[Hashable, int]:
        """By memory, the last operation that reads or writes it; outputs live to the end."""
        last: dict[Hashable, int] = {}
        for n, keys in enumerate(self.uses):
            last.update(dict.fromkeys(keys, n))
            freed = (self.shared.get(m, m) for m in self.graph.operations[n].frees)
            last.update(dict.fromkeys(freed, n))
        ends = (value.memory for value in (*self.graph.inputs, *self.graph.outputs))
        return last | dict.fromkeys(ends, len(self.uses))
