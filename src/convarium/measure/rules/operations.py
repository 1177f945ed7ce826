"""How each operation changes what a tensor depends on.

A rule takes the operation and the states of its arguments that depend on the input, and gives the
states of its results. Operations without a rule are told by name: what comes after is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from convarium.graph import Operation, Value
from convarium.measure.rules import sampling
from convarium.measure.rules.joins import concatenate
from convarium.measure.rules.moves import (
    States,
    copies,
    cut,
    dims,
    pad,
    permute,
    rearrange,
    resize,
    restride,
    result_of,
    rotate,
    traced,
    view,
    without,
)
from convarium.measure.rules.parts import copied, filled, numbered, scattered, taken, written
from convarium.measure.rules.patches import from_channels, shuffle, to_channels, unfold
from convarium.measure.rules.picks import pick
from convarium.measure.rules.pools import each, fractional, pool
from convarium.measure.rules.reach import Reach, fixed, transposed, window
from convarium.measure.rules.states import State, joined

Rule = Callable[[Operation, States], "list[State] | None"]


def follow(operation: Operation, states: States) -> list[State]:
    """The states of an operation's results; unknown where no rule is known."""
    inputs = [states[v.number] for v in operation.values if v.number in states]
    if not inputs:
        return []
    unknown = next((s.unknown for s in inputs if s.unknown), "")
    rule = RULES.get(operation.name) or (combine if operation.pointwise else None)
    if len(inputs) > 1 and operation.name in _ALONE:
        rule = None  # a dynamic weight, bias or index
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
    if operation.name in ("view_as_real", "view_as_complex"):  # a last dimension of two
        return [states[values[0].number]]
    given = [states[v.number] for v in values]
    if len(values) == 1 and values[0].shape == result:
        return given
    return [joined(given, [v.shape for v in values], result)]


def convolution(operation: Operation, states: States) -> list[State] | None:
    """A window with gaps along each axis; all channels of a group."""
    given = operation.arguments
    value = given["input"]
    if not isinstance(value, Value) or isinstance(given["weight"], Value):
        return None
    state, result = states[value.number], result_of(operation).shape
    size = given["weight"].shape[2:]
    first = len(value.shape) - len(size)
    place = [each(given[k], len(size)) for k in ("stride", "padding", "dilation")]

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < first:
            return reach
        k = reach.dim - first
        stride, padding, dilation = (numbers[k] for numbers in place)
        if given["transposed"]:
            return transposed(reach, result[reach.dim], size[k], stride, padding, dilation)
        return window(reach, result[reach.dim], size[k], stride, padding, dilation)

    channels = first - 1
    grouped = given["groups"] > 1 and channels in state.uneven | state.split
    kept = frozenset({channels} if grouped else ())
    state = state.collapsed([channels], value.shape).each(change)
    return [replace(state, uneven=state.uneven | kept)]


def resample(operation: Operation, states: States) -> list[State]:
    """Adaptive pools and interpolation: each position reads some neighbours of its own."""
    value, result = traced(operation, states), result_of(operation)
    taps = sampling.taps(operation, value.shape, result.shape)

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim not in taps:
            return reach
        read = taps[reach.dim]
        if read is sampling.EVERY:
            return replace(fixed(reach, 0, value.shape[reach.dim] - 1), whole=True)
        return read.after(reach, result.shape[reach.dim])

    return [states[value.number].each(change)]


def reduce(operation: Operation, states: States) -> list[State]:
    """All positions of some dimensions put together."""
    value, result = traced(operation, states), result_of(operation)
    over = dims(operation, len(value.shape))
    state = states[value.number].collapsed(over, value.shape)
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


def accumulate(operation: Operation, states: States) -> list[State]:
    """Each position of a dimension put together with all before it."""
    value = traced(operation, states)
    dim = operation.arguments["dim"] % len(value.shape)
    n = value.shape[dim]

    def change(reach: Reach) -> Reach:
        if reach.dim != dim:
            return reach
        lo, hi = reach.at(np.arange(n, dtype=np.int64))
        lo, hi = np.minimum.accumulate(lo), np.maximum.accumulate(hi)
        return replace(reach, lo=lo, hi=hi, jump=round(reach.stride * n), ended=True)

    return [states[value.number].each(change)]


def matrix_product(operation: Operation, states: States) -> list[State] | None:
    """Rows of the one with columns of the other: the dimension between them is put together."""
    given = operation.arguments
    left = next(given[key] for key in ("mat1", "batch1", "self") if key in given)
    right = next(given[key] for key in ("mat2", "batch2") if key in given)
    result, found = result_of(operation).shape, []
    for value, partner, inner in ((left, right, -1), (right, left, -2)):
        if isinstance(value, Value) and value.number in states:
            dim = len(value.shape) + inner
            state = states[value.number].collapsed([dim], value.shape)
            if _several(partner, states, result, inner):
                state = _mixed(states[value.number], state, dim)
            found.append(state)
    if len(found) == 2:
        found = [replace(joined(found, [result] * 2, result, weights=True), bound=True)]
    bias = given["self"]
    if bias is not left and isinstance(bias, Value) and bias.number in states:
        found.append(states[bias.number])
        shapes = [*[result] * (len(found) - 1), bias.shape]
        found = [joined(found, shapes, result)]
    return found


def _several(partner: Any, states: States, result: Sequence[int], dim: int) -> bool:
    """Whether a sum is taken for each of several positions, not for each channel."""
    known = isinstance(partner, Value) and states.get(partner.number)
    if not known:
        return result[dim] > 1
    outer = len(partner.shape) + dim
    return any(r.mixed or r.dim == outer for r in known.reaches)


def _mixed(before: State, after: State, dim: int) -> State:
    """With the reaches that lay along `dim` marked as mixed."""
    pairs = zip(before.reaches, after.reaches, strict=True)
    return replace(
        after, reaches=tuple(replace(b, mixed=True) if a.dim == dim else b for a, b in pairs)
    )


def glu(operation: Operation, states: States) -> list[State] | None:
    """One half of a dimension gates the other."""
    state = states[traced(operation, states).number]
    dim = operation.arguments.get("dim", -1) % len(result_of(operation).shape)
    return None if any(r.dim == dim for r in state.reaches) else [state]


def masked(operation: Operation, states: States) -> list[State]:
    """Numbers in place of some: nobody knows of which."""
    return [replace(states[traced(operation, states).number], bound=True)]


def looked_up(operation: Operation, states: States) -> list[State] | None:
    """Rows of a table, by numbers that depend on the input."""
    index = operation.arguments["indices"]
    known = isinstance(index, Value) and index.number in states
    return [states[index.number]] if known else None


def constant(operation: Operation, states: States) -> list[State]:
    """Made in the shape of a tensor, whatever it holds."""
    return []


_TABLE: Final[Mapping[Rule, str]] = {
    glu: "glu",
    convolution: "convolution _convolution",
    pool: "max_pool2d_with_indices max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d",
    fractional: "fractional_max_pool2d fractional_max_pool3d",
    resample: """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d
        adaptive_avg_pool1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
        _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
        upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
        _upsample_bilinear2d_aa _upsample_bicubic2d_aa""",
    reduce: """
        mean sum amax amin max min prod std var var_mean std_mean norm linalg_vector_norm argmax
        argmin any all logsumexp median""",
    accumulate: "cumsum cumsum_ cumprod cumprod_ cummax cummin logcumsumexp",
    statistics: """
        native_layer_norm native_group_norm native_batch_norm _native_batch_norm_legit
        _native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update
        cudnn_batch_norm _softmax _log_softmax softmax _safe_softmax""",
    matrix_product: "mm bmm addmm baddbmm",
    view: "view _unsafe_view _reshape_alias",
    permute: "permute transpose transpose_ t t_",
    resize: "unsqueeze unsqueeze_ squeeze squeeze_ expand",
    cut: "slice select split unsafe_split split_with_sizes unbind",
    concatenate: "cat stack",
    copies: "repeat",
    filled: "fill_ zero_ fill",
    masked: "masked_fill_ masked_fill",
    looked_up: "embedding",
    pad: """
        constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
        replication_pad2d replication_pad3d pad_circular""",
    rearrange: "flip roll",
    pick: "index _unsafe_index index_select",
    restride: "as_strided_",
    rotate: "rot90",
    shuffle: "pixel_shuffle pixel_unshuffle",
    unfold: "unfold",
    to_channels: "im2col",
    from_channels: "col2im",
    copied: "copy_",
    written: "write",
    taken: "part",
    scattered: "slice_scatter select_scatter",
    numbered: "index_put index_put_ index_copy index_copy_ index_fill index_fill_",
    combine: """
        clone detach alias _to_copy lift_fresh native_dropout bernoulli_
        channel_shuffle rsub _prelu_kernel where lerp addcmul addcdiv
        view_as_real view_as_complex complex softplus celu_
        hardswish hardswish_ rrelu_with_noise log_sigmoid_forward""",
    constant: """
        zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty
        new_full new_empty_strided arange""",
}
_ALONE: Final = frozenset(
    name for rule in (convolution, statistics, pick) for name in _TABLE[rule].split()
)
RULES: Final[Mapping[str, Rule]] = {
    name: rule for rule, names in _TABLE.items() for name in names.split()
}
