"""Rows of figures, and those of any stored result: its summaries by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convarium.intervals import wilson

Result = Mapping[str, Any]


class Figure(NamedTuple):
    """A row: everything as it is shown."""

    what: str
    figure: str
    n: str
    spread: str
    asked: str


class Known(NamedTuple):
    """A result whose figures have names of their own."""

    title: str
    sentence: str
    figures: Callable[[Result], Sequence[Figure]]


def number(value: Any) -> str:
    """Three significant digits, thousands with commas."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float) -> str:
    """A share in per cent."""
    return f"{100 * value:.2f} %"


def spread_of(found: Result, shown: Callable[[float], str] = number) -> str:
    """The interval in brackets, or else the range, of which one alone has none."""
    if "interval" in found:
        low, high = found["interval"]
        return f"({shown(low)} to {shown(high)})"
    ranged = "lowest" in found and found.get("n") != 1
    return f"{shown(found['lowest'])} to {shown(found['highest'])}" if ranged else ""


def within(top: Result, bottom: Result) -> str:
    """What a ratio of two lies within, by the ranges of both; where its own were not kept."""
    low, high = top["lowest"] / bottom["highest"], top["highest"] / bottom["lowest"]
    return f"within {number(low)} to {number(high)}"


def holds(figure: Figure) -> bool | None:
    """Whether a figure is as asked for; None where that is no bound in its own unit.

    >>> holds(Figure("error", "0.722 m/s", "3", "", "at most 0.69 m/s"))
    False
    """
    number = r"([\d.,]+(?:e-?\d+)?)(.*)"
    asked = re.fullmatch(rf"(at most |at least |under |){number}", figure.asked)
    found = re.fullmatch(number, figure.figure)
    if not asked or not found or asked[3] != found[2]:
        return None
    value, bound = (float(each.replace(",", "")) for each in (found[1], asked[2]))
    met = {"at most ": value <= bound, "at least ": value >= bound, "under ": value < bound}
    return met.get(asked[1], value == bound)


def counted(what: str, right: int, n: int, *, share: bool = True, asked: str = "") -> Figure:
    """The row of a count of n, or of its share, with Wilson's interval."""
    low, high = wilson(right, n)
    figure = percent(right / n) if share else str(right)
    return Figure(what, figure, f"{n:,}", f"({percent(low)} to {percent(high)})", asked)


def row(
    what: str,
    found: Result | float,
    *,
    n: Any = "",
    unit: str = "",
    shown: Callable[[float], str] = number,
    asked: str = "",
    spread: str = "",
) -> Figure:
    """The row of a number, or of a summary with its n and spread."""
    if not isinstance(found, Mapping):
        return Figure(what, shown(found) + unit, str(n), spread, asked)
    value = found["mean"] if "mean" in found else found["median"]
    return Figure(what, shown(value) + unit, str(found["n"]), spread_of(found, shown), asked)


def summaries(result: Result) -> list[Figure]:
    """Every summary in a result, named by where it stands."""
    return [row(" / ".join(path), found) for path, found in _summaries(result, ())]


def _summaries(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Result]]:
    if isinstance(value, Mapping):
        if "n" in value and ("mean" in value or "median" in value):
            yield path, value
            return
        for key, inner in value.items():
            if key not in ("runs", "machine", "versions"):
                yield from _summaries(inner, (*path, str(key).replace("_", " ")))
    elif isinstance(value, list):
        for place, inner in enumerate(value, 1):
            words = inner.get("network", place) if isinstance(inner, Mapping) else place
            yield from _summaries(inner, (*path, str(words)))
