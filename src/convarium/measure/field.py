"""The receptive field of any module: which inputs a position of its last map can depend on.

    module, shape -> graph of operations -> reach of every tensor -> a row a layer, and the whole

Along each axis, position i reads inputs [j i + a, j i + b]; a layer with kernel k, stride s and
padding p, dilation d gives j' = j s, a' = a - j p, b' = b + j (d (k - 1) - p). Where branches meet,
a = min and b = max. The arithmetic is exact, also for transposed convolutions, interpolation, crops
and shapes that change on the way; what cannot be followed is named.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from convarium.errors import OptionError
from convarium.graph import Graph, Value, trace, unwrapped
from convarium.measure import arguments
from convarium.measure.rules.following import batch_shapes, follow_sample
from convarium.measure.rules.reach import spans
from convarium.measure.rules.states import State
from convarium.measure.verdict import axes_of, gates_see_all, output_size, verdict

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
            norm, batch norm in training): inputs from the first to the last, inside the input, at
            the position that has most; so the input's own size where gates see all of it.
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

    def box(self, position: Sequence[int], input_size: Sequence[int]) -> tuple[range, ...]:
        """The inputs of a position, inside an input of that size; of a finer map nearly so."""
        found = []
        axes = zip(self.start, self.stride, self.size, position, input_size, strict=False)
        for start, stride, size, i, n in axes:
            first = math.floor(start + stride * i)
            found.append(range(min(max(first, 0), n), min(max(first + size, 0), n)))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ReceptiveField(Field):
    """The field of a module's last map with places, and of each layer.

    Attributes:
        input_shape: of the whole input.
        rows: a field a layer, in the order of execution.
        gates_see_all: whether, with gates and statistics, every position depends on the first and
            the last input along every axis.
        output_size: inputs along each axis, from the first to the last, that the output depends on
            where it has no places any more, as after a global pool or of the last step alone; empty
            where it has.
    """

    input_shape: tuple[int, ...] = ()
    rows: tuple[Field, ...] = ()
    gates_see_all: bool = False
    output_size: tuple[int, ...] = ()

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

    def at(self, layer: str) -> Field:
        """The field of a layer; of a block that of its last layer, of what has no row its own."""
        inside = (f"{layer}.", f"{layer}:")
        rows = [row for row in self.rows if row.size and f"{row.layer}.".startswith(inside)]
        return rows[-1] if rows else self

    def sentence(self) -> str:
        """The result in words: what a position and the output see, and what widens it in vain."""
        return verdict(self)

    def to_json(self) -> dict[str, Any]:
        """Values for JSON."""
        first = self.covered_by
        beyond = [row.layer for row in self.beyond]
        return {**asdict(self), "covered_by": first and first.layer, "beyond": beyond}

    def _covers(self, row: Field) -> bool:
        return _local(row) and all(map(operator.ge, row.size, axes_of(self.input_shape)))


def receptive_field(
    model: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    training: bool = False,
) -> ReceptiveField:
    """Which inputs a position of the last map can depend on, exactly, for any module.

    The last map is the last one on the way to the output whose positions stand for places: in a
    classifier the one before its global pool or its first dense layer. Nothing is computed, no
    weight is read, and the model is left as it was.

    Args:
        model: any module with one input whose dimensions after the second are places; of ids
            `(B, T)`, after the first.
        input_shape: the whole shape, `(B, C, *S)` or `(B, T)`, also as a list of one.
        training: whether batch norms use the batch's statistics, which makes them gates.

    Raises:
        ShapeError: the model does not take this shape, or it has no places.
        OptionError: what the model does depends on the values of its input, or `training` is asked
            of an exported program, which has no such mode.

    Example:
        >>> from convarium.models import create
        >>> field = receptive_field(create("resnet18"), (1, 3, 224, 224))
        >>> field.layer, field.size, field.stride, field.start, field.status
        ('layer4.1.act2', (435, 435), (32, 32), (-217, -217), 'exact')

    References:
        Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks",
        Distill, doi:10.23915/distill.00021, section 2.
    """
    return field_and_graph(model, input_shape, training=training)[0]


def field_and_graph(
    model: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    training: bool = False,
) -> tuple[ReceptiveField, Graph]:
    """The field, and the graph of the whole batch in which it was found."""
    network, shape = unwrapped(model), arguments.shape(input_shape, 2)
    batch = trace(network, shape, training=training)
    if batch.inputs[0].dtype != torch.int64:  # of numbers that are looked up, (B, T) has places
        arguments.shape(input_shape, 3)
    graph, states = follow_sample(network, batch, training=training)
    shapes = batch_shapes(graph, batch)

    def field_of(name: tuple[str, str], value: Value) -> Field:
        told = shapes.get(value.number, value.shape)
        return _field(name, told, states[value.number], value.shape)

    rows = {value.number: field_of(name, value) for name, value in _rows(graph, states)}
    last = last_map(graph, states)
    whole = rows.get(last.number) or field_of(name_of(graph, states, last), last)
    field = ReceptiveField(
        **vars(whole),
        input_shape=shape,
        rows=tuple(rows.values()),
        gates_see_all=gates_see_all(states[last.number], axes_of(shape), last.shape),
        output_size=output_size(graph, states),
    )
    return field, batch


def _rows(graph: Graph, states: dict[int, State]) -> Iterator[tuple[tuple[str, str], Value]]:
    """Layer, kind and result of each layer, and of each operation that no layer stands for."""
    told: list[tuple[int, tuple[str, str], Value]] = []
    covered: set[int] = set()
    for call in graph.calls:
        inside = range(call.start, call.stop)
        seen = (k for k in inside if graph.operations[k].values)  # no products of constants
        loud = [k for k in seen if graph.operations[k].name not in _QUIET]
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


def last_map(graph: Graph, states: dict[int, State]) -> Value:
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


def name_of(graph: Graph, states: dict[int, State], value: Value) -> tuple[str, str]:
    """Layer and kind of what made a value, as its row has them, or without a row."""
    for name, result in _rows(graph, states):
        if result is value:
            return name
    for operation in graph.operations:
        if any(result is value for result in operation.results):
            return f"{operation.layer}:{operation.name}", operation.name
    return "input", "input"


def _field(
    name: tuple[str, str],
    told: tuple[int, ...],
    state: State,
    shape: Sequence[int],
) -> Field:
    """The field of one value of a shape, under the name of what made it and the shape told."""
    layer, kind = name
    if state.unknown:
        return Field(layer, kind, told, (), (), (), (), (), f"{UNKNOWN}: {state.unknown}")
    sizes = tuple(reach.size for reach in state.reaches)
    first = [reach.first() for reach in state.reaches]
    status = EXACT if state.local else WHOLE
    return Field(
        layer=layer,
        kind=kind,
        shape=told,
        size=sizes,
        stride=tuple(_number(reach.stride) for reach in state.reaches),
        start=tuple(lo for lo, _ in first),
        centre=tuple((lo + hi) / 2 for lo, hi in first),
        size_with_gates=tuple(
            size if gate is None else max(size, int(spans(reach, gate, seen, shape).max(initial=0)))
            for size, reach, gate, seen in zip(
                sizes, state.reaches, state.gates, state.seen, strict=True
            )
        ),
        status=BOUND if (state.bound or state.split - {1}) and state.local else status,
    )


def _local(row: Field) -> bool:
    """Whether positions of a row's map are places of the input, by what is known."""
    return row.status in (EXACT, BOUND)


def _number(stride: Fraction) -> int | float:
    return int(stride) if stride.denominator == 1 else float(stride)
