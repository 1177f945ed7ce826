"""The most memory that a graph of operations needs at once, worked out from when tensors die.

without gradients      a tensor lives until its last use
with gradients         also what an operation keeps for its backward pass
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Final

from convarium.graph import Graph, Operation, Value

# What torch's operations keep for their gradient: their first argument, their result, or both.
_KEEP_RESULT: Final = (
    *("relu", "relu_", "sigmoid", "sigmoid_", "tanh", "tanh_", "_softmax", "_log_softmax"),
    *("exp", "sqrt", "rsqrt"),
)
_KEEP_INPUT: Final = (
    *("silu", "silu_", "gelu", "elu", "leaky_relu", "softplus", "_prelu_kernel", "clamp"),
    *("hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_"),
    *("native_batch_norm", "native_layer_norm", "native_group_norm", "avg_pool2d", "avg_pool3d"),
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d"),
    *("pow", "abs", "log"),
)
_KEEP_ALL: Final = ("convolution", "mm", "addmm", "bmm", "baddbmm", "mul", "mul_", "div", "div_")
Line = tuple[int, int]


def forward_peak(graph: Graph) -> int:
    """Bytes of the tensors that are alive at once, at most, when no gradient is wanted."""
    return _peak(graph, _last_uses(graph))


def training_peak(graph: Graph, trained: int) -> list[Line]:
    """Bytes at once in a forward and backward pass, as candidates for the most.

    The backward pass takes what was kept back to front: at each operation there are the gradients
    of its results and arguments, the gradients of the weights behind it, and what is still kept.

    Args:
        graph: of the forward pass.
        trained: bytes of the trainable parameters, and so of their gradients.

    Returns:
        Pairs of what does not grow with the batch, and what the batch takes; the peak is the
        largest sum. Those that can never be it are left out.
    """
    end = len(graph.operations)
    kept = _kept(graph)
    lasts = {m: end if m in kept else n for m, n in _last_uses(graph).items()}
    sizes, first = _sizes(graph), _first_uses(graph)
    remaining = sum(sizes[memory] for memory in kept)
    found, gradients = [(0, _peak(graph, lasts)), (trained, 0)], 0
    weights = [_weight_bytes(operation) for operation in graph.operations]
    scale = trained / max(sum(weights), 1)
    freed: dict[int, int] = {}
    for memory in kept:
        n = first.get(memory, 0)
        freed[n] = freed.get(n, 0) + sizes[memory]
    for n in range(end - 1, -1, -1):
        gradients += round(weights[n] * scale)
        flowing = sum(value.bytes for value in _tensors(graph.operations[n]))
        found.append((gradients, remaining + flowing))
        remaining -= freed.get(n, 0)
    return _largest(found)


def _largest(lines: Iterable[Line]) -> list[Line]:
    """Without those that another one is never below."""
    kept: list[Line] = []
    for line in sorted(set(lines), reverse=True):
        if not kept or line[1] > kept[-1][1]:
            kept.append(line)
    return kept


def _first_uses(graph: Graph) -> dict[int, int]:
    """By memory, the first operation that reads or writes it."""
    first: dict[int, int] = {}
    for n, operation in enumerate(graph.operations):
        for memory in _memories(operation):
            first.setdefault(memory, n)
    return first


def _last_uses(graph: Graph) -> dict[int, int]:
    """By memory, the last operation that reads or writes it; outputs live to the end."""
    last = dict.fromkeys((value.memory for value in graph.inputs), 0)
    for n, operation in enumerate(graph.operations):
        last.update(dict.fromkeys(_memories(operation), n))
    for call in graph.calls:  # whoever calls a module holds on to what it gave it
        for value in call.arguments:
            last[value.memory] = max(last[value.memory], call.stop - 1)
    end = len(graph.operations)
    last.update(dict.fromkeys((v.memory for v in (*graph.inputs, *graph.outputs)), end))
    return last


def _peak(graph: Graph, last: dict[int, int]) -> int:
    sizes = _sizes(graph)
    ends: dict[int, list[int]] = {}
    for memory, n in last.items():
        ends.setdefault(n, []).append(memory)
    alive = {value.memory for value in graph.inputs}
    now = most = sum(sizes[memory] for memory in alive)
    for n, operation in enumerate(graph.operations):
        new = {v.memory for v in operation.results if v is not None} - alive
        alive |= new
        now += sum(sizes[memory] for memory in new)
        most = max(most, now)
        for memory in ends.get(n, []):
            if memory in alive:
                alive.remove(memory)
                now -= sizes[memory]
    return most


def _kept(graph: Graph) -> set[int]:
    """Memory that the backward pass needs."""
    kept: set[int] = set()
    for operation in graph.operations:
        name = operation.name
        if name in _KEEP_ALL:
            kept.update(value.memory for value in operation.values)
        if name in _KEEP_INPUT:
            kept.update(value.memory for value in operation.values[:1])
        if name in _KEEP_RESULT or "with_indices" in name or name.startswith("native_"):
            results = operation.results if name in _KEEP_RESULT else operation.results[1:]
            kept.update(v.memory for v in results if v is not None)
    return kept


def _sizes(graph: Graph) -> dict[int, int]:
    """Bytes of each memory: those of the first value in it.

    The statistics of a batch norm, two numbers a channel, count for nothing: all else grows with
    the batch.
    """
    norms = (op for op in graph.operations if "batch_norm" in op.name)
    sizes = {value.memory: 0 for op in norms for value in op.results[1:] if value is not None}
    for value in graph.values:
        sizes.setdefault(value.memory, value.bytes)
    return sizes


def _memories(operation: Operation) -> Iterator[int]:
    for value in (*operation.values, *operation.results):
        if value is not None:
            yield value.memory


def _tensors(operation: Operation) -> list[Value]:
    """Its results and arguments, each memory once: the gradients that flow through it."""
    found = {v.memory: v for v in (*operation.results[:1], *operation.values) if v is not None}
    return [value for value in found.values() if value.dtype.is_floating_point]


def _weight_bytes(operation: Operation) -> int:
    """Of the constant tensors among its arguments."""
    tensors = [x for x in operation.arguments.values() if hasattr(x, "nbytes")]
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in tensors)
