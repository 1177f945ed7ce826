"""How each operation changes what a tensor depends on.

A rule takes the operation and the states of its arguments that depend on the input, and gives the
states of its results. Operations without a rule are told by name: what comes after is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure import sampling
from convarium.measure.moves import (
    States,
    concatenate,
    cut,
    dims,
    pad,
    permute,
    rearrange,
    resize,
    result_of,
    shuffle,
    traced,
    view,
    without,
)
from convarium.measure.reach import Reach, fixed, transposed, window
from convarium.measure.states import State, joined

Rule = Callable[[Operation, States], "list[State] | None"]


def follow(operation: Operation, states: States) -> list[State]:
    """The states of an operation's results; unknown where no rule is known."""
    inputs = [states[v.number] for v in operation.values if v.number in states]
    if not inputs:
        return []
    unknown = next((s.unknown for s in inputs if s.unknown), "")
    rule = RULES.get(operation.name) or (combine if operation.pointwise else None)
    found = None
    if not unknown:
        found = None if rule is None else rule(operation, states)
        unknown = operation.name
    if found is None:
        found = [replace(inputs[0], unknown=unknown)]
    return found * len(operation.results) if len(found) == 1 else found


def combine(operation: Operation, states: States) -> list[State]:
    """Position by position, with broadcasting."""
    values = [v for v in operation.values if v.number in states]
    result = result_of(operation).shape
    given = [states[v.number] for v in values]
    if len(values) == 1 and values[0].shape == result:
        return given
    return [joined(given, [v.shape for v in values], result)]


def write(operation: Operation, states: States) -> list[State] | None:
    """Other values in the same place: what was there does not matter."""
    source = operation.arguments["src"]
    if not isinstance(source, Value) or source.number not in states:
        return None
    return [joined([states[source.number]], [source.shape], result_of(operation).shape)]


def convolution(operation: Operation, states: States) -> list[State] | None:
    """A window with gaps along each axis; all channels of a group."""
    given = operation.arguments
    state = states.get(_number(given["input"]))
    if state is None or isinstance(given["weight"], Value):
        return None
    size = given["weight"].shape[2:]
    first = given["input"].ndim - len(size) if isinstance(given["input"], Tensor) else None
    first = len(given["input"].shape) - len(size) if first is None else first
    place = [_each(given[k], len(size)) for k in ("stride", "padding", "dilation")]

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < first:
            return reach
        k = reach.dim - first
        stride, padding, dilation = (numbers[k] for numbers in place)
        if given["transposed"]:
            return transposed(reach, size[k], stride, padding, dilation)
        return window(reach, size[k], stride, padding, dilation)

    state = state.collapsed([first - 1], given["input"].shape)
    mixed = given["groups"] == 1
    return [replace(state.each(change), uneven=state.uneven and not mixed)]


def pool(operation: Operation, states: States) -> list[State]:
    """A window along each of the last axes, channel by channel."""
    given = operation.arguments
    value = given["self"]
    size = given["kernel_size"]
    stride = given.get("stride") or size
    padding, dilation = given.get("padding", [0]), given.get("dilation", [1])
    first = len(value.shape) - len(size)
    place = [_each(x, len(size)) for x in (size, stride, padding, dilation)]

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < first:
            return reach
        return window(reach, *(numbers[reach.dim - first] for numbers in place))

    return [states[value.number].each(change)]


def resample(operation: Operation, states: States) -> list[State] | None:
    """Adaptive pools and interpolation: each position reads some neighbours of its own."""
    value, result = traced(operation, states), result_of(operation)
    taps = sampling.taps(operation, value.shape, result.shape)
    if taps is None:
        return None

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim not in taps:
            return reach
        read = taps[reach.dim]
        if read is sampling.EVERY:
            return replace(fixed(reach, 0, value.shape[reach.dim] - 1), whole=True)
        return read.after(reach)

    return [states[value.number].each(change)]


def reduce(operation: Operation, states: States) -> list[State]:
    """All positions of some dimensions put together."""
    value, result = traced(operation, states), result_of(operation)
    over = dims(operation, len(value.shape))
    state = states[value.number].collapsed(over, value.shape)
    if any(d not in over for d in (0, 1)) and 1 in over:
        state = replace(state, uneven=False)
    return [state if len(result.shape) == len(value.shape) else state.moved(without(over))]


def statistics(operation: Operation, states: States) -> list[State]:
    """Scaled or shifted by what all positions of some dimensions have in common."""
    value = traced(operation, states)
    rank = len(value.shape)
    given = operation.arguments
    if operation.name == "native_layer_norm":
        over: Sequence[int] = range(rank - len(given["normalized_shape"]), rank)
    elif operation.name == "native_group_norm":
        over = range(1, rank)
    elif "batch_norm" in operation.name:
        training = given.get("training", given.get("train", False))
        over = [d for d in range(rank) if d != 1] if training else []
    else:
        over = dims(operation, rank)
    state = states[value.number].gated(over, value.shape)
    return [state, *[state.collapsed(range(rank), value.shape)] * (len(operation.results) - 1)]


def matrix_product(operation: Operation, states: States) -> list[State] | None:
    """Rows of the one with columns of the other: the dimension between them is put together."""
    given = operation.arguments
    left = next(given[key] for key in ("mat1", "batch1", "self") if key in given)
    right = next(given[key] for key in ("mat2", "batch2") if key in given)
    result, found = result_of(operation), []
    for value, inner in ((left, -1), (right, -2)):
        if not isinstance(value, Value) or value.number not in states:
            continue
        rank = len(value.shape)
        state = states[value.number].collapsed([rank + inner], value.shape)
        found.append(replace(state, uneven=False))
    if len(found) == 1:
        return found
    one, other = found
    whole = [a.whole or b.whole for a, b in zip(one.reaches, other.reaches, strict=True)]
    both = joined([one, other], [result.shape] * 2, result.shape)
    dims = [r.dim for r, w in zip(both.reaches, whole, strict=True) if w and r.dim is not None]
    return [replace(both.collapsed(dims, result.shape), bound=True)]


def constant(operation: Operation, states: States) -> list[State]:
    """Made in the shape of a tensor, whatever it holds."""
    return []


def _number(value: Any) -> int:
    return value.number if isinstance(value, Value) else -1


def _each(numbers: Sequence[int] | int, rank: int) -> list[int]:
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    return numbers * (rank // len(numbers))


_TABLE: Final[Mapping[Rule, str]] = {
    convolution: "convolution _convolution",
    pool: "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d",
    resample: """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d
        adaptive_avg_pool1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
        upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d""",
    reduce: """
        mean sum amax amin max min prod std var var_mean std_mean norm linalg_vector_norm argmax
        argmin any all logsumexp median""",
    statistics: """
        native_layer_norm native_group_norm native_batch_norm _native_batch_norm_legit
        _native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update
        cudnn_batch_norm _softmax _log_softmax softmax""",
    matrix_product: "mm bmm addmm baddbmm",
    view: "view _unsafe_view reshape _reshape_alias",
    permute: "permute transpose t numpy_T",
    resize: "unsqueeze squeeze expand",
    cut: "slice select split split_with_sizes unbind chunk narrow",
    concatenate: "cat stack",
    pad: """
        constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
        replication_pad2d replication_pad3d pad_circular""",
    rearrange: "flip roll index index_select",
    shuffle: "pixel_shuffle pixel_unshuffle",
    write: "copy_",
    combine: """
        clone contiguous detach alias _to_copy to lift_fresh native_dropout dropout bernoulli_
        channel_shuffle native_channel_shuffle rsub prelu _prelu_kernel where lerp addcmul addcdiv
        view_as_real glu_ softplus celu_ expand_as feature_dropout alpha_dropout
        hardswish hardswish_ rrelu_with_noise log_sigmoid_forward masked_fill""",
    constant: """
        zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty
        new_full new_empty_strided arange""",
}
RULES: Final[Mapping[str, Rule]] = {
    name: rule for rule, names in _TABLE.items() for name in names.split()
}
