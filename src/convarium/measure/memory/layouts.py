"""The order of a tensor's positions in memory, since kernels copy what has another one.

Steps are the elements of memory from one position to the next along each dimension; gradients whose
steps are not known have none.
"""

from __future__ import annotations

import functools
import math
from typing import Final

from torch import Tensor

from convarium.graph import Operation, Value

Steps = tuple[int, ...]

_MAP: Final = 4  # dimensions, from which on channels may come last

# whose backward pass copies gradients that have another order than the argument
COPIES: Final = frozenset({
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d", "native_group_norm"),
})  # fmt: skip

# that give the gradient the order of the argument, and those of the gradient of the result
_ARGUMENTS: Final = COPIES | {
    *("relu", "relu_", "leaky_relu", "leaky_relu_", "threshold", "threshold_", "clamp"),
    *("_prelu_kernel", "native_batch_norm", "adaptive_max_pool2d"),
}
_GRADIENTS: Final = frozenset({
    *("constant_pad_nd", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "roll", "flip"),
    *("upsample_nearest2d", "_upsample_nearest_exact2d", "upsample_bilinear2d"),
    *("upsample_trilinear3d", "hardswish", "hardswish_"),
})  # fmt: skip


def steps_of(x: Value | Tensor) -> Steps:
    """Of a tensor."""
    return x.steps if isinstance(x, Value) else x.stride()


@functools.lru_cache(maxsize=1024)
def plain(shape: tuple[int, ...], last: bool = False) -> Steps:
    """Of a tensor in order: the last dimension comes first in memory, or channels do."""
    steps, length = [0] * len(shape), 1
    for axis in _inwards(len(shape), last and len(shape) >= _MAP):
        steps[axis] = length
        length *= max(shape[axis], 1)
    return tuple(steps)


@functools.lru_cache(maxsize=1024)
def in_order(shape: tuple[int, ...], steps: Steps, last: bool = False, one: bool = False) -> bool:
    """Whether a tensor is, or each sample of it is; one sample is taken to stand for several."""
    if len(steps) != len(shape):
        return False
    length = 1
    for axis in _inwards(len(shape), last):
        counts = not one if axis == 0 else shape[axis] > 1
        if counts and steps[axis] != length:
            return False
        length *= shape[axis]
    return True


@functools.lru_cache(maxsize=1024)
def channels_last(shape: tuple[int, ...], steps: Steps) -> bool:
    """Whether steps grow from channels over positions to samples, as torch tells it."""
    if len(shape) < _MAP or len(steps) != len(shape) or steps[1] == 0 or steps == plain(shape):
        return False
    least = 0
    for axis in _inwards(len(shape), True):
        if steps[axis] < least or shape[axis] == 0 or (axis == 0 and least == steps[1]):
            return False
        least = steps[axis] * shape[axis]
    return True


def _inwards(dimensions: int, last: bool) -> list[int]:
    """Dimensions from the first in memory to the last."""
    inner = range(dimensions - 1, 1, -1)
    return [1, *inner, 0] if last else [*range(dimensions - 1, -1, -1)]


def steps_back(operation: Operation, x: Value | Tensor, steps: Steps) -> Steps:
    """Of the gradient of an argument that is a view of the result's."""
    given, shape = operation.arguments, tuple(x.shape)
    result = operation.results[0]
    if result is None or len(steps) != len(result.shape):
        return ()
    if operation.name == "permute":
        dims = [d % len(shape) for d in given["dims"]]
        return tuple(steps[dims.index(d)] for d in range(len(shape)))
    if operation.name in ("transpose", "t"):
        turned, ends = [*steps], (given.get("dim0", 0), given.get("dim1", -1))
        turned[ends[0]], turned[ends[1]] = steps[ends[1]], steps[ends[0]]
        return tuple(turned)
    if len(shape) == len(result.shape) and (shape == result.shape or operation.name == "cat"):
        return steps
    return plain(shape) if in_order(result.shape, steps) else ()


def follows(operation: Operation) -> bool:
    """Whether results have the order of arguments, and gradients one of both."""
    return operation.pointwise or operation.name in _ARGUMENTS or operation.name in _GRADIENTS


def steps_made(operation: Operation, x: Value | Tensor, steps: Steps) -> Steps:
    """Of a new gradient of an argument, after the steps of the gradient of the result."""
    name, shape, result = operation.name, tuple(x.shape), operation.results[0]
    if name == "convolution":
        ends = operation.arguments["input"], operation.arguments["weight"]
        return plain(shape, any(channels_last(tuple(e.shape), steps_of(e)) for e in ends))
    of = shape if name in _ARGUMENTS or result is None else result.shape
    steps = steps_of(x) if name in _ARGUMENTS else steps
    if not follows(operation):
        return plain(shape)
    reach = sum((n - 1) * step for n, step in zip(of, steps, strict=False))
    without_gaps = len(of) == len(steps) and reach == math.prod(of) - 1
    return steps if shape == of and without_gaps else plain(shape, channels_last(of, steps))
