"""Writes into a part of a tensor, as operations on the whole; other views of it, taken again.

    y[..., 1:-1] = z    slice of y, copy_ of z into it  ->  y with z in its place, a new value

What reads y or an older view of it afterwards reads the new value, or a view of that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from convarium.graph import Call, Graph, Operation, Value
from convarium.graph.nested import replaced
from convarium.measure.rules.boxes import Box, box, layout, plain

MOVES: Final = frozenset({"transpose_", "t_", "squeeze_", "unsqueeze_"})  # they change no element


def without_writes(graph: Graph) -> Graph:
    """The same graph, where no operation changes what another value holds.

    Operations named "write" put a part into a whole: `self` the whole, absent before any input
    reaches it, `src` the part, and `box`, where that lies; those named "part" read such a box.
    """
    if not any(operation.writes and operation.name not in MOVES for operation in graph.operations):
        return graph
    return _Rewriting(graph).graph()


@dataclass
class _Memory:
    """A memory that was written into.

    Attributes:
        whole: the largest value in it.
        now: what it holds at present; None while nothing that depends on the input.
        last: the last operation that wrote into it.
        parts: each value that was written, and where, if that is a box.
        lost: the operation that nobody can say the place of; empty if there is none.
    """

    whole: Value
    now: Value | None
    last: Operation
    parts: list[tuple[Value, Box | None]] = field(default_factory=list)
    lost: str = ""


class _Rewriting:
    """One pass through a graph."""

    def __init__(self, graph: Graph) -> None:
        self.before = graph
        self.values = [*graph.values]
        self.operations: list[Operation] = []
        self.makers: dict[int, Operation | None] = {v.number: None for v in graph.inputs}
        self.memories: dict[int, _Memory] = {}
        self.renewed: dict[tuple[int, int], Value] = {}
        self.wholes = _wholes(graph)

    def graph(self) -> Graph:
        """The graph, its operations and calls counted anew where some were added."""
        places: list[int] = []
        calls: list[Call] = []
        ended = iter([*self.before.calls, None])
        call = next(ended)
        for k, operation in enumerate([*self.before.operations, None]):
            while call is not None and call.stop <= k:
                calls.append(replace(call, results=tuple(map(self.present, call.results))))
                call = next(ended)
            places.append(len(self.operations))
            if operation is not None:
                self.run(operation)
        outputs = tuple(map(self.present, self.before.outputs))
        calls = [replace(c, start=places[c.start], stop=places[c.stop]) for c in calls]
        return replace(
            self.before,
            outputs=outputs,
            operations=tuple(self.operations),
            calls=tuple(calls),
            values=tuple(self.values),
        )

    def run(self, operation: Operation) -> None:
        """Note an operation on what its arguments hold at present."""
        values = [value for value in operation.values if value.memory in self.memories]
        changed = self.with_arguments(operation, {value: self.present(value) for value in values})
        self.operations.append(replace(changed, writes=operation.name in MOVES))
        self.makers.update((v.number, operation) for v in operation.results if v is not None)
        result = operation.results[0]
        if operation.writes and operation.name not in MOVES and result is not None:
            self.write(operation, result)

    def with_arguments(self, operation: Operation, by: Mapping[Value, Value]) -> Operation:
        """With other values for some of its arguments."""
        if all(old is new for old, new in by.items()):
            return operation
        arguments = {
            key: replaced(x, lambda v: by.get(v, v), Value)
            for key, x in operation.arguments.items()
        }
        return replace(operation, arguments=arguments)

    def write(self, operation: Operation, result: Value) -> None:
        """What the whole holds after an operation wrote `result` into it."""
        whole = self.wholes.get(result.memory, result)
        known = whole if whole.number in self.makers else None
        memory = self.memories.setdefault(result.memory, _Memory(whole, known, operation))
        memory.last = operation
        place = box(whole, result)
        memory.parts.append((result, place))
        if layout(result) == layout(whole):
            memory.now, memory.lost = result, ""
        elif memory.lost:
            return
        elif place is not None:
            given = {"self": memory.now, "src": result, "box": place}
            memory.now = self.add(operation, "write", given, whole)
        elif _dense(result, whole):
            memory.now = self.add(operation, "view", {"self": result}, whole)
        else:
            memory.lost = f"{operation.name} through another view of the same memory"

    def add(self, after: Operation, name: str, given: Mapping[str, Any], like: Value) -> Value:
        """An operation in the place of another one, and its result."""
        value = self.new(like)
        given = {key: x for key, x in given.items() if x is not None}
        self.operations.append(Operation(name, after.layer, after.call, given, (value,)))
        return value

    def new(self, like: Value) -> Value:
        value = replace(like, number=len(self.values))
        self.values.append(value)
        return value

    def present(self, value: Value) -> Value:
        """What stands for a value now, after what was written into its memory."""
        memory = self.memories.get(value.memory)
        if memory is None or not self.stale(value, memory):
            return value
        key = value.number, len(memory.parts)
        if key not in self.renewed:
            self.renewed[key] = self.again(value, memory)
        return self.renewed[key]

    def stale(self, value: Value, memory: _Memory) -> bool:
        """Whether something else was written into its place since it was made."""
        if value.number not in self.makers:
            return True
        later = [b for written, b in memory.parts if written.number > value.number]
        place = box(memory.whole, value) if later else None
        return any(place is None or b is None or not place.apart(b) for b in later)

    def again(self, value: Value, memory: _Memory) -> Value:
        """The same view of what the memory holds now."""
        maker = self.makers.get(value.number)
        if layout(value) == layout(memory.whole) and memory.now is not None and not memory.lost:
            return memory.now
        parents = () if maker is None else (v for v in maker.values if v.memory == value.memory)
        parent = next(iter(parents), None)
        if not memory.lost and maker is None and (place := box(memory.whole, value)) is not None:
            return self.add(memory.last, "part", {"self": memory.now, "box": place}, value)
        if maker is None or parent is None or memory.lost:
            return self.unknown(value, memory)
        if layout(parent) == layout(value):  # it was changed in place
            return self.present(parent)
        results = tuple(None if x is None else self.new(x) for x in maker.results)
        changed = self.with_arguments(maker, {parent: self.present(parent)})
        self.operations.append(replace(changed, results=results))
        pairs = zip(maker.results, results, strict=True)
        return next(new for old, new in pairs if old is value and new is not None)

    def unknown(self, value: Value, memory: _Memory) -> Value:
        """A value that nobody can tell the contents of."""
        parts = [written for written, _ in memory.parts]
        told = memory.lost or f"{memory.last.name} through another view of the same memory"
        return self.add(memory.last, told, {"self": value, "parts": parts}, value)


def _wholes(graph: Graph) -> dict[int, Value]:
    """The largest value in each memory that is written into."""
    written = {o.results[0].memory for o in graph.operations if o.writes and o.results[0]}
    found: dict[int, Value] = {}
    for value in graph.values:
        if value.memory in written and plain(value):
            known = found.setdefault(value.memory, value)
            if math.prod(value.shape) > math.prod(known.shape):
                found[value.memory] = value
    return found


def _dense(one: Value, other: Value) -> bool:
    """Whether both are the same elements, the last dimension first in memory, without gaps."""
    for value in (one, other):
        length = 1
        for step, n in zip(reversed(value.steps), reversed(value.shape), strict=True):
            if n > 1 and step != length:
                return False
            length *= n
    return one.span == other.span
