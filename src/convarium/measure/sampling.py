"""Which positions a resampled one reads: adaptive pools and interpolation, as torch computes them.

adaptive pool         i reads floor(i n / m), ..., ceil((i + 1) n / m) - 1
nearest               i reads floor(i n / m)
linear, cubic         i reads the taps around (i + 1/2) n / m - 1/2 whose weight is not zero
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from convarium.graph import Operation
from convarium.measure.reach import Positions, Reach, gathered

_TAPS: Final = {"linear": (0, 1), "bilinear": (0, 1), "trilinear": (0, 1), "bicubic": (-1, 0, 1, 2)}


@dataclass(frozen=True)
class Taps:
    """What each new position of one dimension reads.

    Attributes:
        sources: `(P, k)` former positions, some perhaps more than once.
        advance: former positions from a new one to the one P later.
    """

    sources: Positions
    advance: int

    def after(self, reach: Reach, n: int) -> Reach:
        """What the n new positions reach."""
        rows = len(self.sources)

        def taps(i: Positions) -> tuple[Positions, None]:
            q, r = np.divmod(i, rows)
            return self.sources[r] + (q * self.advance)[:, None], None

        times = len(reach.lo) // math.gcd(len(reach.lo), self.advance)
        return gathered(reach, n, taps, rows * times, Fraction(self.advance, rows))


EVERY: Final = Taps(np.zeros((0, 0), np.int64), 0)  # one position that reads all


def taps(operation: Operation, old: Sequence[int], new: Sequence[int]) -> Mapping[int, Taps]:
    """By dimension, for those whose size may change."""
    rank, name = len(old), operation.name
    adaptive = "adaptive" in name
    axes = {"1": 1, "2": 2, "3": 3}[name.rstrip("d")[-1]]
    found: dict[int, Taps] = {}
    for k, dim in enumerate(range(rank - axes, rank)):
        n, m = old[dim], new[dim]
        if adaptive and m == 1:
            found[dim] = EVERY
        elif adaptive:
            found[dim] = _adaptive(n, m)
        else:
            found[dim] = _interpolated(operation, n, m, _scale(operation, k, axes))
    return found


def _adaptive(n: int, m: int) -> Taps:
    """Windows of a pool with m results of n positions."""
    phases, advance = m // math.gcd(n, m), n // math.gcd(n, m)
    starts = [i * n // m for i in range(phases)]
    ends = [-(-(i + 1) * n // m) for i in range(phases)]
    return _rows([list(range(a, b)) for a, b in zip(starts, ends, strict=True)], advance)


def _interpolated(operation: Operation, n: int, m: int, scale: float | None) -> Taps:
    """Taps with a weight that is not zero; `scale` is what the caller gave, new by old."""
    step = Fraction(n, m)
    if scale is not None:
        step = 1 / Fraction(scale).limit_denominator(10**6)
    kind = next((key for key in _TAPS if key in operation.name), "nearest")
    aligned = bool(operation.arguments.get("align_corners", False))
    if aligned:
        step = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
    phases, advance = step.denominator, step.numerator
    rows = []
    for i in range(phases):
        if kind == "nearest":
            centre = (i + Fraction(1, 2)) * step if "exact" in operation.name else i * step
            rows.append([math.floor(centre)])
            continue
        centre = i * step if aligned else (i + Fraction(1, 2)) * step - Fraction(1, 2)
        whole = math.floor(centre)
        rows.append([whole] if centre == whole else [whole + t for t in _TAPS[kind]])
    return _rows(rows, advance)


def _rows(rows: Sequence[Sequence[int]], advance: int) -> Taps:
    """Rows of unequal lengths as one array, their last entries repeated."""
    longest = max(map(len, rows))
    filled = [[*row, *[row[-1]] * (longest - len(row))] for row in rows]
    return Taps(np.array(filled, np.int64), advance)


def _scale(operation: Operation, axis: int, axes: int) -> float | None:
    given: Mapping[str, Any] = operation.arguments
    factors = given.get("scale_factors")
    if factors:
        return float(factors[axis])
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    value = given.get(names[axes][axis])
    return None if value is None else float(value)
