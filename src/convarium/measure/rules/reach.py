"""Which inputs the positions of a map reach, along one axis: exact integers.

    position i = qP + r reads inputs from lo[r] + qJ to hi[r] + qJ        (r = i mod P)

P is 1 for convolutions and pools, so that lo + iJ and hi + iJ say all; transposed convolutions and
interpolation give each of P phases limits of its own. The rule goes on beyond the map's ends, into
the padding and past it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

_PHASES: Final = 2**12  # a rule with more, and with more than the map has positions, is listed
_NOTHING: Final = 2**40  # lo of a position that reads no input; hi is its negative


@dataclass(frozen=True)
class Reach:
    """What the positions along one dimension of a map reach of one axis of the input.

    Attributes:
        dim: the dimension of the map along which they lie; None if all positions reach the same.
        lo: first input of each phase.
        hi: last input of each phase.
        jump: J, inputs from a position to the one a period later; negative after a flip.
        whole: an operation over all positions came before, such as a global pool.
        mixed: it gave each of several positions all of them, as a dense layer does: no gate.
        ended: `lo` and `hi` hold all positions there are; beyond is only padding, which reads
            nothing.
        wraps: after how many inputs the input begins again, as after a roll; 0 where only padding
            lies beyond.
    """

    dim: int | None
    lo: Positions
    hi: Positions
    jump: int
    whole: bool = False
    mixed: bool = False
    ended: bool = False
    wraps: int = 0

    @property
    def place(self) -> int:
        """The dimension as a number that is none where there is none."""
        return -1 if self.dim is None else self.dim

    @property
    def size(self) -> int:
        """Inputs from the first to the last, at the position that has most."""
        return max(int((self.hi - self.lo).max(initial=-1)) + 1, 0)

    @property
    def stride(self) -> Fraction:
        """Inputs from one position to the next, on average."""
        return Fraction(self.jump, max(len(self.lo), 1))

    @property
    def spread(self) -> bool:
        """Whether its positions are places one after the other, not places told over and over."""
        told_over = len(self.lo) > 1 and self.jump == 0 and not self.ended
        return self.dim is not None and not self.whole and not told_over

    def first(self) -> tuple[int, int]:
        """First and last input of position 0, or of the next one that reads any."""
        reads = zip(self.lo, self.hi, strict=True)
        return next(((int(lo), int(hi)) for lo, hi in reads if lo <= hi), (0, 0))

    def at(self, positions: Positions) -> tuple[Positions, Positions]:
        """First and last input of positions, which may lie outside the map."""
        if self.ended:
            k = np.clip(positions, 0, len(self.lo) - 1)
            inside = k == positions
            return np.where(inside, self.lo[k], _NOTHING), np.where(inside, self.hi[k], -_NOTHING)
        q, r = np.divmod(positions, len(self.lo))
        return self.lo[r] + q * self.jump, self.hi[r] + q * self.jump

    def moved(self, dim: int | None) -> Reach:
        """The same positions along another dimension."""
        return self if dim == self.dim else replace(self, dim=dim)


def identity(dim: int) -> Reach:
    """Of the input itself: each position reaches itself."""
    return Reach(dim, np.zeros(1, np.int64), np.zeros(1, np.int64), 1)


Taps = Callable[[Positions], tuple[Positions, "NDArray[np.bool_] | None"]]


def window(
    reach: Reach, n: int, size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Reach:
    """After a window of `size` taps: position i < n reads i s - p, ..., i s - p + d(k - 1)."""
    last = dilation * (size - 1)
    if len(reach.lo) == 1 and not reach.ended:
        shift = -padding * reach.jump
        ends = (0, last * reach.jump)
        lo, hi = reach.lo + shift + min(ends), reach.hi + shift + max(ends)
        return replace(reach, lo=lo, hi=hi, jump=reach.jump * stride)

    def taps(i: Positions) -> tuple[Positions, None]:
        return (i * stride - padding)[:, None] + dilation * np.arange(size, dtype=np.int64), None

    phases = len(reach.lo) // math.gcd(len(reach.lo), stride)
    return gathered(reach, n, taps, phases, Fraction(stride))


def transposed(reach: Reach, n: int, size: int, stride: int, padding: int, dilation: int) -> Reach:
    """After a transposed convolution: output o reads each i with o = i s - p + d t, 0 <= t < k."""

    def taps(o: Positions) -> tuple[Positions, NDArray[np.bool_]]:
        offsets = o[:, None] + padding - dilation * np.arange(size, dtype=np.int64)
        sources, rest = np.divmod(offsets, stride)
        return sources, rest == 0

    return gathered(reach, n, taps, stride * len(reach.lo), Fraction(1, stride))


def gathered(reach: Reach, n: int, taps: Taps, phases: int, step: Fraction) -> Reach:
    """New positions that each read some of the former ones.

    Args:
        reach: of the former positions.
        n: how many new ones there are.
        taps: `(P,)` new positions to the `(P, k)` former ones that they read, and which count.
        phases: after how many new positions the rule repeats.
        step: former positions from a new one to the next, on average.
    """
    ended = reach.ended or phases > max(n, _PHASES)
    phases = n if ended else phases
    sources, kept = taps(np.arange(phases, dtype=np.int64))
    lo, hi = reach.at(sources)
    if kept is not None:
        lo, hi = np.where(kept, lo, _NOTHING), np.where(kept, hi, -_NOTHING)
    jump = round(reach.stride * step * phases)
    found = replace(reach, lo=lo.min(1), hi=hi.max(1), jump=jump, ended=ended)
    return found if ended else _shortest(found)


def listed(dim: int, lo: Positions, hi: Positions, whole: bool = False) -> Reach:
    """All positions of a dimension, as a rule that goes on beyond its ends where there is one.

    There is none where they were put together before, as those of gates.
    """
    n = len(lo)
    for phases in (d for d in range(1, 1 if whole else n // 2 + 1) if n % d == 0):
        jump = int(lo[phases] - lo[0])
        if all((x[phases:] == x[:-phases] + jump).all() for x in (lo, hi)):
            return Reach(dim, lo[:phases].copy(), hi[:phases].copy(), jump, whole)
    read = lo[hi >= lo]
    slope = Fraction(int(read[-1] - read[0]), len(read) - 1) if len(read) > 1 else Fraction(0)
    return Reach(dim, lo, hi, round(slope * n), whole, ended=True)


def fixed(reach: Reach, first: int, last: int) -> Reach:
    """All positions from `first` to `last` at once: no dimension is left."""
    lo, hi = reach.at(np.arange(first, last + 1, dtype=np.int64))
    lo, hi = (lo, hi) if len(lo) else nothing(1)
    ends = lo.min(keepdims=True), hi.max(keepdims=True)
    return replace(reach, dim=None, lo=ends[0], hi=ends[1], jump=0, ended=False)


def union(reaches: Sequence[Reach], n: int) -> Reach:
    """Of all, at each of `n` positions; the dimension is that of those that have one."""
    first = next((r for r in reaches if r.dim is not None), reaches[0])
    if len(reaches) == 1:
        return first
    whole, wraps = any(r.whole for r in reaches), max(r.wraps for r in reaches)
    phases = math.lcm(*(len(r.lo) for r in reaches))
    alone = any(r.ended or r.stride != first.stride for r in reaches) or phases > max(n, _PHASES)
    positions = np.arange(n if alone else phases, dtype=np.int64)
    if len(positions) == 1 and first.dim is None:
        lo, hi = min(r.lo for r in reaches), max(r.hi for r in reaches)
        return Reach(None, lo, hi, 0, whole, any(r.mixed for r in reaches), wraps=wraps)
    ends = [r.at(positions) for r in reaches]
    lo, hi = np.min([lo for lo, _ in ends], 0), np.max([hi for _, hi in ends], 0)
    if alone and first.dim is not None:  # no rule holds for all of them beyond the map
        return replace(listed(first.dim, lo, hi, whole), wraps=wraps)
    jump = round(first.stride * phases)
    return _shortest(Reach(first.dim, lo, hi, jump, whole, wraps=wraps))


def ends(reach: Reach, shape: Sequence[int]) -> tuple[int, int]:
    """The first and the last input of all positions of a map, perhaps beyond the input."""
    if reach.wraps:
        return -_NOTHING, _NOTHING
    lo, hi = _positions(reach, shape)
    return int(lo.min(initial=_NOTHING)), int(hi.max(initial=-_NOTHING))


def inside(
    reach: Reach, seen: tuple[int, int], shape: Sequence[int]
) -> tuple[Positions, Positions]:
    """First and last input of each position of a map, of those between the two `seen`."""
    lo, hi = _positions(reach, shape)
    if reach.wraps:
        turn = reach.wraps * ((hi < seen[0]).astype(np.int64) - (lo > seen[1]))
        lo, hi = lo + turn, hi + turn
        around = (lo < seen[0]) | (hi > seen[1])
        lo, hi = np.where(around, seen[0], lo), np.where(around, seen[1], hi)
    lo, hi = np.maximum(lo, seen[0]), np.minimum(hi, seen[1])
    reads = lo <= hi
    return np.where(reads, lo, _NOTHING), np.where(reads, hi, -_NOTHING)


def spans(
    reach: Reach, gate: Reach | None, seen: tuple[int, int], shape: Sequence[int]
) -> Positions:
    """Inputs from the first to the last that each position sees, without the padding.

    Args:
        reach: of the positions.
        gate: what they see besides.
        seen: the first and the last input that any of them reads.
        shape: of the map.
    """
    if gate is not None and gate.dim is None and gate.lo[0] <= seen[0] and seen[1] <= gate.hi[0]:
        return gate.hi - gate.lo + 1
    lo, hi = inside(reach, seen, shape)
    if gate is not None:
        first, last = _positions(gate, shape)
        if gate.dim != reach.dim:  # each position with each
            first, last = first[:, None], last[:, None]
        lo, hi = np.minimum(lo, first), np.maximum(hi, last)
    found: Positions = np.maximum(hi - lo + 1, 0)
    return found


def apart(one: Reach, other: Reach) -> bool:
    """Whether two say different things."""
    if one is other:
        return False
    same = one.dim == other.dim and one.jump == other.jump and one.whole == other.whole
    return not (same and np.array_equal(one.lo, other.lo) and np.array_equal(one.hi, other.hi))


def _positions(reach: Reach, shape: Sequence[int]) -> tuple[Positions, Positions]:
    return reach.at(np.arange(1 if reach.dim is None else shape[reach.dim], dtype=np.int64))


def nothing(n: int) -> tuple[Positions, Positions]:
    """Ends of n positions that read no input."""
    return np.full(n, _NOTHING), np.full(n, -_NOTHING)


def _shortest(reach: Reach) -> Reach:
    """With as few phases as say the same."""
    n = len(reach.lo)
    for phases in (d for d in range(1, n) if n % d == 0 and reach.jump * d % n == 0):
        step = reach.jump * phases // n
        lo, hi = reach.lo, reach.hi
        if (lo[phases:] == lo[:-phases] + step).all() and (
            hi[phases:] == hi[:-phases] + step
        ).all():
            return replace(reach, lo=lo[:phases], hi=hi[:phases], jump=step)
    return reach
