"""The receptive field of any module: which inputs a position of its last map can depend on.

    module, shape -> graph of operations -> reach of every tensor -> a row a layer, and the whole

Along each axis, position i reads inputs [j i + a, j i + b]; a layer with kernel k, stride s and
padding p, dilation d gives j' = j s, a' = a - j p, b' = b + j (d (k - 1) - p). Where branches meet,
a = min and b = max. The arithmetic is exact, also for transposed convolutions, interpolation, crops
and shapes that change on the way; what cannot be followed is named.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from convarium.errors import OptionError, ShapeError
from convarium.graph import Graph, Value, trace
from convarium.measure.following import follow_graph
from convarium.measure.states import State

EXACT = "exact"
WHOLE = "whole input"
BOUND = "bound"
UNKNOWN = "unknown"

_QUIET = frozenset(
    {"view", "_unsafe_view", "t", "detach", "alias", "clone", "unsqueeze", "squeeze"}
)


@dataclass(frozen=True)
class Field:
    """The field of one map.

    Attributes:
        layer: dotted name of the layer whose result it is; a function called by name is told by
            its operation after a colon.
        kind: class of the layer, or the operation.
        shape: of the map, batch included.
        size: inputs along each axis that a position can depend on, not cut off at the input's
            borders, without gates; empty where nothing is known.
        stride: inputs from one position to the next, on average; below 1 after upsampling.
        start: first input of position 0, negative in the padding.
        centre: middle of the field of position 0.
        size_with_gates: the same with gates and statistics (squeeze-excitation, group and instance
            norm, batch norm in training): the input's own size where these see all of it.
        status: "exact"; "bound": no more than this; "whole input": the map has no places any more;
            "unknown", followed by the operation.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int | float, ...]
    start: tuple[int, ...]
    centre: tuple[float, ...]
    size_with_gates: tuple[int, ...]
    status: str

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ReceptiveField(Field):
    """The field of a module's last map with places, and of each layer.

    Attributes:
        input_shape: of the whole input.
        rows: a field a layer, in the order of execution.
    """

    input_shape: tuple[int, ...] = ()
    rows: tuple[Field, ...] = ()

    @property
    def covered_by(self) -> Field | None:
        """The first layer whose field, without gates, is at least the input along every axis."""
        return next((row for row in self.rows if self._covers(row)), None)

    @property
    def beyond(self) -> tuple[Field, ...]:
        """The layers after `covered_by` that widen the field still, past the input's size.

        Example:
            >>> from convarium.models import create
            >>> field = receptive_field(create("resnet18"), (1, 3, 224, 224))
            >>> field.covered_by.layer, [row.layer for row in field.beyond]
            ('layer4.0.conv1', ['layer4.0.conv2', 'layer4.1.conv1', 'layer4.1.conv2'])
        """
        found: list[Field] = []
        widest: tuple[int, ...] = ()
        for row in self.rows:
            if widest and _local(row) and any(map(operator.gt, row.size, widest)):
                found.append(row)
            if widest or self._covers(row):
                widest = tuple(map(max, row.size, widest or row.size)) if _local(row) else widest
        return tuple(found)

    def sentence(self) -> str:
        """The result in words: what a position sees, and which layers widen it past the input."""
        if self.status.startswith(UNKNOWN):
            return f"The field cannot be followed: {self.status}."
        axes = " x ".join(map(str, self.input_shape[2:]))
        seen = "covers" if self._covers(self) else "does not cover"
        text = f"Each position of {self.layer or 'the output'} sees "
        text += f"{' x '.join(map(str, self.size))} inputs and {seen} the input of {axes}"
        if self.size_with_gates != self.size:
            text += "; through gates or statistics it depends on all of it"
        first, names = self.covered_by, [row.layer for row in self.beyond]
        if first is None:
            return f"{text}."
        text += f". From {first.layer or 'the first layer'} on the field is as large as the input"
        if not names:
            return f"{text}, and no later layer widens it."
        shown = ", ".join(names) if len(names) <= 3 else f"{names[0]} ... {names[-1]}"
        count = "1 later layer widens" if len(names) == 1 else f"{len(names)} later layers widen"
        return f"{text}; {count} it only past the borders: {shown}."

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        first = self.covered_by
        beyond = [row.layer for row in self.beyond]
        return {**asdict(self), "covered_by": first and first.layer, "beyond": beyond}

    def _covers(self, row: Field) -> bool:
        return _local(row) and all(map(operator.ge, row.size, self.input_shape[2:]))


def receptive_field(
    model: nn.Module, input_shape: Sequence[int], *, training: bool = False
) -> ReceptiveField:
    """Which inputs a position of the last map can depend on, exactly, for any module.

    The last map is the last one on the way to the output whose positions stand for places: in a
    classifier the one before its global pool or its first dense layer. Nothing is computed, no
    weight is read, and the model is left as it was.

    Args:
        model: any module with one input whose dimensions after the second are places.
        input_shape: the whole shape, `(B, C, *S)`.
        training: whether batch norms use the batch's statistics, which makes them gates.

    Raises:
        ShapeError: the model does not take this shape, or it has no places.
        OptionError: what the model does depends on the values of its input.

    Example:
        >>> from convarium.models import create
        >>> field = receptive_field(create("resnet18"), (1, 3, 224, 224))
        >>> field.layer, field.size, field.stride, field.start, field.status
        ('layer4.1.act2', (435, 435), (32, 32), (-217, -217), 'exact')

    References:
        Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks",
        Distill, doi:10.23915/distill.00021, section 2.
    """
    try:
        shape = tuple(input_shape)
    except TypeError:
        shape = ()
    if len(shape) < 3 or not all(type(n) is int for n in shape):
        raise ShapeError(
            f"input_shape (={input_shape!r}) must be (B, C, *S) with at least one axis of places."
        )
    graph = _single_sample(model, shape, training)
    states, axes = follow_graph(graph), shape[2:]
    rows = {
        value.number: field_of(*name, value, states, axes) for name, value in _rows(graph, states)
    }
    last = _last_map(graph, states)
    whole = rows.get(last.number) or field_of(*_made_by(graph, last), last, states, axes)
    return ReceptiveField(**vars(whole), input_shape=shape, rows=tuple(rows.values()))


def _single_sample(model: nn.Module, shape: tuple[int, ...], training: bool) -> Graph:
    """Traced with one sample, whose dimension is never mixed up with others, where it can be."""
    try:
        return trace(model, (1, *shape[1:]), training=training)
    except ShapeError:
        if shape[0] == 1:
            raise
        return trace(model, shape, training=training)


def _rows(graph: Graph, states: dict[int, State]) -> Iterator[tuple[tuple[str, str], Value]]:
    """Layer, kind and result of each layer, and of each operation that no layer stands for."""
    told: list[tuple[int, tuple[str, str], Value]] = []
    covered: set[int] = set()
    for call in graph.calls:
        inside = range(call.start, call.stop)
        loud = [k for k in inside if graph.operations[k].name not in _QUIET]
        if not (call.leaf and loud and (call.library or len(loud) == 1)):
            continue
        covered.update(inside)
        known = [value for value in call.results if value.number in states]
        told += [(call.stop, (call.layer, call.kind), value) for value in known[:1]]
    for k, operation in enumerate(graph.operations):
        value = operation.results[0]
        if k in covered or operation.name in _QUIET or value is None:
            continue
        if value.number in states:
            told.append((k + 1, (f"{operation.layer}:{operation.name}", operation.name), value))
    for _, name, value in sorted(told, key=lambda row: row[0]):
        yield name, value


def _last_map(graph: Graph, states: dict[int, State]) -> Value:
    """The last value on the way to the outputs whose positions are places of the input."""
    ends = [states[value.number] for value in graph.outputs if value.number in states]
    if not ends:
        raise OptionError(
            "The model returns no tensor that depends on its input; give one that does."
        )
    known = [value for value in graph.outputs if value.number in states]
    unknown = next((value for value in known if states[value.number].unknown), None)
    partly = [v for v in known if 0 < states[v.number].places < len(states[v.number].reaches)]
    return unknown or (partly or [graph.values[max(state.source for state in ends)]])[-1]


def _made_by(graph: Graph, value: Value) -> tuple[str, str]:
    """Layer and kind of what made a value that has no row."""
    for operation in graph.operations:
        if any(result is value for result in operation.results):
            return f"{operation.layer}:{operation.name}", operation.name
    return "input", "input"


def field_of(
    layer: str, kind: str, value: Value, states: dict[int, State], axes: Sequence[int]
) -> Field:
    """The field of one value, under the name of what made it."""
    state = states[value.number]
    if state.unknown:
        return Field(layer, kind, value.shape, (), (), (), (), (), f"{UNKNOWN}: {state.unknown}")
    sizes = tuple(reach.size for reach in state.reaches)
    first = [reach.first() for reach in state.reaches]
    status = EXACT if state.local else WHOLE
    return Field(
        layer=layer,
        kind=kind,
        shape=value.shape,
        size=sizes,
        stride=tuple(_number(reach.stride) for reach in state.reaches),
        start=tuple(lo for lo, _ in first),
        centre=tuple((lo + hi) / 2 for lo, hi in first),
        size_with_gates=tuple(map(_with_gate, sizes, state.gates, axes)),
        status=BOUND if (state.bound or state.split - {1}) and state.local else status,
    )


def _with_gate(size: int, gate: tuple[int, int] | None, n: int) -> int:
    """A gate that sees all of an axis makes the field as long as the axis at least."""
    if gate is None:
        return size
    first, last = gate
    return max(size, min(last, n - 1) - max(first, 0) + 1)


def _local(row: Field) -> bool:
    """Whether positions of a row's map are places of the input, by what is known."""
    return row.status in (EXACT, BOUND)


def _number(stride: Fraction) -> int | float:
    return int(stride) if stride.denominator == 1 else float(stride)
