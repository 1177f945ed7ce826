"""Tensors without memory: made in the order that torch gives them, and refused where it refuses.

Torch's meta device takes some of what its other devices refuse, and knows no order for the result
of a convolution. The order decides whether a view is possible.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

FLOATS: Final = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.float64})


def refuse(func: Any, *given: Any, **more: Any) -> Any:
    """Torch's answer, which should be an error; if it is none, one that says as much."""
    func(*given, **more)
    told = (f"{[*x.shape]} {x.dtype}" if isinstance(x, Tensor) else str(x) for x in given)
    raise RuntimeError(f"{func._opname} does not take ({', '.join(told)})")


def usual(x: Tensor) -> bool:
    """Whether it holds floating-point numbers, the last axis first in memory, without gaps."""
    return x.dtype in FLOATS and x.stride() == _steps(x.shape)


def dense(x: Tensor) -> bool:
    """Whether it holds floating-point numbers without gaps, in any order."""
    return x.dtype in FLOATS and _without_gaps(x.shape, x.stride())


@functools.lru_cache(maxsize=1024)
def _without_gaps(shape: torch.Size, stride: tuple[int, ...]) -> bool:
    """Whether sorted steps are each as long as all that is within them."""
    length = 1
    for step, n in sorted(zip(stride, shape, strict=True)):
        if n > 1 and step != length:
            return False
        length *= n
    return length > 0


def alike(x: Tensor) -> Tensor:
    """Of the same shape, type and order."""
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")


@functools.lru_cache(maxsize=1024)
def _steps(shape: torch.Size) -> tuple[int, ...]:
    """Of an array whose last axis comes first in memory."""
    steps = [1]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * max(n, 1))
    return tuple(reversed(steps[: len(shape)]))


def made(shape: Sequence[int], dtype: torch.dtype, *after: Tensor) -> Tensor:
    """Channels come first in memory if they do in what it is made after.

    `torch.empty` is torch's own; `empty_like` and `new_empty` go through Python.
    """
    order = torch.contiguous_format
    if any(map(_channels_last, after)):
        order = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=order)


def _channels_last(x: Tensor) -> bool:
    """Whether steps grow from channels over positions to samples, as torch tells it."""
    sizes, steps = x.shape, x.stride()
    if len(sizes) not in (4, 5) or steps == _steps(sizes) or steps[1] == 0:
        return False
    least = 0
    for axis in (1, *range(len(sizes) - 1, 1, -1), 0):
        if steps[axis] < least or sizes[axis] == 0 or (axis == 0 and least == steps[1]):
            return False
        least = steps[axis] * sizes[axis]
    return True
