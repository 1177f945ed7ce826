"""A graph followed from its input to its outputs: what every tensor on the way depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from torch import nn

from convarium.errors import ShapeError
from convarium.graph import Graph, Operation, Value, trace
from convarium.measure.rules.operations import follow
from convarium.measure.rules.states import State, start
from convarium.measure.rules.writes import without_writes

_COPIES: Final = ("clone",)
_VIEWS: Final = ("view", "_unsafe_view", "_reshape_alias")


def follow_graph(graph: Graph) -> dict[int, State]:
    """The state of every value that depends on the input, by its number.

    Where something is written into a part of a tensor, values are those of `without_writes`; of the
    outputs, both.
    """
    present = without_writes(graph)
    value = present.inputs[0]
    states = {value.number: start(value.shape)}
    for operation in present.operations:
        for result, state in zip(operation.results, follow(operation, states), strict=False):
            if result is not None:
                placed = state.places == len(state.reaches)
                same = operation.name == "unsqueeze" or not placed  # as 1-D pools begin
                source = state.source if same else result.number
                states[result.number] = replace(state, source=source).read(result.shape)
    for old, new in zip(graph.outputs, present.outputs, strict=True):
        if old is not new:
            states.pop(old.number, None)
            if new.number in states:
                states[old.number] = states[new.number]
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
    batch = without_writes(batch)
    n, *shape = batch.inputs[0].shape
    views = [o for o in batch.operations if o.name in _VIEWS]
    mixed = any(v.shape[:1] != (n,) for o in views for v in (*o.values, *o.results) if v)
    states = {} if mixed and n > 1 else follow_graph(batch)
    if n == 1 or (states and not any(state.unknown for state in states.values())):
        return batch, states
    try:
        sample = without_writes(trace(model, (1, *shape), training=training))
    except ShapeError:
        sample = batch
    same = [*map(_name, _kept(sample))] == [*map(_name, _kept(batch))]
    graph = sample if same and len(_told(sample)) == len(_told(batch)) else batch
    return graph, follow_graph(graph)


def batch_shapes(sample: Graph, batch: Graph) -> dict[int, tuple[int, ...]]:
    """Shapes of the batch's values, by the numbers of a sample's in the same operations."""
    pairs = zip(_told(sample), _told(without_writes(batch)), strict=True)
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
