"""Tensors side by side: concatenated along a dimension, or stacked along a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from convarium.graph import Operation, Value
from convarium.measure.rules.moves import States, result_of
from convarium.measure.rules.reach import Reach, fixed, listed, nothing, window
from convarium.measure.rules.states import State, joined


def concatenate(operation: Operation, states: States) -> list[State]:
    """Side by side along one dimension, whose positions are listed where they are places."""
    given, result = operation.arguments, result_of(operation).shape
    dim, tensors = given.get("dim", 0) % len(result), given["tensors"]
    stacked = operation.name == "stack"
    parts: list[tuple[State | None, int]] = []
    for x in tensors:
        state = states.get(x.number) if isinstance(x, Value) else None
        if state is not None and stacked:
            state = state.moved(lambda d: d + (d >= dim))
        if stacked or len(x.shape) == len(result):  # torch leaves out empty ones
            parts.append((state, 1 if stacked else x.shape[dim]))
    known = [_aside(state, dim, n) for state, n in parts if state is not None]
    both = joined(known, [result] * len(known), result)
    placed = {k: r for k in range(len(both.reaches)) if (r := _along(parts, k, dim)) is not None}
    carried = any(r.dim == dim for r in placed.values())
    uneven = both.uneven if carried or len(parts) == 1 else both.uneven | {dim}
    reaches = tuple(placed.get(k, replace(r, mixed=False)) for k, r in enumerate(both.reaches))
    gates = both.gates
    if carried:
        gates = tuple(_gate_along(parts, k, dim, gate) for k, gate in enumerate(gates))
    return [replace(both, reaches=reaches, gates=gates, uneven=uneven)]


def _aside(state: State, dim: int, n: int) -> State:
    """With the positions of a dimension put together, for `_along` to list."""
    return state.each(
        lambda r: replace(fixed(r, 0, n - 1), whole=True, mixed=True) if r.dim == dim else r
    )


def _along(parts: Sequence[tuple[State | None, int]], k: int, dim: int) -> Reach | None:
    """What the positions along `dim` read of axis k; None where it has no places there."""
    reaches = [None if state is None else state.reaches[k] for state, _ in parts]
    known = [r for r in reaches if r is not None]
    here = any(r.dim == dim for r in known)
    if any(r.dim not in (None, dim) or r.whole for r in known):
        return None
    single = all(r.dim is None for r in known) and all(n == 1 for _, n in parts)
    if not here and not (single and len(known) > 1):
        return None
    (only,) = known if len(known) == 1 else (None,)
    if only is not None:  # the others are padding
        before = sum(n for _, n in parts[: reaches.index(only)])
        return window(only, sum(n for _, n in parts), 1, 1, before)
    return _in_turn(reaches, parts, dim)


def _gate_along(
    parts: Sequence[tuple[State | None, int]], k: int, dim: int, both: Reach | None
) -> Reach | None:
    """What gates let the positions along `dim` see of axis k, where they do not all see `both`."""
    gates = [None if state is None else state.gates[k] for state, _ in parts]
    if both is None or any(g is not None and g.dim not in (None, dim) for g in gates):
        return both
    found = _in_turn(gates, parts, dim)
    return both if np.ptp(found.lo) == np.ptp(found.hi) == 0 else found


def _in_turn(reaches: Sequence[Reach | None], parts: Sequence[tuple[Any, int]], dim: int) -> Reach:
    """The positions of each part after those of the one before."""
    ends = [
        nothing(n) if r is None else r.at(np.arange(n, dtype=np.int64))
        for r, (_, n) in zip(reaches, parts, strict=True)
    ]
    lo, hi = (np.concatenate(side) for side in zip(*ends, strict=True))
    return listed(dim, lo, hi, any(r is not None and r.whole for r in reaches))
