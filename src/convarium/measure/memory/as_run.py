"""A graph with the operations that torch runs on a processor instead of those of the meta device.

There attention keeps no weights, a recurrent layer is one operation or has its gates for all steps
at once, and torch's own transformer layers write over what they need no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import torch
from torch import nn

from convarium.graph import Call, Graph, Operation, Value
from convarium.graph.nested import replaced
from convarium.measure.memory.convolution_sizes import Sizes
from convarium.measure.memory.layouts import channels_last, follows, plain
from convarium.measure.memory.ledger import SAMPLES

_ATTENTION: Final = "_scaled_dot_product_flash_attention_for_cpu"
_COPIES: Final = ("expand", "clone", "view", "_unsafe_view")
_GATES: Final = {"GRU": 3, "RNN": 1}
_VOLUME: Final = 5  # dimensions
_LSTM_TYPES: Final = (torch.float32, torch.bfloat16, torch.float16)


def as_run(
    graph: Graph, modules: Mapping[str, nn.Module], learns: bool
) -> tuple[Graph, dict[int, int]]:
    """The graph for memory, with or without gradients, and memory that lies in other memory.

    Places in its calls are no longer right.
    """
    rewriter = _Rewriter(graph, modules)
    for call in graph.calls:
        rewriter.recurrent(call)
    fast = set() if learns else rewriter.fast_layers()
    for place, operation in enumerate(graph.operations):
        if operation.layer in fast:
            rewriter.in_place(place)
        elif operation.name == "_safe_softmax":
            rewriter.attention(place)
        elif operation.name == "native_group_norm":
            rewriter.norm(place)
        elif operation.name == "convolution":
            rewriter.volume(operation)
    return rewriter.graph(), rewriter.shared


class _Rewriter:
    """Operations by place, of which one may stand for several."""

    def __init__(self, graph: Graph, modules: Mapping[str, nn.Module]) -> None:
        self.given, self.modules = graph, modules
        self.operations: list[Operation | None] = [*graph.operations]
        self.values = [*graph.values]
        self.shared: dict[int, int] = {}
        self.orders: dict[int, bool] = {}  # by number, whether channels come last
        pairs = ((v, k) for k, op in enumerate(graph.operations) for v in op.results)
        self.maker = {value.number: k for value, k in pairs if value is not None}

    def graph(self) -> Graph:
        operations = tuple(operation for operation in self.operations if operation is not None)
        graph = replace(self.given, operations=operations, values=tuple(self.values))
        return _ordered(graph, self.orders) if self.orders else graph

    def recurrent(self, call: Call) -> None:
        """An LSTM as one operation; other recurrent layers with the gates of all steps."""
        module = self.modules[call.layer]
        whole = call.library and call.arguments and call.results and call.stop > call.start
        if not isinstance(module, nn.RNNBase) or not whole or module.proj_size:
            return
        x, result = call.arguments[0], call.results[0]
        if call.kind == "LSTM" and x.dtype in _LSTM_TYPES:
            sizes = [module.hidden_size, module.num_layers, 1 + module.bidirectional]
            arguments = {"input": x, "weights": [*module.parameters()], "sizes": sizes}
            fused = Operation("lstm", call.layer, call.call, arguments, call.results)
            self._put(call.start, call.stop, fused)
        elif call.kind in _GATES:
            positions = result.shape[:-1]
            gates = self._new((*positions, module.hidden_size * _GATES[call.kind]), result.dtype)
            first = self.given.operations[call.start]
            self.operations[call.start] = replace(first, results=(*first.results, gates))
            self._free(call.stop - 1, [gates.memory])

    def attention(self, place: int) -> None:
        """The steps of `scaled_dot_product_attention` as one operation, if it drops nothing."""
        scores = self._back(self.given.operations[place].values[0], ("_unsafe_view", "add"))
        product = self._made(scores)
        if product is None or product.name != "bmm":
            return
        sides = [self._back(value, _COPIES) for value in product.values]
        query, key = (self._made(value) for value in sides)
        if query is None or key is None or {query.name, key.name} != {"mul"}:
            return
        turned = self._made(key.values[0])
        end = self._end(place)
        if turned is None or turned.name != "transpose" or end is None:
            return
        start = self.maker[sides[0].number]
        last = self.given.operations[end - 2]
        value = self._back(last.values[1], _COPIES, start)
        parts = (query.values[0], turned.values[0], value)
        outside = all(self.maker.get(v.number, -1) < start for v in parts)
        if not outside or any(len(v.shape) != 4 for v in parts):
            return
        found = self.given.operations[end - 1]
        kept = self._new(parts[0].shape[:-1], torch.float32)
        arguments = dict(zip(("query", "key", "value"), parts, strict=True))
        results = (*found.results, kept)
        self._put(start, end, Operation(_ATTENTION, found.layer, found.call, arguments, results))

    def norm(self, place: int) -> None:
        """A norm of groups takes channels last, which the meta device puts in order before."""
        operation = self.given.operations[place]
        copy = self._made(operation.values[0])
        if copy is None or copy.name != "clone":
            return
        before, after = copy.values[0], operation.values[0]
        if channels_last(before.shape, before.steps):
            self.shared[after.memory] = before.memory
            self.orders[after.number] = True

    def volume(self, operation: Operation) -> None:
        """Torch's own kernel for volumes does not keep channels last."""
        result = operation.results[0]
        if result is not None and len(result.shape) == _VOLUME:
            last = channels_last(result.shape, result.steps)
            if last and not Sizes(operation).library(SAMPLES[1]):
                self.orders[result.number] = False

    def fast_layers(self) -> set[str]:
        """Attention and its transformer layers that torch runs as one native operation."""
        fast: set[str] = set()
        for call in self.given.calls:
            module = self.modules[call.layer]
            if isinstance(module, nn.MultiheadAttention) and call.library:
                packed = {"in_proj_weight", "in_proj_bias"} <= {
                    n for n, _ in module.named_parameters()
                }
                itself = len({value.number for value in call.arguments[:3]}) == 1
                if module.batch_first and packed and itself and module.num_heads % 2 == 0:
                    fast.add(call.layer)
        above = {name.rpartition(".")[0] for name in fast}
        layers = {n for n in above if isinstance(self.modules[n], nn.TransformerEncoderLayer)}
        return fast | layers

    def in_place(self, place: int) -> None:
        """Softmax and activation write over their argument."""
        operation = self.given.operations[place]
        result = operation.results[0]
        if operation.name in ("_softmax", "_safe_softmax", "relu", "gelu") and result is not None:
            before = operation.values[0].memory
            self.shared[result.memory] = self.shared.get(before, before)

    def _end(self, place: int) -> int | None:
        """Where attention ends whose weights a softmax gives."""
        for k, operation in enumerate(self.given.operations[place + 1 :], place + 1):
            if operation.name == "bmm":
                return k + 2
            if operation.name not in _COPIES:
                return None
        return None

    def _made(self, value: Value) -> Operation | None:
        place = self.maker.get(value.number)
        return None if place is None else self.given.operations[place]

    def _back(self, value: Value, names: tuple[str, ...], start: int = 0) -> Value:
        """The value that some operations were made of, back to a place."""
        made = self._made(value)
        while made is not None and made.name in names and self.maker[value.number] >= start:
            value = made.values[0]
            made = self._made(value)
        return value

    def _put(self, start: int, stop: int, operation: Operation) -> None:
        """One operation instead of several, which frees what these have."""
        several = self.given.operations[start:stop]
        freed = [memory for one in several for memory in one.frees]
        self.operations[start:stop] = [None] * (stop - start)
        self.operations[stop - 1] = replace(operation, frees=freed)

    def _free(self, place: int, memory: list[int]) -> None:
        operation = self.given.operations[place]
        self.operations[place] = replace(operation, frees=[*operation.frees, *memory])

    def _new(self, shape: tuple[int, ...], dtype: torch.dtype) -> Value:
        memory = max((value.memory for value in self.values), default=-1) + 1
        value = Value(len(self.values), shape, dtype, memory)
        self.values.append(value)
        return value


def _ordered(graph: Graph, orders: dict[int, bool]) -> Graph:
    """The graph with other orders of some values, and of those that follow them."""

    def order(value: Value) -> Value:
        last = orders.get(value.number)
        return value if last is None else replace(value, steps=plain(value.shape, last))

    operations = []
    for operation in graph.operations:
        result = operation.results[0]
        copied = operation.name == "clone" and result is not None and result.number in orders
        if result is not None and (copied or operation.name == "cat" or follows(operation)):
            whole = [x for x in operation.values if x.shape == result.shape]
            decide = (
                operation.values if operation.name == "cat" else (whole or operation.values)[:1]
            )
            if any(x.number in orders for x in decide):
                orders[result.number] = all(channels_last(x.shape, order(x).steps) for x in decide)
        given = {key: replaced(x, order, Value) for key, x in operation.arguments.items()}
        results = tuple(None if value is None else order(value) for value in operation.results)
        operations.append(replace(operation, arguments=given, results=results))
    outputs = tuple(map(order, graph.outputs))
    return replace(graph, operations=tuple(operations), outputs=outputs)
