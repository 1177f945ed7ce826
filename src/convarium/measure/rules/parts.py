"""Parts of a tensor that are replaced: by a slice, by numbers of positions, or all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from convarium.graph import Operation, Value
from convarium.measure.rules.boxes import Box
from convarium.measure.rules.joins import placed
from convarium.measure.rules.moves import States, result_of
from convarium.measure.rules.reach import Positions, Reach, fixed, window
from convarium.measure.rules.states import State, joined

Places = Mapping[int, Positions]


def copied(operation: Operation, states: States) -> list[State]:
    """Other values in the same place: what was there does not matter."""
    return _broadcast(operation.arguments["src"], states, result_of(operation).shape)


def filled(operation: Operation, states: States) -> list[State]:
    """One number in place of all."""
    return _broadcast(operation.arguments.get("value"), states, result_of(operation).shape)


def written(operation: Operation, states: States) -> list[State]:
    """A box of the whole, as `without_writes` tells it."""
    place: Box = operation.arguments["box"]
    part, shape = _state(operation, "src", states), result_of(operation).shape
    if part is not None:
        dims = {view: dim for dim, view in enumerate(place.dims) if view is not None}
        part = part.each(lambda r: r if r.dim is None or r.dim in dims else fixed(r, 0, 0))
        part = part.moved(dims.get)
    some = {d: np.array(place.ranges[d], np.int64) for d in place.part_of(shape)}
    return _put(_state(operation, "self", states), part, some, shape)


def taken(operation: Operation, states: States) -> list[State]:
    """A box of the whole."""
    whole, place = operation.arguments["self"], operation.arguments["box"]
    state = states[whole.number]
    for dim in place.part_of(whole.shape):
        state = _picked(state, dim, np.array(place.ranges[dim], np.int64))
    state = state.each(
        lambda r: fixed(r, 0, 0) if r.dim is not None and place.dims[r.dim] is None else r
    )
    return [state.moved(lambda d: place.dims[d])]


def scattered(operation: Operation, states: States) -> list[State]:
    """A slice or a position of one dimension, from another tensor."""
    given, shape = operation.arguments, result_of(operation).shape
    dim = given.get("dim", 0) % len(shape)
    part = _state(operation, "src", states)
    if operation.name == "select_scatter":
        at = np.array([given["index"] % shape[dim]], np.int64)
        part = None if part is None else part.moved(lambda d: d + (d >= dim))
    else:
        cut = slice(given.get("start"), given.get("end"), given.get("step", 1))
        at = np.arange(*cut.indices(shape[dim]), dtype=np.int64)
    return _put(_state(operation, "self", states), part, {dim: at}, shape)


def numbered(operation: Operation, states: States) -> list[State] | None:
    """Positions of one dimension that fixed numbers name, from another tensor."""
    given, shape = operation.arguments, result_of(operation).shape
    if operation.name.startswith("index_put"):
        picked = [(d, x) for d, x in enumerate(given["indices"]) if x is not None]
        if len(picked) != 1 or given.get("accumulate"):
            return None
        (dim, index), value = picked[0], given["values"]
    else:
        dim, index = given["dim"] % len(shape), given["index"]
        value = given["source" if operation.name.startswith("index_copy") else "value"]
    at = _numbers(index, shape[dim])
    if at is None:
        return None
    part = _broadcast(value, states, [*shape[:dim], len(at), *shape[dim + 1 :]])
    return _put(_state(operation, "self", states), next(iter(part), None), {dim: at}, shape)


def _put(
    whole: State | None, part: State | None, places: Places, shape: Sequence[int]
) -> list[State]:
    """A part at some positions of some dimensions, all of the others."""
    singles = [d for d, at in places.items() if len(at) == 1]
    axes: list[int] = []
    if whole is None and part is not None:
        axes = [k for k, r in enumerate(part.reaches) if r.dim is None and not r.whole]
    homes = dict(zip(axes, singles[-len(axes) :], strict=False)) if axes else {}
    if len(axes) > len(singles):
        homes = {}
    found = _laid(whole, part, [*places.items()], shape, homes)
    return [] if found is None else [found]


def _laid(
    whole: State | None,
    part: State | None,
    places: Sequence[tuple[int, Positions]],
    shape: Sequence[int],
    homes: Mapping[int, int],
) -> State | None:
    """Dimension by dimension: among the positions of the first, those of the others."""
    if not places:
        return part
    (dim, at), *rest = places
    if rest:
        inner = None if whole is None else _picked(whole, dim, at)
        inner = None if inner is None or _nothing(inner, dim, len(at)) else inner
        part = _laid(inner, part, rest, [*shape[:dim], len(at), *shape[dim + 1 :]], homes)
    here = [k for k, d in homes.items() if d == dim]
    every = np.arange(shape[dim], dtype=np.int64)
    return placed([(whole, every), (part, at)], dim, shape, here)


def _picked(whole: State, dim: int, at: Positions) -> State:
    """Positions of a dimension, evenly apart."""
    step = int(at[1] - at[0]) if len(at) > 1 else 1

    def change(reach: Reach) -> Reach:
        return window(reach, len(at), 1, step, -int(at[0])) if reach.dim == dim else reach

    return whole.selected(dim).each(change)


def _nothing(state: State, dim: int, n: int) -> bool:
    """Whether the positions of a dimension read nothing at all."""
    here = np.arange(n, dtype=np.int64)
    ends = [reach.at(here) for reach in state.reaches if reach.dim == dim]
    return any((lo > hi).all() for lo, hi in ends)


def _state(operation: Operation, name: str, states: States) -> State | None:
    """What is known of an argument; None where no input reaches it."""
    value = operation.arguments.get(name)
    return states.get(value.number) if isinstance(value, Value) else None


def _broadcast(value: Any, states: States, shape: Sequence[int]) -> list[State]:
    """The state of a tensor of this shape, all from `value`; none where no input reaches it."""
    state = states.get(value.number) if isinstance(value, Value) else None
    return [] if state is None else [joined([state], [value.shape], shape)]


def _numbers(index: Any, n: int) -> Positions | None:
    """Positions that a fixed list or mask names, each once."""
    if not isinstance(index, Tensor) or index.is_meta or index.ndim != 1:
        return None
    if index.dtype == torch.bool:
        index = index.nonzero()[:, 0]
    at: Positions = index.numpy().astype(np.int64) % n
    return at if len(np.unique(at)) == len(at) else None
