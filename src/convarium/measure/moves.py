"""Operations that move places without mixing them: views, permutations, cuts, joins, shuffles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.reach import Reach, fixed, gathered, listed, window
from convarium.measure.states import State, joined, reshaped

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
    elif operation.name == "t":
        order = order[::-1]
    else:
        a, b = given["dim0"] % rank, given["dim1"] % rank
        order[a], order[b] = order[b], order[a]
    return [states[value.number].moved(order.index)]


def resize(operation: Operation, states: States) -> list[State]:
    """Dimensions of one position added, left out or repeated."""
    value, result = traced(operation, states), result_of(operation)
    state, rank = states[value.number], len(value.shape)
    if operation.name == "unsqueeze":
        place = operation.arguments["dim"] % (rank + 1)
        return [state.moved(lambda d: d + (d >= place))]
    if operation.name == "expand":
        return [joined([state], [value.shape], result.shape)]
    gone = [d for d in dims(operation, rank) if value.shape[d] == 1]
    return [state.each(lambda r: fixed(r, 0, 0) if r.dim in gone else r).moved(without(gone))]


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
    return [_shifted(state, dim, step, -first) for first in starts]


def concatenate(operation: Operation, states: States) -> list[State] | None:
    """Side by side along one dimension."""
    given = operation.arguments
    tensors, result = given["tensors"], result_of(operation)
    values = [x for x in tensors if isinstance(x, Value) and x.number in states]
    if operation.name == "stack":
        place = given.get("dim", 0) % len(result.shape)
        moved = [states[v.number].moved(lambda d: d + (d >= place)) for v in values]
        both = joined(moved, [result.shape] * len(values), result.shape)
        return [replace(both, uneven=True)]
    dim = given.get("dim", 0) % len(result.shape)
    along = [any(r.dim == dim for r in states[v.number].reaches) for v in values]
    shapes = [(*v.shape[:dim], result.shape[dim], *v.shape[dim + 1 :]) for v in values]
    if not any(along):
        both = joined([states[v.number] for v in values], shapes, result.shape)
        return [replace(both, uneven=both.uneven or len(tensors) > 1)]
    if len(values) > 1:
        return None
    before = sum(x.shape[dim] for x in tensors[: tensors.index(values[0])])
    return [_shifted(states[values[0].number], dim, 1, before)]


def pad(operation: Operation, states: States) -> list[State]:
    """Positions added or taken away at the ends of the last dimensions."""
    value = traced(operation, states)
    sides = operation.arguments.get("pad", operation.arguments.get("padding"))
    left = dict(zip(range(len(value.shape) - 1, -1, -1), sides[::2], strict=False))
    state = states[value.number]
    for dim, before in left.items():
        state = _shifted(state, dim, 1, before)
    return [state]


def rearrange(operation: Operation, states: States) -> list[State] | None:
    """Flips, rolls, and positions picked by fixed numbers."""
    value, given = traced(operation, states), operation.arguments
    state, rank = states[value.number], len(value.shape)
    if operation.name == "index":
        picked = [(d, x) for d, x in enumerate(given["indices"]) if x is not None]
        if len(picked) != 1 or not _fixed_list(picked[0][1]):
            return None
        dim, sources = picked[0][0], picked[0][1].numpy()
    elif operation.name == "index_select":
        dim, index = given["dim"] % rank, given["index"]
        if not _fixed_list(index):
            return None
        sources = index.numpy()
    elif operation.name == "flip":
        dims = [d % rank for d in given["dims"]]
        return [state.each(lambda r: _flipped(r, value.shape) if r.dim in dims else r)]
    else:
        for d, shift in zip(given["dims"], given["shifts"], strict=True):
            state = _shifted(state, d % rank, 1, shift)
        return [state]
    sources = np.where(sources < 0, sources + value.shape[dim], sources).astype(np.int64)
    return [state.selected(dim).each(lambda r: listed(r, sources) if r.dim == dim else r)]


def shuffle(operation: Operation, states: States) -> list[State]:
    """Channels become positions (pixel shuffle), or positions channels."""
    value = traced(operation, states)
    factor = operation.arguments.get("upscale_factor", operation.arguments.get("downscale_factor"))
    rank = len(value.shape)

    def change(reach: Reach) -> Reach:
        if reach.dim is None or reach.dim < rank - 2:
            return reach
        if operation.name == "pixel_unshuffle":
            return window(reach, factor, factor)
        phases = factor * len(reach.lo)
        return gathered(reach, np.arange(phases, dtype=np.int64)[:, None] // factor, reach.jump)

    state = states[value.number]
    grown = operation.name == "pixel_unshuffle"
    return [replace(state.selected(1).each(change), uneven=state.uneven or grown)]


def _shifted(state: State, dim: int, step: int, padding: int) -> State:
    """Every `step`-th position of a dimension, from `-padding` on."""
    return state.each(lambda r: window(r, 1, step, padding) if r.dim == dim else r)


def _fixed(state: State, dim: int, at: int) -> State:
    """One position of a dimension."""
    return state.each(lambda r: fixed(r, at, at) if r.dim == dim else r)


def _flipped(reach: Reach, shape: Sequence[int]) -> Reach:
    last = shape[reach.place] - 1
    sources = last - np.arange(len(reach.lo), dtype=np.int64)
    return gathered(reach, sources[:, None], -reach.jump)


def _fixed_list(index: Any) -> bool:
    return (
        isinstance(index, Tensor)
        and not index.is_meta
        and index.ndim == 1
        and (index.dtype == torch.int64)
    )


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
