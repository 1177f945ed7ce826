"""What a traced module did: values, operations, calls of modules, and the graph that holds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch


@dataclass(frozen=True)
class Value:
    """A tensor at one moment; one that is changed in place is another value afterwards.

    Attributes:
        number: its place in `Graph.values`.
        shape: sizes of its dimensions.
        dtype: of its elements.
        memory: the same number for all values that share memory (views, in-place results).
        span: first and last element of that memory that are its own.
        steps: elements of that memory from one position to the next, along each dimension.
    """

    number: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    memory: int
    span: tuple[int, int] = (0, 0)
    steps: tuple[int, ...] = ()

    @cached_property
    def bytes(self) -> int:
        """Of its elements, whether it has memory of its own or not."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Operation:
    """One executed operation.

    Attributes:
        name: the dispatcher's, such as "convolution" or "add".
        layer: dotted name of the module in whose forward it ran; "" is the whole model.
        call: how often that module had been called before.
        arguments: by the names of torch's schema; a `Value` stands for a tensor that depends on the
            input, and the tensor itself for one that does not.
        results: the values it gave, in their order; None for what is no tensor.
        frees: memory that nobody held any more when the next operation began.
    """

    name: str
    layer: str
    call: int
    arguments: Mapping[str, Any]
    results: tuple[Value | None, ...]
    pointwise: bool = False
    writes: bool = False
    frees: list[int] = field(default_factory=list, compare=False)

    @cached_property
    def values(self) -> list[Value]:
        """The arguments that depend on the input, also those in lists."""
        return [*_values(self.arguments.values())]


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        layer: dotted name; "" is the whole model.
        call: how often it had been called before.
        kind: class of the module.
        leaf: whether it has no modules inside.
        library: whether its class is one of torch's own.
        arguments: the values among what it was given; they live until it ends.
        results: the values among what it returned.
        start, stop: `Graph.operations[start:stop]` ran inside.
    """

    layer: str
    call: int
    kind: str
    leaf: bool
    library: bool
    arguments: tuple[Value, ...]
    results: tuple[Value, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Graph:
    """What a module did with an input of one shape.

    Attributes:
        inputs: the values it was given.
        outputs: the values it returned, out of whatever lists or dictionaries they were in.
        operations: in the order of execution.
        calls: of modules, in the order in which they ended.
        values: all values.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    values: tuple[Value, ...]


def _values(arguments: Iterable[Any]) -> Iterator[Value]:
    for argument in arguments:
        if isinstance(argument, Value):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _values(argument)
