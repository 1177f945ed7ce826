"""Which positions a resampled one reads: adaptive pools and interpolation, as torch computes them.

adaptive pool         i reads floor(i n / m), ..., ceil((i + 1) n / m) - 1
nearest               i reads floor(i n / m), in numbers that torch rounds
linear, cubic         i reads the taps around (i + 1/2) n / m - 1/2 whose weight is not zero
antialiased           the same, from taps n / m times as far apart where n > m
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from convarium.graph import Operation
from convarium.measure.rules.reach import Positions, Reach, gathered

_SMALL: Final = 128  # height and width of pictures for which torch has a kernel of its own
_MOST: Final = 2**12  # rows of a rule that are worked out though the map has fewer positions


@dataclass(frozen=True)
class Taps:
    """What each new position of one dimension reads.

    Attributes:
        sources: `(P, k)` former positions, some perhaps more than once.
        period: P; there are fewer sources where the map has fewer positions and P is large.
        advance: former positions from a new one to the one P later.
    """

    sources: Positions
    period: int
    advance: int

    def after(self, reach: Reach, n: int) -> Reach:
        """What the n new positions reach."""

        def taps(i: Positions) -> tuple[Positions, None]:
            q, r = np.divmod(i, self.period)
            return self.sources[r] + (q * self.advance)[:, None], None

        times = len(reach.lo) // math.gcd(len(reach.lo), self.advance)
        step = Fraction(self.advance, self.period)
        return gathered(reach, n, taps, self.period * times, step)


EVERY: Final = Taps(np.zeros((0, 0), np.int64), 1, 0)  # one position that reads all


def taps(operation: Operation, old: Sequence[int], new: Sequence[int]) -> Mapping[int, Taps]:
    """By dimension, for those whose size may change."""
    rank, name = len(old), operation.name
    adaptive = "adaptive" in name
    axes = next(n for n in (1, 2, 3) if f"{n}d" in name)
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
    return ragged([[*range(a, b)] for a, b in zip(starts, ends, strict=True)], phases, advance)


def _interpolated(operation: Operation, n: int, m: int, scale: float | None) -> Taps:
    """Taps with a weight that is not zero; `scale` is what the caller gave, new by old."""
    step = Fraction(n, m)
    if scale is not None:
        step = 1 / Fraction(scale).limit_denominator(10**6)
    name, aligned = operation.name, bool(operation.arguments.get("align_corners", False))
    if aligned:
        step = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
    if "nearest" in name:
        return _nearest(_seen(operation, n, m, scale), step, int("exact" in name))
    phases = step.denominator
    rows = range(phases if phases <= _MOST else min(phases, m))
    size = 4 if "cubic" in name else 2
    antialiased = name.endswith("_aa")
    shift = Fraction(int(antialiased or not aligned), 2)
    width = max(step, Fraction(1)) if antialiased else Fraction(1)
    found = [_read((i + shift) * step - shift, size, width) for i in rows]
    return ragged(found, phases, step.numerator)


def _read(centre: Fraction, size: int, width: Fraction) -> list[int]:
    """The positions that a kernel of `size` lobes around `centre` gives a weight."""
    reach = size * width / 2
    around = range(math.floor(centre - reach), math.ceil(centre + reach) + 1)
    far = ((j, abs(j - centre)) for j in around)
    return [j for j, distance in far if distance < reach and distance != width]


def _nearest(seen: Positions, step: Fraction, half: int) -> Taps:
    """The position below, or below the middle, where rounding does not miss it by one."""
    m = len(seen)
    as_told = (seen == _below(np.arange(m), step, half)).all()
    periods = 1 if as_told else -(-m // step.denominator)  # else it holds for all together only
    phases, advance = step.denominator * periods, step.numerator * periods
    sources = _below(np.arange(max(m, min(phases, _MOST))), step, half)
    sources[:m] = seen
    return Taps(sources[:phases, None], phases, advance)


def _seen(operation: Operation, n: int, m: int, scale: float | None) -> Positions:
    """The nearest positions as torch's processor finds them, with its rounding."""
    result = operation.results[0]
    small = result is not None and len(result.shape) == 4 and sum(result.shape[2:]) <= _SMALL
    double = result is not None and result.dtype == torch.float64 and not small
    number: Any = np.float64 if double else np.float32
    step = number(n) / number(m) if scale is None else number(1 / scale)
    places: NDArray[Any] = np.arange(m, dtype=number)
    if "exact" not in operation.name:
        found = places * step
    elif small or torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        found = (places + number(0.5)) * step
    else:  # a product and a sum that are rounded together
        found = ((places + 0.5) * np.float64(step) - 0.5).astype(number) + number(0.5)
    below: Positions = np.floor(found.astype(np.float32)).astype(np.int64)
    return np.minimum(below, n - 1)


def _below(places: Positions, step: Fraction, half: int) -> Positions:
    """floor((i + half / 2) step), exactly."""
    return (2 * places + half) * step.numerator // (2 * step.denominator)


def ragged(rows: Sequence[Sequence[int]], period: int, advance: int) -> Taps:
    """Rows of unequal lengths as one array, their last entries repeated."""
    longest = max(map(len, rows))
    filled = [[*row, *[row[-1]] * (longest - len(row))] for row in rows]
    return Taps(np.array(filled, np.int64), period, advance)


def _scale(operation: Operation, axis: int, axes: int) -> float | None:
    given: Mapping[str, Any] = operation.arguments
    factors = given.get("scale_factors")
    if factors:
        return float(factors[axis])
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    value = given.get(names[axes][axis])
    return None if value is None else float(value)
