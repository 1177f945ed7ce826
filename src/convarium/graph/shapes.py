"""Shapes of frequent operations, since torch works them out in Python, a hundred times slower.

Each function takes what the operation takes, on the meta device, and gives what it would give, or
`NotImplemented` to leave it to torch. A test compares them with torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor


def convolution(
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """`floor((n + 2p - d(k - 1) - 1) / s) + 1` positions along each axis."""
    rank = weight.ndim - 2
    fits = input.ndim == rank + 2 and len(stride) == len(padding) == len(dilation) == rank
    if transposed:
        return _transposed(
            func, input, weight, bias, stride, padding, dilation, output_padding, groups
        )
    if not fits or input.shape[1] != weight.shape[1] * groups:
        return NotImplemented  # type: ignore[no-any-return]
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(
            input.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    if min(sizes) < 1:
        return NotImplemented  # type: ignore[no-any-return]
    return torch.empty((input.shape[0], weight.shape[0], *sizes), dtype=input.dtype, device="meta")


def _transposed(func: Any, *given: Any) -> Tensor:
    """As torch has it on the meta device, which gives maps without positions too."""
    *most, output_padding, groups = given
    result: Tensor = func(*most, True, output_padding, groups)
    if not result.numel():
        raise RuntimeError(f"the output of a transposed convolution would be {result.shape[2:]}")
    return result


def batch_norm(func: Any, input: Tensor, weight: Tensor | None, *rest: Any) -> Any:
    """The input's shape, and statistics of the batch only in training."""
    if weight is not None and weight.shape[0] != input.shape[1]:
        return NotImplemented
    channels = input.shape[1] if rest[3] else 0
    statistics = torch.empty(channels, dtype=input.dtype, device="meta")
    return _like(input), statistics, _like(statistics)


def unary(func: Any, input: Tensor, *rest: Any, **more: Any) -> Tensor:
    """The input's shape; in place, the input itself."""
    return input if func._schema.is_mutable else _like(input)


def binary(func: Any, input: Any, other: Any, **more: Any) -> Tensor:
    """The shape of both, broadcast."""
    if not isinstance(input, Tensor) or not input.is_floating_point():
        return NotImplemented  # type: ignore[no-any-return]
    if isinstance(other, Tensor):
        if other.dtype != input.dtype:
            return NotImplemented  # type: ignore[no-any-return]
        shape = broadcast(input.shape, other.shape)
        if shape is None:
            return NotImplemented  # type: ignore[no-any-return]
    else:
        shape = input.shape
    if func._schema.is_mutable:
        return input if shape == input.shape else NotImplemented
    return _like(input) if shape == input.shape else _like(input, shape)


def concatenation(func: Any, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The sum of the sizes along one dimension."""
    first = tensors[0]
    if not -first.ndim <= dim < first.ndim:
        return NotImplemented  # type: ignore[no-any-return]
    dim %= first.ndim
    rest = [[*x.shape[:dim], *x.shape[dim + 1 :]] for x in tensors]
    if any(shape != rest[0] for shape in rest) or any(x.dtype != first.dtype for x in tensors):
        return NotImplemented  # type: ignore[no-any-return]
    total = sum(x.shape[dim] for x in tensors)
    return _like(first, (*first.shape[:dim], total, *first.shape[dim + 1 :]))


def mean(
    func: Any, input: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, **more: Any
) -> Tensor:
    """Without the dimensions that it goes over, or with one position along them."""
    outside = any(not -input.ndim <= n < input.ndim for n in dim or ())
    if more or not dim or outside or not input.is_floating_point():
        return NotImplemented  # type: ignore[no-any-return]
    over = {n % input.ndim for n in dim}
    sizes = [1 if i in over else n for i, n in enumerate(input.shape)]
    kept = sizes if keepdim else [n for i, n in enumerate(sizes) if i not in over]
    return _like(input, kept)


def product(func: Any, left: Tensor, right: Tensor) -> Tensor:
    """A product of matrices, or of two stacks of them."""
    rank = 3 if func._opname == "bmm" else 2
    fits = left.ndim == right.ndim == rank and left.shape[:-2] == right.shape[:-2]
    if not fits or left.shape[-1] != right.shape[-2] or left.dtype != right.dtype:
        return NotImplemented  # type: ignore[no-any-return]
    return _like(left, (*left.shape[:-1], right.shape[-1]))


def linear(func: Any, bias: Tensor, left: Tensor, right: Tensor, **more: Any) -> Tensor:
    """A product of matrices and a bias that is added to each row."""
    shape = torch.Size((left.shape[0], right.shape[1]))
    if more or bias.dtype != left.dtype or broadcast(bias.shape, shape) != shape:
        return NotImplemented  # type: ignore[no-any-return]
    return product(func, left, right)


def layer_norm(func: Any, input: Tensor, shape: Sequence[int], *rest: Any) -> Any:
    """The input's shape, and a mean and a deviation of each of its parts."""
    kept = input.ndim - len(shape)
    sized = all(weight is None or weight.shape == tuple(shape) for weight in rest[:2])
    if tuple(input.shape[kept:]) != tuple(shape) or not sized:
        return NotImplemented
    statistics = _like(input, (*input.shape[:kept], *[1] * len(shape)))
    return _like(input), statistics, _like(statistics)


def max_pool(
    func: Any,
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Any:
    """Maxima and where they are."""
    sizes = pooled(input.shape, kernel_size, stride, padding, dilation, ceil_mode)
    if min(sizes) < 1:
        return NotImplemented
    shape = (*input.shape[: -len(sizes)], *sizes)
    return _like(input, shape), torch.empty(shape, dtype=torch.int64, device="meta")


def avg_pool(
    func: Any,
    input: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    ceil_mode: bool = False,
    *rest: Any,
) -> Tensor:
    """Means over windows."""
    sizes = pooled(input.shape, kernel_size, stride, padding, (1,), ceil_mode)
    if min(sizes) < 1:
        return NotImplemented  # type: ignore[no-any-return]
    return _like(input, (*input.shape[: -len(sizes)], *sizes))


def adaptive(func: Any, input: Tensor, output_size: Sequence[int]) -> Tensor:
    """As many positions as were asked for."""
    return _like(input, (*input.shape[: -len(output_size)], *output_size))


def pooled(
    shape: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> list[int]:
    """Positions after a pool; a last window that begins beyond the input is left out."""
    rank = len(kernel_size)
    stride, padding, dilation = (
        list(given) * (rank // len(given)) for given in (stride or kernel_size, padding, dilation)
    )
    sizes = []
    for n, k, s, p, d in zip(shape[-rank:], kernel_size, stride, padding, dilation, strict=True):
        span = n + 2 * p - d * (k - 1) - 1
        size = (-(-span // s) if ceil_mode else span // s) + 1
        sizes.append(size - 1 if ceil_mode and (size - 1) * s >= n + p else size)
    return sizes


def broadcast(one: Sequence[int], other: Sequence[int]) -> torch.Size | None:
    """The shape of both together, or None where they do not go together."""
    rank = max(len(one), len(other))
    pairs = zip([1] * (rank - len(one)) + [*one], [1] * (rank - len(other)) + [*other], strict=True)
    sizes = [m if n == 1 else n if m in (1, n) else None for m, n in pairs]
    return None if None in sizes else torch.Size(size for size in sizes if size is not None)


def _like(x: Tensor, shape: Sequence[int] | None = None) -> Tensor:
    """`torch.empty` is torch's own; `empty_like` and `new_empty` go through Python."""
    return torch.empty(x.shape if shape is None else shape, dtype=x.dtype, device="meta")


_UNARY: Final = (
    *("relu", "relu_", "silu", "silu_", "gelu", "sigmoid", "sigmoid_", "tanh", "tanh_"),
    *("hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "elu"),
    *("leaky_relu", "leaky_relu_", "elu_"),
)
_BINARY: Final = ("add", "add_", "mul", "mul_", "sub", "div")
SHORT_CUTS: Final[dict[str, Callable[..., Any]]] = {
    "convolution": convolution,
    "native_batch_norm": batch_norm,
    "cat": concatenation,
    "mean": mean,
    "max_pool2d_with_indices": max_pool,
    "max_pool3d_with_indices": max_pool,
    "avg_pool2d": avg_pool,
    "_adaptive_avg_pool2d": adaptive,
    "_adaptive_avg_pool3d": adaptive,
    "mm": product,
    "bmm": product,
    "addmm": linear,
    "native_layer_norm": layer_norm,
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_BINARY, binary),
}
