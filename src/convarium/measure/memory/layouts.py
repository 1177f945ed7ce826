"""Which values have their dimensions exchanged in memory, as channels last have."""

from __future__ import annotations

from typing import Final

from convarium.graph import Graph, Operation
from convarium.measure.memory.keeps import results_of

EXCHANGES: Final = ("transpose", "permute", "t")
_FOLLOW: Final = {
    *("view", "alias", "detach", "squeeze", "unsqueeze", "slice", "select", "cat"),
    *("native_batch_norm", "convolution", "pixel_shuffle", "constant_pad_nd"),
    *("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d"),
    *("upsample_nearest2d", "upsample_bilinear2d"),
}
_MAP: Final = 4  # dimensions from which on convolutions follow their input


def turned(graph: Graph) -> set[int]:
    """Numbers of the values whose order in memory is not that of their dimensions."""
    found: set[int] = set()
    for operation in graph.operations:
        results = results_of(operation)
        if operation.values and results and _turned(operation, found):
            found.add(results[0].number)
    return found


def turns(operation: Operation) -> bool:
    """Whether it exchanges dimensions of more than one position."""
    given = operation.arguments
    if operation.name == "permute":
        shape = operation.values[0].shape
        long = [d % len(shape) for d in given["dims"] if shape[d] > 1]
        return long != sorted(long)
    if operation.name == "transpose":
        shape = operation.values[0].shape
        return all(shape[given[name]] > 1 for name in ("dim0", "dim1"))
    return operation.name == "t"


def _turned(operation: Operation, before: set[int]) -> bool:
    """Whether its result is, after which values are."""
    first, result = operation.values[0], results_of(operation)[0]
    if operation.name in EXCHANGES:
        return turns(operation) != (first.number in before)
    if operation.pointwise:
        same = (value for value in operation.values if value.shape == result.shape)
        return getattr(next(same, None), "number", -1) in before
    if operation.name == "convolution" and len(result.shape) < _MAP:
        return False
    return operation.name in _FOLLOW and first.number in before
