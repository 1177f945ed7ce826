"""What is known of a tensor while a receptive field is followed through a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from convarium.measure.reach import Reach, fixed, union

Range = tuple[int, int]

_MOST: Final = 2**22  # positions that are listed one by one; beyond, a map is taken as a whole


@dataclass(frozen=True)
class State:
    """Which inputs a tensor depends on.

    Attributes:
        reaches: along each axis of the input.
        gates: along each axis, the inputs that only scale or shift it: pooled gates and the
            statistics of norms; None if there are none.
        uneven: its channels may reach different inputs; the reaches hold for them together.
        bound: the reaches may be larger than what is true.
        source: number of the last map before all positions were put together.
        unknown: the operation that could not be followed; empty if all could.
    """

    reaches: tuple[Reach, ...]
    gates: tuple[Range | None, ...]
    uneven: bool = False
    bound: bool = False
    source: int = 0
    unknown: str = ""

    @property
    def local(self) -> bool:
        """Whether its positions still stand for places of the input."""
        return not self.unknown and not any(reach.whole for reach in self.reaches)

    def each(self, change: Callable[[Reach], Reach]) -> State:
        """With another reach along each axis."""
        changed: list[Reach] = []
        for k, reach in enumerate(self.reaches):
            twin = self._twin(k, changed)
            changed.append(change(reach) if twin is None else twin)
        return replace(self, reaches=tuple(changed))

    def _twin(self, k: int, changed: Sequence[Reach]) -> Reach | None:
        """The result of an earlier axis that is this very one."""
        return next((changed[i] for i in range(k) if self.reaches[i] is self.reaches[k]), None)

    def moved(self, to: Callable[[int], int | None]) -> State:
        """With its dimensions renumbered."""
        return self.each(lambda r: r if r.dim is None else r.moved(to(r.dim)))

    def selected(self, dim: int) -> State:
        """After a part of one dimension was taken: of uneven channels, nobody knows which."""
        carried = any(reach.dim == dim for reach in self.reaches)
        return self if carried or not self.uneven else replace(self, bound=True)

    def collapsed(self, dims: Iterable[int], shape: Sequence[int]) -> State:
        """After all positions along `dims` were put together."""
        over = set(dims)

        def change(reach: Reach) -> Reach:
            if reach.dim not in over:
                return reach
            return replace(fixed(reach, 0, shape[reach.dim] - 1), whole=True)

        return self.each(change)

    def gated(self, dims: Iterable[int], shape: Sequence[int]) -> State:
        """After it was scaled or shifted by statistics over `dims`."""
        whole = self.collapsed(dims, shape)
        return replace(self, gates=merged(self.gates, whole.ranges()))

    def ranges(self) -> tuple[Range | None, ...]:
        """Along each axis, what it reaches as a whole; None where it is local."""
        return tuple((int(r.lo.min()), int(r.hi.max())) if r.whole else None for r in self.reaches)


def start(rank: int, axes: int) -> State:
    """Of an input whose last `axes` dimensions are places."""
    from convarium.measure.reach import identity

    reaches = tuple(identity(rank - axes + k) for k in range(axes))
    return State(reaches, (None,) * axes)


def merged(one: Sequence[Range | None], other: Sequence[Range | None]) -> tuple[Range | None, ...]:
    """Both ranges along each axis, as one."""
    return tuple(
        b if a is None else a if b is None else (min(a[0], b[0]), max(a[1], b[1]))
        for a, b in zip(one, other, strict=True)
    )


def joined(
    states: Sequence[State], shapes: Sequence[Sequence[int]], result: Sequence[int]
) -> State:
    """Of tensors that are combined position by position, broadcast to `result`.

    Where some keep their places along an axis and others do not, the latter are gates.
    """
    aligned = [_aligned(s, shape, result) for s, shape in zip(states, shapes, strict=True)]
    reaches, gates = [], merged_all(s.gates for s in aligned)
    bound = any(s.bound for s in aligned)
    for k in range(len(aligned[0].reaches)):
        candidates = [*{id(s.reaches[k]): s.reaches[k] for s in aligned}.values()]
        places = [r for r in candidates if not r.whole]
        if places and len(places) < len(candidates):
            ranges: list[Range | None] = [None] * len(gates)
            for r in (r for r in candidates if r.whole):
                ranges[k] = (int(r.lo.min()), int(r.hi.max()))
                gates = merged(gates, ranges)
        reach, crossed = _together(places or candidates, result)
        reaches.append(reach)
        bound = bound or crossed
    uneven = any(s.uneven for s in aligned)
    source = max(s.source for s in aligned)
    return State(tuple(reaches), gates, uneven, bound, source)


def merged_all(gates: Iterable[tuple[Range | None, ...]]) -> tuple[Range | None, ...]:
    """The gates of all."""
    first, *rest = gates
    for other in rest:
        if other is not first:
            first = merged(first, other)
    return first


def reshaped(state: State, old: Sequence[int], new: Sequence[int]) -> State:
    """After a view of other sizes: dimensions are split and merged."""
    groups = _groups(old, new)
    axes = [reach.dim for reach in state.reaches]
    uneven = False

    def change(reach: Reach) -> Reach:
        nonlocal uneven
        if reach.dim is None:
            return reach
        if old[reach.dim] == 1:
            return _single(reach, old, new)
        before, after = next(g for g in groups if reach.dim in g[0])
        if len(before) == len(after) == 1:
            return reach.moved(after[0])
        others = [d for d in before if d not in axes]
        flat = others and (others[0] < reach.dim or len(before) - len(others) > 1)
        if flat and len(after) == 1:  # what comes next reads all of it
            return replace(fixed(reach, 0, old[reach.dim] - 1), whole=True)
        found, mixed = _regrouped(reach, before, after, old, new)
        uneven = uneven or mixed
        return found

    result = state.each(change)
    return replace(result, uneven=state.uneven or uneven)


def _aligned(state: State, shape: Sequence[int], result: Sequence[int]) -> State:
    """Its dimensions counted as those of the result, and those that were repeated left out."""
    offset = len(result) - len(shape)
    if offset == 0 and tuple(shape) == tuple(result):
        return state

    def change(reach: Reach) -> Reach:
        if reach.dim is None:
            return reach
        if shape[reach.dim] != result[reach.dim + offset]:
            return fixed(reach, 0, 0)
        return reach.moved(reach.dim + offset)

    return state.each(change)


def _together(reaches: Sequence[Reach], result: Sequence[int]) -> tuple[Reach, bool]:
    """The union, and whether places of one axis lay along different dimensions."""
    dims = {reach.dim for reach in reaches if reach.dim is not None}
    crossed = len(dims) > 1
    if crossed:
        reaches = [
            r if r.dim is None else replace(fixed(r, 0, result[r.dim] - 1), whole=True)
            for r in reaches
        ]
    n = result[next(iter(dims))] if len(dims) == 1 else 1
    return union(reaches, n), crossed


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
        if 0 <= dim < len(new) and new[dim] == 1:
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
            return _steady(reach, dim, least, most), False
    rest = tuple(range(1, len(after)))
    return _steady(reach, after[0], lo.min(rest), hi.max(rest)), True


def _steady(reach: Reach, dim: int, lo: np.ndarray, hi: np.ndarray) -> Reach:
    """Listed limits as a rule that goes on beyond the ends, where they allow one."""
    step = int(lo[-1] - lo[0]) // max(len(lo) - 1, 1)
    line = np.arange(len(lo)) * step
    if (lo - line == lo[0]).all() and (hi - line == hi[0]).all():
        return Reach(dim, lo[:1].copy(), hi[:1].copy(), step, reach.whole)
    return Reach(dim, lo, hi, 0, reach.whole)
