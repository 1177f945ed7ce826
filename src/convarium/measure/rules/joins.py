"""Tensors side by side: concatenated along a dimension, or stacked along a new one."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from convarium.graph import Operation, Value
from convarium.measure.rules.moves import States, result_of
from convarium.measure.rules.reach import (
    Positions,
    Reach,
    apart,
    fixed,
    listed,
    nothing,
    transposed,
    window,
)
from convarium.measure.rules.states import State, joined

Part = tuple[State | None, Positions]


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
    sizes = np.cumsum([0, *(n for _, n in parts)])
    places = [np.arange(a, b) for a, b in itertools.pairwise(sizes)]
    known = [(state, at) for (state, _), at in zip(parts, places, strict=True)]
    found = placed(known, dim, result)
    return [] if found is None else [found]


def placed(
    parts: Sequence[Part], dim: int, shape: Sequence[int], homes: Collection[int] = ()
) -> State | None:
    """Parts at positions of one dimension, the later over the earlier.

    Args:
        parts: what is known of each, None where no input reaches it; and its positions.
        dim: the dimension.
        shape: of the whole.
        homes: axes whose places lie along `dim` though a part has a single one of them.
    """
    known = [_aside(state, dim, len(at)) for state, at in parts if state is not None]
    if not known:
        return None
    both = joined(known, [shape] * len(known), shape)
    n, axes = shape[dim], range(len(both.reaches))
    alone = {k: r for k in axes if (r := _along(parts, k, dim, n, k in homes)) is not None}
    carried = any(r.dim == dim for r in alone.values())
    uneven = both.uneven if carried or len(parts) == 1 else both.uneven | {dim}
    reaches = tuple(alone.get(k, replace(r, mixed=False)) for k, r in enumerate(both.reaches))
    gates, bound = both.gates, both.bound
    if carried:
        gates = tuple(_gate_along(parts, k, dim, n, gate) for k, gate in enumerate(gates))
        others = [[s.reaches[k] for s in known] for k in axes if k not in alone]
        bound = bound or any(apart(one, r) for one, *rest in others for r in rest)
    return replace(both, reaches=reaches, gates=gates, uneven=uneven, bound=bound)


def _aside(state: State, dim: int, n: int) -> State:
    """With the positions of a dimension put together, for `_along` to list."""
    return state.each(
        lambda r: replace(fixed(r, 0, n - 1), whole=True, mixed=True) if r.dim == dim else r
    )


def _along(parts: Sequence[Part], k: int, dim: int, n: int, home: bool) -> Reach | None:
    """What the positions along `dim` read of axis k; None where it has no places there."""
    reaches = [None if state is None else state.reaches[k] for state, _ in parts]
    known = [r for r in reaches if r is not None]
    here = home or any(r.dim == dim for r in known)
    if any(r.dim not in (None, dim) or r.whole for r in known):
        return None
    single = all(r.dim is None for r in known) and all(len(at) == 1 for _, at in parts)
    if not here and not (single and len(known) > 1):
        return None
    if len(known) == 1 and known[0].dim == dim:
        state, at = next(part for part in parts if part[0] is not None)
        padding = parts[-1][0] is state or sum(len(at) for _, at in parts) == n
        found = _padded(known[0], at, n, state.seen[k]) if state and padding else None
        if found is not None:
            return found
    return _in_turn(reaches, parts, dim, n)


def _padded(reach: Reach, at: Positions, n: int, seen: tuple[int, int]) -> Reach | None:
    """A rule for all positions; None where it says of others that they read what they do not."""
    steps = set(np.diff(at).tolist()) or {1}
    lo, hi = reach.at(np.array([-1, len(at)], np.int64))
    if len(steps) != 1 or min(steps) < 1 or any((lo >= seen[0]) & (hi <= seen[1]) & (lo <= hi)):
        return None
    if steps == {1}:
        return window(reach, n, 1, 1, int(at[0]))
    return transposed(reach, n, 1, steps.pop(), -int(at[0]), 1)


def _gate_along(
    parts: Sequence[Part], k: int, dim: int, n: int, both: Reach | None
) -> Reach | None:
    """What gates let the positions along `dim` see of axis k, where they do not all see `both`."""
    gates = [None if state is None else state.gates[k] for state, _ in parts]
    if both is None or any(g is not None and g.dim not in (None, dim) for g in gates):
        return both
    found = _in_turn(gates, parts, dim, n)
    return both if np.ptp(found.lo) == np.ptp(found.hi) == 0 else found


def _in_turn(reaches: Sequence[Reach | None], parts: Sequence[Part], dim: int, n: int) -> Reach:
    """Position by position, by the last part that has it."""
    lo, hi = nothing(n)
    for reach, (_, at) in zip(reaches, parts, strict=True):
        here = np.arange(len(at), dtype=np.int64)
        lo[at], hi[at] = nothing(len(at)) if reach is None else reach.at(here)
    return listed(dim, lo, hi, any(r is not None and r.whole for r in reaches))
