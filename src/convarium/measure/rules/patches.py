"""Patches of a map as channels and back: unfold, fold, pixel shuffle and its inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from convarium.graph import Operation
from convarium.measure.rules.moves import States, result_of, traced
from convarium.measure.rules.reach import Reach, gathered, transposed, window
from convarium.measure.rules.states import State
from convarium.measure.rules.views import reshaped


def unfold(operation: Operation, states: States) -> list[State]:
    """Windows along one dimension, their positions along a new last one."""
    value, given = traced(operation, states), operation.arguments
    state, last = states[value.number], len(value.shape)
    dim, n = given["dimension"] % last, result_of(operation).shape
    size, step = given["size"], given["step"]
    found = state.each(lambda r: window(r, n[dim], size, step) if r.dim == dim else r)
    if size == 1:
        return [found]
    placed = any(reach.dim == dim for reach in state.reaches)
    split = found.split | {last} if placed or dim in found.split else found.split
    uneven = found.uneven | {last} if dim in found.uneven else found.uneven
    return [replace(found, split=split, uneven=uneven)]


def to_channels(operation: Operation, states: States) -> list[State]:
    """Windows along the last two dimensions as channels, one position each, in one dimension."""
    value, result = traced(operation, states), result_of(operation).shape
    given, first = operation.arguments, len(value.shape) - 2
    kernel = [given[key] for key in ("kernel_size", "stride", "padding", "dilation")]
    counts = _counts(value.shape[first:], *kernel)

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < first:
            return reach
        k = reach.dim - first
        return window(reach, counts[k], *(numbers[k] for numbers in kernel))

    state = states[value.number]
    uneven = state.uneven | {first - 1} if math.prod(kernel[0]) > 1 else state.uneven
    found = replace(state.each(change), uneven=uneven)
    return [reshaped(found, (*result[:-1], *counts), result)]


def from_channels(operation: Operation, states: States) -> list[State]:
    """Channels back to the windows that they stand for, added where windows overlap."""
    value, result = traced(operation, states), result_of(operation).shape
    given, first = operation.arguments, len(value.shape) - 1
    kernel = [given[key] for key in ("kernel_size", "stride", "padding", "dilation")]
    counts = _counts(result[first:], *kernel)
    state = states[value.number].selected(first - 1)
    state = reshaped(state, value.shape, (*value.shape[:-1], *counts))

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < first:
            return reach
        k = reach.dim - first
        return transposed(reach, result[reach.dim], *(numbers[k] for numbers in kernel))

    return [state.each(change)]


def shuffle(operation: Operation, states: States) -> list[State]:
    """Channels become positions (pixel shuffle), or positions channels."""
    value = traced(operation, states)
    factor = operation.arguments.get("upscale_factor", operation.arguments.get("downscale_factor"))
    rank = len(value.shape)

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < rank - 2:
            return reach
        n = result_of(operation).shape[reach.dim]
        if grown:
            return window(reach, n, factor, factor)
        step = Fraction(1, factor)
        return gathered(
            reach, n, lambda i: (i[:, None] // factor, None), factor * len(reach.lo), step
        )

    state, grown = states[value.number], operation.name == "pixel_unshuffle"
    found = state.each(change) if grown else state.selected(rank - 3).each(change)
    return [replace(found, uneven=state.uneven | {rank - 3}) if grown else found]


def _counts(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Windows along each axis of a map of these sizes."""
    numbers = zip(sizes, kernel, stride, padding, dilation, strict=True)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in numbers]
