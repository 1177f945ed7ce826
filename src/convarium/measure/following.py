"""A graph followed from its input to its outputs: what every tensor on the way depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from convarium.graph import Graph, Operation, Value
from convarium.measure.reach import Reach
from convarium.measure.rules import follow
from convarium.measure.states import State, start

# By memory, what was written into it with other inputs than before, and by which operation.
Writes = dict[int, list[tuple[Value, str]]]

_MOVES: Final = ("transpose_", "t_", "squeeze_", "unsqueeze_")  # they change no element


def follow_graph(graph: Graph) -> dict[int, State]:
    """The state of every value that depends on the input, by its number."""
    value = graph.inputs[0]
    states = {value.number: start(len(value.shape), len(value.shape) - 2)}
    writes: Writes = {}
    for operation in graph.operations:
        stale = next((x for v in operation.values if (x := _stale(v, states, writes))), "")
        found = follow(operation, states)
        if stale:
            known = next((states[v.number] for v in operation.values if v.number in states), None)
            template = known or start(len(value.shape), len(value.shape) - 2)
            found = [replace(template, unknown=stale)] * len(operation.results)
        for result, state in zip(operation.results, found, strict=False):
            if result is not None:
                placed = state.places == len(state.reaches)
                same = operation.name == "unsqueeze" or not placed  # as 1-D pools begin
                source = state.source if same else result.number
                states[result.number] = replace(state, source=source)
        result = operation.results[0]
        if operation.writes and operation.name not in _MOVES and found and result is not None:
            before = _before(operation, result, states)
            if before is None or _differs(before, states[result.number]):
                writes.setdefault(result.memory, []).append((result, operation.name))
    for output in graph.outputs:
        if reason := _stale(output, states, writes):
            template = start(len(value.shape), len(value.shape) - 2)
            states[output.number] = replace(template, unknown=reason)
    return states


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
        or one.gates != other.gates
        or bool(other.unknown)
    )


def _apart(one: Reach, other: Reach) -> bool:
    same = one.dim == other.dim and one.jump == other.jump and one.whole == other.whole
    ends = ((one.lo, other.lo), (one.hi, other.hi))
    return one is not other and not (same and all(map(np.array_equal, *zip(*ends, strict=True))))
