"""What a network may cost: limits by name, and by how much one is missed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from convarium.errors import OptionError
from convarium.measure.candidates import Form

_FOUND: Final[Mapping[str, Callable[[Form], float]]] = {
    "max_parameters": lambda form: form.parameters,
    "max_macs": lambda form: form.macs,
    "max_memory_mb": lambda form: form.memory / 1e6,
    "min_field": lambda form: min(form.field, default=0),
    "causal": lambda form: float(form.causal),
}
_UNITS: Final[Mapping[str, str]] = {
    "max_parameters": " parameters",
    "max_macs": " multiply-adds",
    "max_memory_mb": " MB",
    "min_field": " inputs seen along an axis",
    "max_ms": " ms",
}


@dataclass(frozen=True)
class Miss:
    """One limit that a network does not meet.

    Attributes:
        limit: the name of the argument.
        allowed: its value.
        found: the network's.
        ratio: the larger by the smaller, above 1.
    """

    limit: str
    allowed: float
    found: float
    ratio: float

    def words(self) -> str:
        """What is there, what the limit is, and the difference: 12.3 ms where max_ms=10."""
        if self.limit == "causal":
            return "not causal: each output sees later inputs too"
        if not self.found:
            return f"a field that cannot be followed where {self.limit}={number(self.allowed)}"
        more = self.found / self.allowed - 1
        if self.ratio >= 11:
            share = f"{number(self.ratio)} times {'as much' if more > 0 else 'less'}"
        else:
            percent = 100 * abs(more)
            share = f"{percent:.0f}" if percent >= 1 else f"{percent:.2g}"
            share += " % more" if more > 0 else " % less"
        found = f"{number(self.found)}{_UNITS[self.limit]}"
        return f"{found} where {self.limit}={number(self.allowed)} ({share})"


def misses(form: Form, limits: Mapping[str, float], ms: float | None = None) -> tuple[Miss, ...]:
    """The limits that a network does not meet; that of time only where it was measured."""
    found = []
    for name, allowed in limits.items():
        value = ms if name == "max_ms" else _FOUND[name](form)
        if value is None:
            continue
        low, high = (allowed, value) if name.startswith("max") else (value, allowed)
        if high > low:
            found.append(Miss(name, allowed, value, high / low if low else math.inf))
    return tuple(found)


def worst(missed: tuple[Miss, ...]) -> float:
    """How far a network is from its limits: the largest of the ratios."""
    return max((miss.ratio for miss in missed), default=1.0)


def checked_limits(given: Mapping[str, float | None]) -> dict[str, float]:
    """The limits that were given.

    Raises:
        OptionError: one is not a number above 0.
    """
    limits = {name: value for name, value in given.items() if value is not None}
    for name, value in limits.items():
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise OptionError(f"{name} (={value!r}) must be a number above 0; None sets no limit.")
    return limits


def number(value: float) -> str:
    """A number in a sentence: 12.3, 600,000,000, 0.04.

    >>> number(12.345), number(4_231_976.0), number(10.0)
    ('12.3', '4,231,976', '10')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
