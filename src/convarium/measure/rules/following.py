"""A graph followed from its input to its outputs: what every tensor on the way depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from torch import nn

from convarium.errors import ShapeError
from convarium.graph import Graph, Operation, Value, trace
from convarium.measure.rules.operations import follow
from convarium.measure.rules.reach import Reach
from convarium.measure.rules.states import State, start

# By memory, what was written into it with other inputs than before, and by which operation.
Writes = dict[int, list[tuple[Value, str]]]

_COPIES: Final = ("clone",)
_VIEWS: Final = ("view", "_unsafe_view", "_reshape_alias")
_MOVES: Final = ("transpose_", "t_", "squeeze_", "unsqueeze_")  # they change no element


def follow_graph(graph: Graph) -> dict[int, State]:
    """The state of every value that depends on the input, by its number."""
    value = graph.inputs[0]
    states = {value.number: start(value.shape)}
    writes: Writes = {}
    for operation in graph.operations:
        if not operation.values:  # a product of constants, noted for its cost only
            continue
        stale = next((x for v in operation.values if (x := _stale(v, states, writes))), "")
        found = follow(operation, states)
        if stale:
            known = next((states[v.number] for v in operation.values if v.number in states), None)
            template = known or start(value.shape)
            found = [replace(template, unknown=stale)] * len(operation.results)
        for result, state in zip(operation.results, found, strict=False):
            if result is not None:
                placed = state.places == len(state.reaches)
                same = operation.name == "unsqueeze" or not placed  # as 1-D pools begin
                source = state.source if same else result.number
                states[result.number] = replace(state, source=source).read(result.shape)
        result = operation.results[0]
        if operation.writes and operation.name not in _MOVES and found and result is not None:
            before = _before(operation, result, states)
            if before is None or _differs(before, states[result.number]):
                writes.setdefault(result.memory, []).append((result, operation.name))
    for output in graph.outputs:
        if reason := _stale(output, states, writes):
            template = start(value.shape)
            states[output.number] = replace(template, unknown=reason)
    return states


def follow_sample(
    model: nn.Module, batch: Graph, *, training: bool
) -> tuple[Graph, dict[int, State]]:
    """The graph of one sample where a batch mixes samples with places, and its states.

    Args:
        model: any module.
        batch: its graph for a whole batch, which is given back where it says as much.
        training: whether that is of training.
    """
    n, *shape = batch.inputs[0].shape
    views = [o for o in batch.operations if o.name in _VIEWS]
    mixed = any(v.shape[:1] != (n,) for o in views for v in (*o.values, *o.results) if v)
    states = {} if mixed and n > 1 else follow_graph(batch)
    if n == 1 or (states and not any(state.unknown for state in states.values())):
        return batch, states
    try:
        sample = trace(model, (1, *shape), training=training)
    except ShapeError:
        sample = batch
    same = [*map(_name, _kept(sample))] == [*map(_name, _kept(batch))]
    graph = sample if same and len(_told(sample)) == len(_told(batch)) else batch
    return graph, follow_graph(graph)


def batch_shapes(sample: Graph, batch: Graph) -> dict[int, tuple[int, ...]]:
    """Shapes of the batch's values, by the numbers of a sample's in the same operations."""
    pairs = zip(_told(sample), _told(batch), strict=True)
    shapes = {one.number: other.shape for one, other in pairs if one and other}
    for operation in sample.operations:
        for value, result in zip(operation.values, operation.results, strict=False):
            if operation.name in _COPIES and result and value.number in shapes:
                shapes.setdefault(result.number, shapes[value.number])
    return shapes


def _kept(graph: Graph) -> list[Operation]:
    """All but copies, which views of a batch need and those of a sample do not."""
    return [operation for operation in graph.operations if operation.name not in _COPIES]


def _name(operation: Operation) -> tuple[str, str, int]:
    name = "view" if operation.name in _VIEWS else operation.name
    return name, operation.layer, operation.call


def _told(graph: Graph) -> list[Value | None]:
    """The values of a graph that one of another size has too, in the same order."""
    made = [result for operation in _kept(graph) for result in operation.results]
    returned = [result for call in graph.calls for result in call.results]
    return [*graph.inputs, *made, *returned, *graph.outputs]


def _stale(value: Value, states: dict[int, State], writes: Writes) -> str:
    """Why nobody knows what a tensor holds: its memory was written through another one."""
    for written, name in writes.get(value.memory, []):
        later = value.number < written.number or value.number not in states
        if later and value.span[0] <= written.span[1] and written.span[0] <= value.span[1]:
            return f"{name} through another view of the same memory"
    return ""


def _before(operation: Operation, result: Value, states: dict[int, State]) -> State | None:
    """What was known of the tensor that an operation wrote into."""
    own = (v for v in operation.values if v.memory == result.memory and v.shape == result.shape)
    return next((states[v.number] for v in own if v.number in states), None)


def _differs(one: State, other: State) -> bool:
    """Whether two tensors may depend on different inputs."""
    return (
        any(map(_apart, one.reaches, other.reaches))
        or any(map(_apart, one.gates, other.gates))
        or bool(other.unknown)
    )


def _apart(one: Reach | None, other: Reach | None) -> bool:
    if one is None or other is None:
        return one is not other
    same = one.dim == other.dim and one.jump == other.jump and one.whole == other.whole
    ends = ((one.lo, other.lo), (one.hi, other.hi))
    return one is not other and not (same and all(map(np.array_equal, *zip(*ends, strict=True))))
