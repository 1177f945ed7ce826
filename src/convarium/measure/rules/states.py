"""What is known of a tensor while a receptive field is followed through a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress, repeat

from convarium.measure.rules.reach import Reach, ends, fixed, identity, inside, union

Range = tuple[int, int]


@dataclass(frozen=True)
class State:
    """Which inputs a tensor depends on.

    Attributes:
        reaches: along each axis of the input.
        gates: along each axis, the inputs that only scale or shift it: pooled gates and the
            statistics of norms, of all positions alike or of each; None if there are none.
        seen: along each axis, the first and the last input that any position reads; what reaches
            say beyond is padding.
        uneven: dimensions whose positions may reach different inputs, as channels after a
            concatenation; the reaches hold for them together.
        split: dimensions that share the places of an axis with another one, by a view; likewise.
        bound: the reaches may be larger than what is true.
        source: number of the last map before all positions were put together.
        unknown: the operation that could not be followed; empty if all could.
    """

    reaches: tuple[Reach, ...]
    gates: tuple[Reach | None, ...]
    seen: tuple[Range, ...]
    uneven: frozenset[int] = frozenset()
    split: frozenset[int] = frozenset()
    bound: bool = False
    source: int = 0
    unknown: str = ""

    @property
    def local(self) -> bool:
        """Whether its positions still stand for places of the input."""
        return not self.unknown and not any(reach.whole for reach in self.reaches)

    @property
    def places(self) -> int:
        """Along how many axes it has a dimension of places."""
        dims = [r.dim for r in self.reaches if r.spread]
        return 0 if self.unknown else len(set(dims)) if len(set(dims)) == len(dims) else 0

    def each(self, change: Callable[[Reach], Reach]) -> State:
        """With another reach along each axis, and other gates where these have positions."""
        changed: list[Reach] = []
        for k, reach in enumerate(self.reaches):
            twin = self._twin(k, changed)
            changed.append(change(reach) if twin is None else twin)
        gates = tuple(g if g is None or g.dim is None else change(g) for g in self.gates)
        return replace(self, reaches=tuple(changed), gates=gates)

    def _twin(self, k: int, changed: Sequence[Reach]) -> Reach | None:
        """The result of an earlier axis that is this very one."""
        return next((changed[i] for i in range(k) if self.reaches[i] is self.reaches[k]), None)

    def moved(self, to: Callable[[int], int | None]) -> State:
        """With its dimensions renumbered."""
        moved = self.each(lambda r: r if r.dim is None else r.moved(to(r.dim)))
        return moved.of(self.uneven, self.split, to)

    def of(
        self, uneven: Iterable[int], split: Iterable[int], to: Callable[[int], int | None]
    ) -> State:
        """With these dimensions uneven and split, renumbered."""
        both = (frozenset(n for d in dims if (n := to(d)) is not None) for dims in (uneven, split))
        return replace(self, uneven=next(both), split=next(both))

    def without(self, dims: Iterable[int]) -> State:
        """After all along `dims` were put together: nothing is uneven along them any more."""
        gone = frozenset(dims)
        if not gone & (self.uneven | self.split):
            return self
        return replace(self, uneven=self.uneven - gone, split=self.split - gone)

    def selected(self, dim: int) -> State:
        """After a part of one dimension was taken: of an uneven one, nobody knows which."""
        return replace(self, bound=True) if dim in self.uneven | self.split else self

    def collapsed(self, dims: Iterable[int], shape: Sequence[int]) -> State:
        """After all positions along `dims` were put together."""
        over = set(dims)

        def change(reach: Reach) -> Reach:
            if reach.dim not in over:
                return reach
            return replace(fixed(reach, 0, shape[reach.dim] - 1), whole=True)

        return self.each(change).without(over)

    def gated(self, dims: Iterable[int], shape: Sequence[int]) -> State:
        """After it was scaled or shifted by statistics over `dims`."""
        whole = self.collapsed(dims, shape)
        found = []
        for gate, reach, seen in zip(whole.gates, whole.reaches, self.seen, strict=True):
            found.append(_gate([gate, _all(reach, seen, shape) if reach.whole else None], shape))
        return replace(self, gates=tuple(found))

    def read(self, shape: Sequence[int]) -> State:
        """Of a map of a shape that reads nothing else any more, such as after a stride."""
        if self.unknown:
            return self
        both = [(*ends(r, shape), *seen) for r, seen in zip(self.reaches, self.seen, strict=True)]
        seen = tuple((max(a, c), min(b, d)) for a, b, c, d in both)
        return self if seen == self.seen else replace(self, seen=seen)


def start(shape: Sequence[int]) -> State:
    """Of an input whose dimensions after the second are places; of (B, T), after the first."""
    axes = range(min(2, len(shape) - 1), len(shape))
    seen = tuple((0, shape[dim] - 1) for dim in axes)
    return State(tuple(map(identity, axes)), (None,) * len(axes), seen)


def joined(
    states: Sequence[State],
    shapes: Sequence[Sequence[int]],
    result: Sequence[int],
    *,
    weights: bool = False,
) -> State:
    """Of tensors that are combined position by position, broadcast to `result`.

    Where some keep their places along an axis and others do not, the latter are gates: those that
    were pooled, and with `weights` also what a dense layer mixed.
    """
    aligned = [_aligned(s, shape, result) for s, shape in zip(states, shapes, strict=True)]
    reaches, gates, seen = [], [], []
    bound = any(s.bound for s in aligned)
    for k in range(len(aligned[0].reaches)):
        candidates = [*{id(s.reaches[k]): s.reaches[k] for s in aligned}.values()]
        places = [r for r in candidates if not r.whole]
        if any(r.mixed for r in candidates) and not weights:
            candidates = [*map(_mixed, candidates, repeat(result))]
            places = []
        pooled = [bool(places) and s.reaches[k].whole for s in aligned]
        scaling = [_all(s.reaches[k], s.seen[k], result) for s in compress(aligned, pooled)]
        gates.append(_gate([*(s.gates[k] for s in aligned), *scaling], result))
        read = [s.seen[k] for s, gate in zip(aligned, pooled, strict=True) if not gate]
        seen.append((min(first for first, _ in read), max(last for _, last in read)))
        reach, crossed = _together(places or candidates, result)
        reaches.append(reach)
        bound = bound or crossed
    uneven = frozenset().union(*(s.uneven for s in aligned))
    split = frozenset().union(*(s.split for s in aligned))
    source = max(s.source for s in aligned)
    return State(tuple(reaches), tuple(gates), tuple(seen), uneven, split, bound, source)


def _mixed(reach: Reach, shape: Sequence[int]) -> Reach:
    """All its positions at once."""
    found = reach if reach.dim is None else fixed(reach, 0, shape[reach.dim] - 1)
    return replace(found, whole=True, mixed=True)


def _all(reach: Reach, seen: Range, shape: Sequence[int]) -> Reach | None:
    """All its positions at once, without the padding; None if they are all padding."""
    found = reach if reach.dim is None else fixed(reach, 0, shape[reach.dim] - 1)
    lo, hi = inside(found, seen, shape)
    return replace(found, lo=lo, hi=hi, wraps=0) if lo <= hi else None


def _gate(gates: Iterable[Reach | None], result: Sequence[int]) -> Reach | None:
    """What all of some gates see."""
    known = [*{id(gate): gate for gate in gates if gate is not None}.values()]
    return _together(known, result)[0] if known else None


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

    return state.each(change).of(state.uneven, state.split, lambda d: d + offset)


def _together(reaches: Sequence[Reach], result: Sequence[int]) -> tuple[Reach, bool]:
    """The union, and whether places of one axis lay along different dimensions."""
    dims = {reach.dim for reach in reaches if reach.dim is not None}
    crossed = len(dims) > 1
    if crossed:
        reaches = [
            r if r.dim is None else replace(fixed(r, 0, result[r.dim] - 1), whole=True, mixed=True)
            for r in reaches
        ]
    n = result[next(iter(dims))] if len(dims) == 1 else 1
    return union(reaches, n), crossed
