"""Pools with windows of a size: evenly apart, or at places that are drawn anew each time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from convarium.graph import Operation
from convarium.measure.rules.moves import States, result_of, traced
from convarium.measure.rules.reach import Reach, window
from convarium.measure.rules.sampling import ragged
from convarium.measure.rules.states import State


def pool(operation: Operation, states: States) -> list[State]:
    """A window along each of the last axes, channel by channel."""
    given = operation.arguments
    value = given["self"]
    size = given["kernel_size"]
    stride = given.get("stride") or size
    padding, dilation = given.get("padding", [0]), given.get("dilation", [1])
    first = len(value.shape) - len(size)
    place = [each(x, len(size)) for x in (size, stride, padding, dilation)]

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < first:
            return reach
        numbers = (numbers[reach.dim - first] for numbers in place)
        return window(reach, result_of(operation).shape[reach.dim], *numbers)

    return [states[value.number].each(change)]


def fractional(operation: Operation, states: States) -> list[State]:
    """Windows drawn at random: of k positions, the i-th of m begins next to i (n - k) / (m - 1).

    The first and the last window are fixed; each of the others begins at the whole number below or
    above, by the numbers drawn, so that its field is a bound.
    """
    value, result = traced(operation, states), result_of(operation)
    size = operation.arguments["kernel_size"]
    first = len(value.shape) - len(size)
    state, drawn = states[value.number], False
    for dim, k in zip(range(first, len(value.shape)), size, strict=True):
        n, m = value.shape[dim], result.shape[dim]
        step = Fraction(n - k, max(m - 1, 1))
        drawn = drawn or step.denominator > 1
        state = state.each(_drawn(dim, m, k, step) if m > 1 else _last(dim, n - k, k))
    return [replace(state, bound=state.bound or drawn)]


def _drawn(dim: int, m: int, size: int, step: Fraction) -> Callable[[Reach], Reach]:
    """Windows that begin at either side of the multiples of a step."""
    starts = [step * i for i in range(m)]
    sources = [[*range(math.floor(at), math.ceil(at) + size)] for at in starts]
    taps = ragged(sources, m, round(step * m))

    def change(reach: Reach) -> Reach:
        if reach.dim != dim:
            return reach
        return window(reach, m, size, int(step)) if step == int(step) else taps.after(reach, m)

    return change


def _last(dim: int, start: int, size: int) -> Callable[[Reach], Reach]:
    """The one window that ends where the map does."""
    return lambda reach: window(reach, 1, size, 1, -start) if reach.dim == dim else reach


def each(numbers: Sequence[int] | int, rank: int) -> list[int]:
    """One number an axis, where one was given for all."""
    numbers = [numbers] if isinstance(numbers, int) else list(numbers)
    return numbers * (rank // len(numbers))
