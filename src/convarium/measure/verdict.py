"""The verdict on a field in words: what a position sees, and which layers widen it past the input.

Only what is known is said: "at most" of a bound, and of gates whether they see all of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convarium.graph import Graph
from convarium.measure.rules.reach import Positions, spans
from convarium.measure.rules.states import State

if TYPE_CHECKING:
    from convarium.measure.field import Field, ReceptiveField


def verdict(field: ReceptiveField) -> str:
    """What a position sees, what the output does, and where the field is as large as the input."""
    if not field.size:
        reason = field.status.partition(": ")[2]
        return f"The field is unknown, since it cannot be followed beyond {reason}."
    axes = axes_of(field.input_shape)
    if field.kind == "input" and field.output_size:
        return f"No layer keeps a map of the input of {_times(axes)}; {_output(field)}."
    bound = field.status == "bound"
    text = f"Each position of {'the output' if field.kind == 'input' else _name(field)} "
    text += f"sees {'at most ' * bound}{_inputs(field.size)} "
    first = field.covered_by
    covers = first is not None and all(n >= m for n, m in zip(field.size, axes, strict=True))
    seen = ("may cover" if bound else "covers") if covers else "does not cover"
    text += f"and {seen} the input of {_times(axes)}"
    if field.size_with_gates != field.size:
        with_gates = f"it sees up to {_inputs(field.size_with_gates)}"
        told = "it depends on all of it" if field.gates_see_all else with_gates
        text += f"; through gates or statistics {told}"
    if field.output_size:
        text += f"; {_output(field)}"
    return f"{text}.{_beyond(field, first)}" if first else f"{text}."


def _beyond(field: ReceptiveField, first: Field) -> str:
    """From which layer on the field is as large as the input, and what widens it afterwards."""
    names = [row.layer for row in field.beyond]
    grown = "may be" if first.status == "bound" else "is"
    name = _name(first) if first.layer else "the first layer"
    text = f" From {name} on the field {grown} as large as the input"
    if not names:
        return f"{text}, and no later layer widens it."
    shown = ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}"
    count = "1 later layer widens" if len(names) == 1 else f"{len(names)} later layers widen"
    return f"{text}; {count} it only past the borders: {shown}."


def _output(field: ReceptiveField) -> str:
    whole = field.output_size == axes_of(field.input_shape)
    return f"the output sees {'the whole input' if whole else _inputs(field.output_size)}"


def _name(row: Field) -> str:
    """A layer, or a function in it."""
    layer, colon, function = row.layer.partition(":")
    if not colon:
        return layer or "the output"
    return f"the result of {function} in {layer}" if layer else f"the result of {function}"


def _inputs(sizes: Sequence[int]) -> str:
    return f"{_times(sizes)} {'input' if tuple(sizes) == (1,) else 'inputs'}"


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def axes_of(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of an input's places: of (B, C, *S), and of (B, T)."""
    return tuple(shape[2:] or shape[1:])


def gates_see_all(state: State, axes: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether every position of a map sees the input from end to end, with the gates it has."""
    if state.unknown or not any(state.gates):
        return False
    seen = zip(_spans(state, shape), axes, strict=True)
    return all(int(counts.min(initial=n)) == n for counts, n in seen)


def output_size(graph: Graph, states: dict[int, State]) -> tuple[int, ...]:
    """How many inputs the outputs see along each axis; nothing where one of them has places."""
    ends = [
        (value.shape, states[value.number]) for value in graph.outputs if value.number in states
    ]
    reaches = [reach for _, state in ends for reach in state.reaches]
    places = any(reach.dim is not None and not reach.whole for reach in reaches)
    if places or any(state.unknown for _, state in ends):
        return ()
    seen = [[int(counts.max(initial=0)) for counts in _spans(end, shape)] for shape, end in ends]
    return tuple(map(max, zip(*seen, strict=True)))


def _spans(state: State, shape: Sequence[int]) -> list[Positions]:
    """Along each axis, how many inputs each position of a map sees, gates included."""
    axes = zip(state.reaches, state.gates, state.seen, strict=True)
    return [spans(reach, gate, seen, shape) for reach, gate, seen in axes]
