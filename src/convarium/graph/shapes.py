"""Shapes of frequent operations, since torch works them out in Python, a hundred times slower.

Each function takes what the operation takes, on the meta device, and gives what it would give, or
`NotImplemented` to leave it to torch. It raises for what torch refuses everywhere but on the meta
device. A test compares them with torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from convarium.graph.meta import FLOATS, alike, dense, made, refuse, usual

_NOT_WHOLE: Final = frozenset({"silu", "gelu", "hardswish", "hardsigmoid"})
_NOT_COMPLEX: Final = _NOT_WHOLE - {"silu"} | {"relu", "hardtanh", "elu", "leaky_relu"}


def convolution(
    func: Any, input: Tensor, weight: Tensor, bias: Tensor | None, *given: Any
) -> Tensor:
    """`floor((n + 2p - d(k - 1) - 1) / s) + 1` positions, or transposed, the n it comes from."""
    stride, padding, dilation, transposed, output_padding, groups = given
    axes = [_each(x, weight.ndim - 2) for x in (stride, padding, dilation, output_padding)]
    sizes = None
    if None not in axes and _channels_fit(input, weight, bias, transposed, groups):
        sizes = _positions(input.shape[2:], weight.shape[2:], axes, transposed)
    if sizes is None:
        return refuse(func, input, weight, bias, *given)  # type: ignore[no-any-return]
    channels = groups * weight.shape[1] if transposed else weight.shape[0]
    return made((input.shape[0], channels, *sizes), input.dtype, input, weight)


def _channels_fit(
    input: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool, groups: int
) -> bool:
    """Whether channels, types and groups of a convolution go together."""
    if input.ndim != weight.ndim or input.ndim < 3 or input.dtype != weight.dtype or groups < 1:
        return False
    rows, columns = weight.shape[:2]
    if rows % groups or rows < groups:
        return False
    channels, biases = (rows, columns * groups) if transposed else (columns * groups, rows)
    fits = bias is None or (bias.shape == (biases,) and bias.dtype == input.dtype)
    return fits and input.shape[1] == channels


def _positions(
    shape: Sequence[int], kernel: Sequence[int], axes: Any, transposed: bool
) -> list[int] | None:
    """Along each axis of the result, or None where there are none."""
    sizes = []
    for n, k, s, p, d, o in zip(shape, kernel, *axes, strict=True):
        if min(k, s, d) < 1 or p < 0 or (transposed and not 0 <= o < max(s, d)):
            return None
        span = d * (k - 1) + 1
        sizes.append((n - 1) * s - 2 * p + span + o if transposed else (n + 2 * p - span) // s + 1)
    return sizes if min(sizes) > 0 else None


def batch_norm(func: Any, input: Tensor, *rest: Any) -> Any:
    """The input's shape, and statistics of the batch only in training."""
    weights, training = rest[:4], rest[4]
    known = sum(x is not None for x in rest[2:4])  # of the running mean and variance
    fits = input.ndim >= 2 and _of_kind(weights, (input.shape[1],), input.dtype)
    if not fits or known == 1 or known < (not training):
        return refuse(func, input, *rest)
    shapes = [(input.shape[1] if training else 0,)] * 2
    return made(input.shape, input.dtype, input), *(made(x, input.dtype) for x in shapes)


def layer_norm(func: Any, input: Tensor, shape: Sequence[int], *rest: Any) -> Any:
    """The input's shape, and a mean and a deviation of each of its parts."""
    sizes, kept = tuple(shape), input.ndim - len(shape)
    if not sizes or tuple(input.shape[kept:]) != sizes:
        return NotImplemented
    if not _of_kind(rest[:2], sizes, input.dtype):
        return refuse(func, input, shape, *rest)
    statistics = (*input.shape[:kept], *[1] * len(sizes))
    return tuple(made(x, input.dtype) for x in (input.shape, statistics, statistics))


def _of_kind(weights: Sequence[Tensor | None], shape: tuple[int, ...], dtype: torch.dtype) -> bool:
    """Whether the weights of a normalisation have a shape, and a type that goes with the input."""
    given = [weight for weight in weights if weight is not None]
    types = {weight.dtype for weight in given}
    narrow = dtype in (torch.float16, torch.bfloat16) and types == {torch.float32}
    fits = types <= {dtype} or narrow
    return dtype in FLOATS and fits and all(weight.shape == shape for weight in given)


def unary(func: Any, input: Tensor, *rest: Any, **more: Any) -> Any:
    """The input's shape and order; in place, the input itself."""
    if dense(input) and more.get("approximate", "none") in ("none", "tanh"):
        return input if func._schema.is_mutable else alike(input)
    name, whole = func._opname.rstrip("_"), not input.dtype.is_complex
    if not input.is_floating_point() and name in (_NOT_WHOLE if whole else _NOT_COMPLEX):
        return refuse(func, input, *rest, **more)
    return _in_place(func, input)


def empty(func: Any, input: Tensor, **more: Any) -> Any:
    """The input's shape and order, if nothing else is said."""
    if not dense(input) or any(x not in (None, torch.preserve_format) for x in more.values()):
        return NotImplemented
    return alike(input)


def binary(func: Any, input: Any, other: Any, **more: Any) -> Any:
    """The shape of both, broadcast, and the order of the first, if it has this shape."""
    if not isinstance(input, Tensor):
        return NotImplemented
    shape: torch.Size | None = input.shape
    if isinstance(other, Tensor):
        shape = broadcast(input.shape, other.shape) if other.dtype == input.dtype else None
    elif type(other) not in (int, float):
        shape = None
    if more or shape is None:
        return _in_place(func, input, other)
    if shape == input.shape and dense(input):
        return input if func._schema.is_mutable else alike(input)
    if func._schema.is_mutable or not usual(input) or not usual(other):
        return _in_place(func, input, other)
    return made(shape, input.dtype)


def _in_place(func: Any, input: Tensor, *others: Any) -> Any:
    """For torch to decide, but for what it writes into, where its meta device takes all."""
    if func._schema.is_mutable:
        repeated = any(n > 1 and s == 0 for n, s in zip(input.shape, input.stride(), strict=True))
        kinds = [torch.result_type(input, other) for other in others]
        if repeated or not all(torch.can_cast(kind, input.dtype) for kind in kinds):
            return refuse(func, input, *others)
    return NotImplemented


def concatenation(func: Any, tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The sum of the sizes along one dimension."""
    first = tensors[0]
    fit = all(x.dtype == first.dtype and usual(x) for x in tensors)
    if not fit or not -first.ndim <= dim < first.ndim:
        return NotImplemented  # type: ignore[no-any-return]
    dim %= first.ndim
    before, after = first.shape[:dim], first.shape[dim + 1 :]
    if any(x.shape[:dim] != before or x.shape[dim + 1 :] != after for x in tensors):
        return NotImplemented  # type: ignore[no-any-return]
    return made((*before, sum(x.shape[dim] for x in tensors), *after), first.dtype)


def mean(
    func: Any, input: Tensor, dim: Sequence[int] | None = None, keepdim: bool = False, **more: Any
) -> Tensor:
    """Without the dimensions that it goes over, or with one position along them."""
    over = {n % input.ndim for n in dim or () if -input.ndim <= n < input.ndim}
    if more or not dim or len(over) < len(dim) or input.dtype not in FLOATS:
        return NotImplemented  # type: ignore[no-any-return]
    sizes = [1 if i in over else n for i, n in enumerate(input.shape)]
    kept = sizes if keepdim else [n for i, n in enumerate(sizes) if i not in over]
    return made(kept, input.dtype)


def product(func: Any, left: Tensor, right: Tensor, *rest: Any) -> Any:
    """A product of matrices, or of two stacks of them."""
    if left.dtype != right.dtype:
        return refuse(func, left, right, *rest)
    rank = 3 if func._opname == "bmm" else 2
    fits = left.ndim == right.ndim == rank and left.dtype in FLOATS
    if rest or not fits or (*left.shape[:-2], left.shape[-1]) != right.shape[:-1]:
        return NotImplemented
    return made((*left.shape[:-1], right.shape[-1]), left.dtype)


def linear(func: Any, bias: Tensor, left: Tensor, right: Tensor, *rest: Any, **more: Any) -> Any:
    """A product of matrices and a bias that is added to each row."""
    shape = torch.Size((left.shape[0], right.shape[-1]))
    fit = bias.dtype == left.dtype == right.dtype
    if not fit or broadcast(bias.shape, shape) != shape:
        return refuse(func, bias, left, right, *rest, **more)
    return product(func, left, right, *rest)


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
    rank = 3 if "3d" in func._opname else 2
    shape = _pooled(input, rank, ceil_mode, kernel_size, stride or kernel_size, padding, dilation)
    if shape is None:
        return NotImplemented
    return made(shape, input.dtype, input), made(shape, torch.int64, input)


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
    rank = 3 if "3d" in func._opname else 2
    shape = _pooled(input, rank, ceil_mode, kernel_size, stride or kernel_size, padding, (1,))
    if shape is None or rest[1:] == (0,):  # what the sums are divided by
        return NotImplemented  # type: ignore[no-any-return]
    if rank == 2:
        return made(shape, input.dtype, input)
    kernel = _each(kernel_size, rank) or ()
    within = all(k <= n for k, n in zip(kernel, input.shape[-rank:], strict=True))
    return made(shape, input.dtype) if within else NotImplemented


def adaptive(func: Any, input: Tensor, output_size: Sequence[int]) -> Tensor:
    """As many positions as were asked for."""
    rank = 3 if "3d" in func._opname else 2
    if input.dtype not in FLOATS:
        return refuse(func, input, output_size)  # type: ignore[no-any-return]
    if not _maps(input, rank) or len(output_size) != rank or min(output_size) < 1:
        return NotImplemented  # type: ignore[no-any-return]
    after = [input] if rank == 2 else []  # three axes have one order only
    return made((*input.shape[:-rank], *output_size), input.dtype, *after)


def _pooled(input: Tensor, rank: int, ceil_mode: bool, *given: Sequence[int]) -> list[int] | None:
    """The shape after a pool; a last window that begins beyond the input is left out."""
    axes: list[Any] = [_each(x, rank) for x in given]
    if None in axes or not _maps(input, rank):
        return None
    sizes = []
    for n, k, s, p, d in zip(input.shape[-rank:], *axes, strict=True):
        if min(k, s, d) < 1 or not 0 <= p <= k // 2:
            return None
        span = n + 2 * p - d * (k - 1) - 1
        size = (-(-span // s) if ceil_mode else span // s) + 1
        sizes.append(size - 1 if ceil_mode and (size - 1) * s >= n + p else size)
    return [*input.shape[:-rank], *sizes] if min(sizes) > 0 else None


def _maps(input: Tensor, rank: int) -> bool:
    """Whether it is maps of some axes, with samples or without."""
    return input.ndim - rank in (1, 2) and 0 not in input.shape and input.dtype in FLOATS


def _each(given: Sequence[int], rank: int) -> Sequence[int] | None:
    """One number an axis, where one was given for all, or one each."""
    if len(given) == rank:
        return given
    return [*given] * rank if len(given) == 1 else None


def broadcast(one: Sequence[int], other: Sequence[int]) -> torch.Size | None:
    """The shape of both together, or None where they do not go together."""
    rank = max(len(one), len(other))
    pairs = zip([1] * (rank - len(one)) + [*one], [1] * (rank - len(other)) + [*other], strict=True)
    sizes = [m if n == 1 else n if m in (1, n) else None for m, n in pairs]
    return None if None in sizes else torch.Size(size for size in sizes if size is not None)


_UNARY: Final = (
    *("relu", "relu_", "silu", "silu_", "gelu", "sigmoid", "sigmoid_", "tanh", "tanh_"),
    *("hardtanh", "hardtanh_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "elu"),
    *("leaky_relu", "leaky_relu_", "elu_"),
)
_BINARY: Final = ("add", "add_", "mul", "mul_", "sub", "sub_", "div", "div_", "pow")
SHORT_CUTS: Final[dict[str, Callable[..., Any]]] = {
    "convolution": convolution,
    "native_batch_norm": batch_norm,
    "empty_like": empty,
    "cat": concatenation,
    "mean": mean,
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool3d_with_indices"), max_pool),
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), avg_pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "_adaptive_avg_pool3d"), adaptive),
    **dict.fromkeys(("mm", "bmm"), product),
    "addmm": linear,
    "native_layer_norm": layer_norm,
    **dict.fromkeys(_UNARY, unary),
    **dict.fromkeys(_BINARY, binary),
}
