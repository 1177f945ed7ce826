"""Views: the same elements under other sizes, with dimensions split and merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from convarium.measure.rules.reach import Reach, fixed, listed
from convarium.measure.rules.states import State

_MOST: Final = 2**22  # positions that are listed one by one; beyond, a map is taken as a whole


def reshaped(state: State, old: Sequence[int], new: Sequence[int]) -> State:
    """After a view of other sizes: dimensions are split and merged."""
    groups = _groups(old, new)
    axes = [reach.dim for reach in state.reaches]
    split: set[int] = set()
    merged: list[int] = []

    def change(reach: Reach) -> Reach:
        if reach.dim is None:
            return reach
        if old[reach.dim] == 1:
            return _single(reach, old, new)
        before, after = next(g for g in groups if reach.dim in g[0])
        if len(before) == len(after) == 1:
            return reach.moved(after[0])
        others = [d for d in before if d not in axes]
        found, mixed = _regrouped(reach, before, after, old, new)
        if mixed:
            split.update(after[1:])
        if len(after) == 1:
            merged.extend(others)
        return found

    result = state.each(change)
    uneven: set[int] = set()
    for before, after in groups:
        given = set(before)
        if given & state.uneven or (given & state.split and len(before) > 1):
            uneven.update(after)
        elif given & state.split:
            split.update(after)
    carried = {reach.dim for reach in result.reaches}
    told_apart = (state.uneven | state.split) & set(merged) or (uneven | split) & carried
    bound = state.bound or bool(told_apart)
    return replace(
        result,
        uneven=frozenset(uneven - carried),
        split=frozenset(split - carried),
        bound=bound,
    )


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Smallest runs of dimensions with the same number of elements; those of size 1 are in none."""
    groups: list[tuple[list[int], list[int]]] = []
    one = [(i, n) for i, n in enumerate(old) if n != 1]
    other = [(i, n) for i, n in enumerate(new) if n != 1]
    while one and other:
        (i, a), (j, b) = one.pop(0), other.pop(0)
        before, after = [i], [j]
        while a != b:
            if a < b:
                i, n = one.pop(0)
                before.append(i)
                a *= n
            else:
                j, n = other.pop(0)
                after.append(j)
                b *= n
        groups.append((before, after))
    return groups


def _single(reach: Reach, old: Sequence[int], new: Sequence[int]) -> Reach:
    """A dimension of one position keeps its place from the left or from the right."""
    from_right = reach.place + len(new) - len(old)
    for dim in (reach.place, from_right):
        if len(new) >= len(old) and 0 <= dim < len(new) and new[dim] == 1:
            return reach.moved(dim)
    return fixed(reach, 0, 0)


def _regrouped(
    reach: Reach,
    before: Sequence[int],
    after: Sequence[int],
    old: Sequence[int],
    new: Sequence[int],
) -> tuple[Reach, bool]:
    """Listed position by position along the merged dimensions, and found in the split ones.

    Returns:
        The reach, and whether several new dimensions share the positions: then the first of them
        has them, each with all that lies along the others.
    """
    sizes = [old[i] for i in before]
    if math.prod(sizes) > _MOST:
        return replace(fixed(reach, 0, old[reach.place] - 1), whole=True), True
    place = before.index(reach.place)
    along = [1] * len(sizes)
    along[place] = sizes[place]
    ends = [x.reshape(along) for x in reach.at(np.arange(old[reach.place], dtype=np.int64))]
    split = [new[i] for i in after]
    lo, hi = (np.broadcast_to(x, sizes).reshape(split) for x in ends)
    for k, dim in enumerate(after):
        rest = tuple(i for i in range(len(after)) if i != k)
        least, most = lo.min(rest), hi.max(rest)
        shape = [1] * len(split)
        shape[k] = split[k]
        if (lo == least.reshape(shape)).all() and (hi == most.reshape(shape)).all():
            return listed(dim, least, most, reach.whole), False
    rest = tuple(range(1, len(after)))
    return listed(after[0], lo.min(rest), hi.max(rest), reach.whole), True
