"""Operations that move places without mixing them: views, permutations, cuts, paddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

import numpy as np

from convarium.graph import Operation, Value
from convarium.measure.rules.reach import Positions, Reach, fixed, gathered, listed, window
from convarium.measure.rules.states import State, joined
from convarium.measure.rules.views import reshaped

States = Mapping[int, State]


def view(operation: Operation, states: States) -> list[State]:
    """The same elements under other sizes."""
    value = traced(operation, states)
    return [reshaped(states[value.number], value.shape, result_of(operation).shape)]


def permute(operation: Operation, states: States) -> list[State]:
    """The dimensions in another order."""
    value, given = traced(operation, states), operation.arguments
    rank = len(value.shape)
    order = list(range(rank))
    if operation.name == "permute":
        order = [d % rank for d in given["dims"]]
    elif operation.name in ("t", "t_"):
        order = order[::-1]
    else:
        a, b = given["dim0"] % rank, given["dim1"] % rank
        order[a], order[b] = order[b], order[a]
    return [states[value.number].moved(order.index)]


def restride(operation: Operation, states: States) -> list[State] | None:
    """Other steps in memory, as pools give their one position; else nobody knows what is where."""
    value, result = traced(operation, states), result_of(operation)
    state = states[value.number]
    together = all(r.dim is None or value.shape[r.dim] == 1 for r in state.reaches)
    same = value.shape == result.shape and value.span == result.span
    return [state] if together and same else None


def rotate(operation: Operation, states: States) -> list[State]:
    """Quarter turns: one of two dimensions is turned round, and they change places."""
    value, given = traced(operation, states), operation.arguments
    a, b = (d % len(value.shape) for d in given.get("dims", (0, 1)))
    turns = given.get("k", 1) % 4
    turned = ((), (b,), (a, b), (a,))[turns]
    state = states[value.number].each(lambda r: _flipped(r, value.shape) if r.dim in turned else r)
    return [state.moved(lambda d: {a: b, b: a}.get(d, d)) if turns % 2 else state]


def resize(operation: Operation, states: States) -> list[State]:
    """Dimensions of one position added, left out or repeated."""
    value, result = traced(operation, states), result_of(operation)
    state, rank = states[value.number], len(value.shape)
    if operation.name.startswith("unsqueeze"):
        place = operation.arguments["dim"] % (rank + 1)
        return [state.moved(lambda d: d + (d >= place))]
    if operation.name == "expand":
        return [joined([state], [value.shape], result.shape)]
    gone = [d for d in dims(operation, rank) if value.shape[d] == 1]
    return [state.each(lambda r: fixed(r, 0, 0) if r.dim in gone else r).moved(without(gone))]


def copies(operation: Operation, states: States) -> list[State] | None:
    """The whole several times along some dimensions."""
    value, result = traced(operation, states), result_of(operation)
    offset = len(result.shape) - len(value.shape)

    def change(reach: Reach) -> Reach:
        if reach.dim is None:
            return reach
        n, dim = value.shape[reach.dim], reach.dim + offset
        if result.shape[dim] == n:
            return reach.moved(dim)
        lo, hi = reach.at(np.arange(result.shape[dim], dtype=np.int64) % n)
        return listed(dim, lo, hi, reach.whole)

    state = states[value.number]
    return [state.each(change).of(state.uneven, state.split, lambda d: d + offset)]


def cut(operation: Operation, states: States) -> list[State]:
    """Some positions of one dimension."""
    value, given = traced(operation, states), operation.arguments
    state = states[value.number]
    dim = given.get("dim", 0) % len(value.shape)
    n = value.shape[dim]
    if operation.name == "select":
        at = given["index"] % n
        return [_fixed(state.selected(dim), dim, at).moved(without([dim]))]
    if operation.name == "slice":
        starts = [slice(given.get("start"), given.get("end"), given.get("step", 1)).indices(n)[0]]
        step = given.get("step", 1)
    elif operation.name == "unbind":
        parts = [_fixed(state.selected(dim), dim, at) for at in range(n)]
        return [part.moved(without([dim])) for part in parts]
    else:
        sizes = [result.shape[dim] for result in operation.results if result is not None]
        starts, step = np.cumsum([0, *sizes[:-1]]).tolist(), 1
    state = state.selected(dim)
    return [
        _shifted(state, dim, step, -first, result.shape[dim])
        for first, result in zip(starts, filter(None, operation.results), strict=True)
    ]


def pad(operation: Operation, states: States) -> list[State]:
    """Positions added or taken away at the ends of the last dimensions."""
    value = traced(operation, states)
    sides = operation.arguments.get("pad", operation.arguments.get("padding"))
    left = dict(zip(range(len(value.shape) - 1, -1, -1), sides[::2], strict=False))
    state = states[value.number]
    kind = next((kind for kind in _PADDED if operation.name.startswith(kind)), "")
    source = _PADDED.get(kind, _plain)
    for dim, before in left.items():
        m, n = value.shape[dim], result_of(operation).shape[dim]
        turn = m if kind == "pad_circular" else 0
        state = _padded(state, dim, n, before, source(np.arange(n) - before, m), turn)
    return [state]


def _padded(state: State, dim: int, n: int, before: int, sources: Positions, turn: int) -> State:
    def change(reach: Reach) -> Reach:
        if reach.dim != dim:
            return reach
        if not reach.ended:
            wraps = abs(round(turn * reach.stride)) or reach.wraps
            return replace(window(reach, n, 1, 1, before), wraps=wraps)
        return listed(dim, *reach.at(sources), reach.whole)

    return state.each(change)


def _plain(i: Positions, n: int) -> Positions:
    return i


_PADDED: Final[Mapping[str, Callable[[Positions, int], Positions]]] = {
    "pad_circular": lambda i, n: i % n,
    "reflection_pad": lambda i, n: n - 1 - np.abs(n - 1 - np.abs(i)),
    "replication_pad": lambda i, n: np.clip(i, 0, n - 1),
}


def rearrange(operation: Operation, states: States) -> list[State] | None:
    """Flips and rolls."""
    value, given = traced(operation, states), operation.arguments
    state, rank = states[value.number], len(value.shape)
    if operation.name == "flip":
        dims = [d % rank for d in given["dims"]]
        return [state.each(lambda r: _flipped(r, value.shape) if r.dim in dims else r)]
    if not given.get("dims"):
        return None
    for d, shift in zip(given["dims"], given["shifts"], strict=True):
        state = _rolled(state, d % rank, shift, value.shape[d])
    return [state]


def _shifted(state: State, dim: int, step: int, padding: int, n: int) -> State:
    """Every `step`-th position of a dimension, from `-padding` on, n of them."""
    return state.each(lambda r: window(r, n, 1, step, padding) if r.dim == dim else r)


def _rolled(state: State, dim: int, shift: int, n: int) -> State:
    """Shifted around the ends; a rule goes on as if the input did."""
    around = (np.arange(n, dtype=np.int64) - shift) % n

    def change(reach: Reach) -> Reach:
        if reach.dim != dim:
            return reach
        if not reach.ended:
            return replace(window(reach, n, 1, 1, shift), wraps=abs(round(n * reach.stride)))
        return listed(dim, *reach.at(around), reach.whole)

    return state.each(change)


def _fixed(state: State, dim: int, at: int) -> State:
    """One position of a dimension."""
    return state.each(lambda r: fixed(r, at, at) if r.dim == dim else r)


def _flipped(reach: Reach, shape: Sequence[int]) -> Reach:
    n = shape[reach.place]

    def taps(i: Positions) -> tuple[Positions, None]:
        return (n - 1 - i)[:, None], None

    return gathered(reach, n, taps, len(reach.lo), Fraction(-1))


def traced(operation: Operation, states: States) -> Value:
    """Its first argument that depends on the input."""
    return next(v for v in operation.values if v.number in states)


def result_of(operation: Operation) -> Value:
    """Its first result."""
    return next(value for value in operation.results if value is not None)


def dims(operation: Operation, rank: int) -> list[int]:
    """The dimensions that it goes over; all if it names none."""
    given = operation.arguments.get("dim")
    if given is None or given == []:
        return list(range(rank))
    return [d % rank for d in ([given] if isinstance(given, int) else given)]


def without(dims: Sequence[int]) -> Callable[[int], int | None]:
    """Numbers of the other dimensions when these are gone."""
    return lambda d: None if d in dims else d - sum(x < d for x in dims)
