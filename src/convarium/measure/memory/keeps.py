"""What frequent operations keep for their gradient, since torch takes long to say so.

operation, which of its arguments have gradients -> Need

A test compares them with torch; other operations are asked from torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from convarium.graph import Operation, Value
from convarium.graph.nested import flat


@dataclass(frozen=True)
class Need:
    """What the backward pass of an operation needs; places count its tensors, lists flattened.

    Attributes:
        arguments: places of the arguments that are kept.
        results: places of the results that are kept.
        reached: places of the results that have gradients.
        gradients: for each argument with a gradient its place, and the place of the result whose
            gradient it is a view of; None if it is a tensor of its own.
        kept: bytes that are kept beside arguments and results, per byte of these.
        extra: bytes beside the gradients while they are worked out, per byte of both.
    """

    arguments: tuple[int, ...]
    results: tuple[int, ...]
    reached: tuple[int, ...]
    gradients: tuple[tuple[int, int | None], ...]
    kept: float = 0.0
    extra: float = 0.0


Rule = Callable[[Operation, Sequence[bool]], "Need | None"]


def tensors(operation: Operation) -> list[Value | Tensor]:
    """The arguments that are tensors, lists flattened."""
    return flat(operation.arguments.values(), (Value, Tensor))


def results_of(operation: Operation) -> list[Value]:
    """The results that are tensors."""
    return [value for value in operation.results if value is not None]


def bytes_of(x: Value | Tensor) -> int:
    """Of its elements."""
    return x.bytes if isinstance(x, Value) else x.nbytes


def total_of(operation: Operation) -> int:
    """Bytes of arguments and results."""
    return sum(map(bytes_of, (*tensors(operation), *results_of(operation))))


def _need(
    operation: Operation,
    wanted: Sequence[bool],
    arguments: Sequence[int] = (),
    results: Sequence[int] = (),
    shared: bool = False,
    kept: int = 0,
    extra: int = 0,
) -> Need:
    """With gradients of their own, or all of them views of the result's."""
    source = 0 if shared else None
    total = max(total_of(operation), 1) if kept or extra else 1
    return Need(
        tuple(arguments),
        tuple(results),
        (0,),
        tuple((place, source) for place, has in enumerate(wanted) if has),
        kept / total,
        extra / total,
    )


def _fresh(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted)


def _parts(operation: Operation, wanted: Sequence[bool]) -> Need:
    return replace(_need(operation, wanted), reached=tuple(range(len(operation.results))))


def _shared(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted, shared=True)


def _none(operation: Operation, wanted: Sequence[bool]) -> Need:
    return Need((), (), (), ())


def _argument(operation: Operation, wanted: Sequence[bool]) -> Need | None:
    return _need(operation, wanted, [0]) if len(wanted) == 1 else None


def _result(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted, results=[0])


def _copy(operation: Operation, wanted: Sequence[bool]) -> Need:
    """Written over what the gradient needs, which is copied before."""
    return _need(operation, wanted, kept=bytes_of(tensors(operation)[0]))


def _pool(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted, [0], [1])


def _norm(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted, [0], [1, 2])


def _attention(operation: Operation, wanted: Sequence[bool]) -> Need | None:
    return _need(operation, wanted, [0, 1, 2], [0, 1]) if [*wanted] == [True] * 3 else None


def _slope(operation: Operation, wanted: Sequence[bool]) -> Need:
    """A learned slope's gradient is a map before it is summed up."""
    return _need(operation, wanted, [0, 1], extra=wanted[1] * bytes_of(tensors(operation)[0]))


def _lookup(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted, [1])


def _expand(operation: Operation, wanted: Sequence[bool]) -> Need:
    same = operation.values[:1] and operation.values[0].shape == results_of(operation)[0].shape
    return _need(operation, wanted, shared=bool(same))


def _addition(operation: Operation, wanted: Sequence[bool]) -> Need | None:
    """A view for what has the shape of the result; else it is summed up."""
    shape = results_of(operation)[0].shape
    whole = [tuple(x.shape) == shape for x in tensors(operation)]
    negative = len(whole) == 2 and operation.name.startswith("sub")
    scaled = operation.arguments.get("alpha", 1) != 1
    if scaled:
        return None
    found = _need(operation, wanted)
    sources = {0: 0 if whole[0] else None}
    if len(whole) == 2:
        sources[1] = 0 if whole[1] and not negative else None
    gradients = tuple((place, sources[place]) for place, _ in found.gradients)
    summed = negative and wanted[1] and not whole[1]
    return None if summed else Need((), (), found.reached, gradients)


def _multiplication(operation: Operation, wanted: Sequence[bool]) -> Need:
    """Each factor is kept for the other's gradient, which is summed up where it was repeated."""
    given = tensors(operation)
    if len(given) == 1:
        return _need(operation, wanted)
    result = results_of(operation)[0]
    inside = operation.name.endswith("_")
    keeps = [k for k in (0, 1) if wanted[1 - k] and not (inside and k == 0)]
    repeated = any(
        has and tuple(x.shape) != result.shape for has, x in zip(wanted, given, strict=True)
    )
    copied = bytes_of(given[0]) if inside and wanted[1] else 0
    return _need(operation, wanted, keeps, kept=copied, extra=repeated * result.bytes)


def _division(operation: Operation, wanted: Sequence[bool]) -> Need | None:
    if len(wanted) == 1:
        return _need(operation, wanted)
    return None if wanted[1] else _need(operation, wanted, [1])


def _product(operation: Operation, wanted: Sequence[bool]) -> Need:
    """Each of the last two matrices is kept for the other's gradient."""
    first = 0 if operation.name in ("mm", "bmm") else 1
    keeps = [k for k in (first, first + 1) if wanted[2 * first + 1 - k]]
    return _need(operation, wanted, keeps)


def _both(operation: Operation, wanted: Sequence[bool]) -> Need:
    return _need(operation, wanted, [0, 1])


def _all(rule: Rule, *names: str) -> dict[str, Rule]:
    return dict.fromkeys(names, rule)


FREQUENT: Final[dict[str, Rule]] = {
    **_all(_shared, "view", "_unsafe_view", "transpose", "permute", "unsqueeze", "squeeze", "t"),
    **_all(_shared, "alias", "clone", "cat", "stack", "sum", "transpose_"),
    **_all(_fresh, "mean", "constant_pad_nd", "pixel_shuffle", "channel_shuffle", "slice"),
    **_all(_fresh, "select", "roll", "flip", "repeat", "as_strided_"),
    **_all(_fresh, "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    **_all(_fresh, "upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
    **_all(_parts, "split", "unbind", "unsafe_split"),
    **_all(_none, "empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "argmax"),
    **_all(_none, "new_empty", "new_zeros", "new_ones", "new_full", "detach"),
    **_all(_result, "relu", "sigmoid", "tanh", "exp", "_softmax", "_safe_softmax", "_log_softmax"),
    **_all(_result, "relu_", "sigmoid_", "tanh_", "leaky_relu_", "elu_"),
    **_all(_argument, "silu", "gelu", "mish", "elu", "leaky_relu", "softplus", "glu"),
    **_all(_argument, "hardtanh", "hardswish", "hardsigmoid"),
    **_all(_copy, "silu_", "mish_", "hardtanh_", "hardswish_", "hardsigmoid_"),
    **_all(_argument, "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d"),
    **_all(_argument, "reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    **_all(_argument, "replication_pad1d", "replication_pad2d", "replication_pad3d"),
    **_all(_pool, "max_pool2d_with_indices", "max_pool3d_with_indices"),
    **_all(_pool, "adaptive_max_pool2d", "adaptive_max_pool3d"),
    **_all(_norm, "native_batch_norm", "native_layer_norm", "native_group_norm"),
    **_all(_product, "mm", "bmm", "addmm", "baddbmm"),
    **_all(_addition, "add", "add_", "sub"),
    **_all(_multiplication, "mul", "mul_"),
    "convolution": _both,
    "div": _division,
    "expand": _expand,
    "embedding": _lookup,
    "_prelu_kernel": _slope,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
}
