"""What a network of fields says of one time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldRecord:
    """The fine fields of one time in a few numbers.

    Args:
        id: the time's number in its data set.
        names, units: of the variables.
        mean, low, high: over the cells, one a variable.
    """

    id: int
    names: tuple[str, ...] = field(repr=False)
    units: tuple[str, ...] = field(repr=False)
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    target: ClassVar[None] = None

    def columns(self) -> Mapping[str, Any]:
        """`mean_<name>`, `low_<name>` and `high_<name>` of each variable."""
        found = {}
        for k, name in enumerate(self.names):
            for word in ("mean", "low", "high"):
                found[f"{word}_{name}"] = getattr(self, word)[k]
        return found

    def sentence(self) -> str:
        """Each variable's range with its unit."""
        rows = zip(self.names, self.low, self.high, self.units, strict=True)
        return "; ".join(
            f"{name} {low:.4g} to {high:.4g} {unit}".rstrip() for name, low, high, unit in rows
        )
