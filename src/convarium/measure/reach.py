"""Which inputs the positions of a map reach, along one axis: exact integers.

    position i = qP + r reads inputs from lo[r] + qJ to hi[r] + qJ        (r = i mod P)

P is 1 for convolutions and pools, so that lo + iJ and hi + iJ say all; transposed convolutions and
interpolation give each of P phases limits of its own. The rule goes on beyond the map's ends, into
the padding and past it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]

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
    """

    dim: int | None
    lo: Positions
    hi: Positions
    jump: int
    whole: bool = False

    @property
    def place(self) -> int:
        """The dimension as a number that is none where there is none."""
        return -1 if self.dim is None else self.dim

    @property
    def size(self) -> int:
        """Inputs from the first to the last, at the position that has most."""
        return max(int((self.hi - self.lo).max()) + 1, 0)

    @property
    def stride(self) -> Fraction:
        """Inputs from one position to the next, on average."""
        return Fraction(self.jump, len(self.lo))

    def first(self) -> tuple[int, int]:
        """First and last input of position 0, or of the next one that reads any."""
        k = int((self.hi >= self.lo).argmax())
        return int(self.lo[k]), int(self.hi[k])

    def at(self, positions: Positions) -> tuple[Positions, Positions]:
        """First and last input of positions, which may lie outside the map."""
        q, r = np.divmod(positions, len(self.lo))
        return self.lo[r] + q * self.jump, self.hi[r] + q * self.jump

    def moved(self, dim: int | None) -> Reach:
        """The same positions along another dimension."""
        return self if dim == self.dim else replace(self, dim=dim)


def identity(dim: int) -> Reach:
    """Of the input itself: each position reaches itself."""
    return Reach(dim, np.zeros(1, np.int64), np.zeros(1, np.int64), 1)


def window(reach: Reach, size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Reach:
    """After a window of `size` taps: position i reads i s - p, i s - p + d, ..., + d(k - 1)."""
    last = dilation * (size - 1)
    if len(reach.lo) == 1:
        shift = -padding * reach.jump
        ends = (0, last * reach.jump)
        lo, hi = reach.lo + shift + min(ends), reach.hi + shift + max(ends)
        return replace(reach, lo=lo, hi=hi, jump=reach.jump * stride)
    phases = len(reach.lo) // math.gcd(len(reach.lo), stride)
    first = np.arange(phases, dtype=np.int64) * stride - padding
    taps = first[:, None] + dilation * np.arange(size, dtype=np.int64)
    return gathered(reach, taps, _exact(reach.stride * stride * phases))


def transposed(reach: Reach, size: int, stride: int, padding: int, dilation: int) -> Reach:
    """After a transposed convolution: output o reads each i with o = i s - p + d t, 0 <= t < k."""
    phases = stride * len(reach.lo)
    outputs = np.arange(phases, dtype=np.int64)[:, None] + padding
    offsets = outputs - dilation * np.arange(size, dtype=np.int64)
    sources, rest = np.divmod(offsets, stride)
    return gathered(reach, sources, reach.jump, kept=rest == 0)


def gathered(
    reach: Reach, sources: Positions, jump: int, kept: NDArray[np.bool_] | None = None
) -> Reach:
    """Positions that each read some of the former ones.

    Args:
        reach: of the former positions.
        sources: `(P', k)`, what each new one reads.
        jump: J', inputs from a new position to the one P' later.
        kept: which of them count; None means all.
    """
    lo, hi = reach.at(sources)
    if kept is not None:
        lo, hi = np.where(kept, lo, _NOTHING), np.where(kept, hi, -_NOTHING)
    return _shortest(replace(reach, lo=lo.min(1), hi=hi.max(1), jump=jump))


def listed(reach: Reach, sources: Positions, dim: int | None = None) -> Reach:
    """Positions that read one former position each, all listed."""
    lo, hi = reach.at(sources)
    n = len(sources)
    jump = _slope(sources) * reach.stride * n
    whole = jump if jump.denominator == 1 else Fraction(round(jump))
    return _shortest(Reach(reach.dim if dim is None else dim, lo, hi, int(whole), reach.whole))


def fixed(reach: Reach, first: int, last: int) -> Reach:
    """All positions from `first` to `last` at once: no dimension is left."""
    lo, hi = reach.at(np.arange(first, last + 1, dtype=np.int64))
    return Reach(None, lo.min(keepdims=True), hi.max(keepdims=True), 0, reach.whole)


def union(reaches: Sequence[Reach], n: int) -> Reach:
    """Of all, at each of `n` positions; the dimension is that of those that have one."""
    first = next((r for r in reaches if r.dim is not None), reaches[0])
    if len(reaches) == 1:
        return first
    whole = any(r.whole for r in reaches)
    phases = math.lcm(*(len(r.lo) for r in reaches))
    placed = [r for r in reaches if r.dim is not None]
    if any(r.stride != first.stride for r in placed):
        phases = n  # no rule holds for all of them beyond the map
    positions = np.arange(phases, dtype=np.int64)
    if phases == 1:
        lo, hi = min(r.lo for r in reaches), max(r.hi for r in reaches)
    else:
        ends = [r.at(positions) for r in reaches]
        lo, hi = np.min([lo for lo, _ in ends], 0), np.max([hi for _, hi in ends], 0)
    return _shortest(Reach(first.dim, lo, hi, round(first.stride * phases), whole))


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


def _slope(sources: Positions) -> Fraction:
    """Former positions from one listed source to the next, on average."""
    if len(sources) < 2:
        return Fraction(1)
    return Fraction(int(sources[-1] - sources[0]), len(sources) - 1)


def _exact(number: Fraction) -> int:
    return int(number)
