"""The sparse matrix of a convolution, written straight into its three arrays.

    rows (c', *o): for each filter, for each output position
    columns (c, *i): for each channel, for each input position

Along each axis, a table says which input positions an output position reads and with which tap. A
row's entries are all combinations of its axes' entries, for each channel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError, import_extra
from convarium.measure.linear_map import LinearMap

if TYPE_CHECKING:
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

Integers = NDArray[np.int64]

_MOST: Final = 2**31 - 1  # what a 32-bit index can number
_CELLS: Final = 2**18  # entries of one filter that are worked on at a time


def matrix_of(linear: LinearMap) -> csr_array:
    """The matrix of a linear map that has been read already; see `conv_matrix`.

    All rows of one filter stand together, and another filter's rows differ only in the values and,
    in another group, by a constant in the columns. So the places are found once, in pieces.
    """
    sparse: Any = import_extra("scipy.sparse", "measure")
    _check_entries(linear)
    axes = [_axis(linear, number) for number in range(len(linear.stride))]
    weight = _rows(linear, axes)
    filters, channels = weight.shape[:2]
    kernels = weight.reshape(filters, -1)
    counts = np.full(1, channels)
    for axis in axes:
        counts = np.multiply.outer(counts, axis.counts).ravel()
    ends = np.cumsum(counts)
    indptr = np.zeros(filters * len(counts) + 1, np.int32)
    np.cumsum(np.tile(counts.astype(np.int32), filters), out=indptr[1:])
    data = np.empty((filters, ends[-1]), weight.dtype)
    groups, inputs = linear.groups, math.prod(linear.input_shape[1:])
    indices = np.empty((groups, filters // groups, ends[-1]), np.int32)
    step = max(_CELLS // (channels * math.prod(axis.source.shape[1] for axis in axes)), 1)
    for first in range(0, len(counts), step):
        rows = np.arange(first, min(first + step, len(counts)))
        columns, taps = _places(axes, rows, channels)
        part = slice(int(ends[rows[0]] - counts[rows[0]]), int(ends[rows[-1]]))
        for group in range(groups):
            np.add(columns, np.int32(group * channels * inputs), out=indices[group, :, part])
        for kernel, values in zip(kernels, data, strict=True):
            np.take(kernel, taps, out=values[part], mode="clip")
    matrix = sparse.csr_array((data.ravel(), indices.ravel(), indptr), shape=linear.matrix_shape)
    matrix.has_canonical_format = True
    return matrix


def _check_entries(linear: LinearMap) -> None:
    """Refuse a matrix that 32-bit indices cannot number, before anything is allocated."""
    entries = math.prod(linear.weight.shape[:2])
    every = zip(
        linear.coarse, linear.fine, linear.kernel_size, linear.stride, linear.dilation, strict=True
    )
    for (coarse, fine, k, s, d), (left, _) in zip(every, linear.sides, strict=True):
        start = np.arange(k) * d - left
        low = np.maximum(-(start // s), 0)
        high = np.minimum((fine - 1 - start) // s, coarse - 1)
        inside = int(np.maximum(high - low + 1, 0).sum())
        entries *= inside if linear.mode == "zeros" else coarse * k
    rows, columns = linear.matrix_shape
    if max(rows, columns, entries) > _MOST:
        raise OptionError(
            f"input_shape (={linear.input_shape}) gives a matrix of {rows} x {columns} with about "
            f"{entries} entries, {entries * 8 / 2**30:.0f} GiB, more than 32-bit indices can "
            "number; take a smaller one, or operator_norm, which builds no matrix."
        )


def _places(
    axes: Sequence[_Axis], rows: Integers, channels: int
) -> tuple[NDArray[np.int32], Integers]:
    """Column and weight of every entry of some rows of the first filter, in the order of CSR.

    Both are sums over the axes, (rows, C / groups, J of axis 1, J of axis 2, ...).
    """
    rank = len(axes)
    inputs, weights = math.prod(axis.size for axis in axes), math.prod(axis.width for axis in axes)
    by_channel = np.arange(channels).reshape(1, channels, *(1,) * rank)
    columns = (by_channel * inputs).astype(np.int32)
    taps, inside = by_channel * weights, np.ones((1,) * (rank + 2), bool)
    places = np.unravel_index(rows, [len(axis.counts) for axis in axes])
    for number, (axis, place) in enumerate(zip(axes, places, strict=True)):
        inputs, weights = inputs // axis.size, weights // axis.width
        shape = (len(rows), *(1,) * (number + 1), -1, *(1,) * (rank - number - 1))
        source = axis.source[place].reshape(shape)
        columns = columns + (source * inputs).astype(np.int32)
        taps = taps + (axis.taps[place] * weights).reshape(shape)
        inside = inside & (source >= 0)
    if inside.all():
        return columns.ravel(), taps.ravel()
    inside = np.broadcast_to(inside, columns.shape)
    return columns[inside], taps[inside]


@dataclass(frozen=True, eq=False)
class _Axis:
    """Which input positions the output positions of one axis read, and with which weights.

    Attributes:
        size: S, input positions.
        width: weights to choose from: the taps, and the sums behind them.
        source: (S', J) input positions in rising order; -1 behind the last.
        taps: (S', J) the weight for each: a tap, or from K on a sum of taps.
        counts: (S',) input positions read.
        members: the taps of all sums, sum by sum.
        starts: where each sum begins in `members`.
    """

    size: int
    width: int
    source: Integers
    taps: Integers
    counts: Integers
    members: Integers
    starts: Integers


def _axis(linear: LinearMap, number: int) -> _Axis:
    """The table of one axis."""
    k = linear.kernel_size[number]
    size, n = linear.output_shape[number + 1], linear.input_shape[number + 1]
    places, taps = _meetings(linear, number)
    order = np.argsort(places, kind="stable")
    places, taps = places[order], taps[order]
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    lengths = np.diff(starts, append=len(places))
    several = lengths > 1
    members = taps[np.repeat(several, lengths)]
    places, taps = places[starts], taps[starts]
    taps[several] = k + np.arange(np.count_nonzero(several))
    out, source = np.divmod(places, n)
    counts = np.bincount(out, minlength=size)
    slots = np.arange(len(out)) - (np.cumsum(counts) - counts)[out]
    table = np.full((2, size, max(int(counts.max()), 1)), -1)
    table[:, out, slots] = source, taps
    return _Axis(
        size=n,
        width=k + int(np.count_nonzero(several)),
        source=table[0],
        taps=table[1],
        counts=counts,
        members=members,
        starts=np.cumsum(lengths[several]) - lengths[several],
    )


def _meetings(linear: LinearMap, number: int) -> tuple[Integers, Integers]:
    """Place and tap of every product along one axis; the place is output x S + input position."""
    n, step = linear.fine[number], linear.dilation[number]
    coarse = np.arange(linear.coarse[number])[:, None]
    taps = np.arange(linear.kernel_size[number])
    fine = coarse * linear.stride[number] + (taps * step - linear.sides[number][0])
    if linear.mode == "circular":
        fine %= n
    elif linear.mode == "replicate":
        fine = fine.clip(0, n - 1)
    elif linear.mode == "reflect":
        fine = (n - 1) - abs((n - 1) - abs(fine))
    inside = (fine >= 0) & (fine < n)
    places = fine * len(coarse) + coarse if linear.transposed else coarse * n + fine
    return places[inside], np.broadcast_to(taps, fine.shape)[inside]


def _rows(linear: LinearMap, axes: Sequence[_Axis]) -> NDArray[Any]:
    """The weights by output channel, (C', C / groups, *T): the taps, and sums of taps behind."""
    weight: NDArray[Any] = linear.weight.numpy()
    if linear.transposed:
        blocks = weight.reshape(linear.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        weight = blocks.reshape(linear.output_shape[0], -1, *linear.kernel_size)
    for number, axis in enumerate(axes, 2):
        if len(axis.starts):
            sums = np.add.reduceat(weight.take(axis.members, number), axis.starts, number)
            weight = np.concatenate([weight, sums], number)
    return weight
