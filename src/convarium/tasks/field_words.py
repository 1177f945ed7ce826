"""Rows of a comparison of fine fields as sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from convarium.intervals import Interval
from convarium.tasks.field_ensembles import Rank
from convarium.tasks.field_rows import FieldRow


def row(found: FieldRow, unit: str) -> str:
    """RMSE of a method with its interval, and other figures."""
    low, high = found.rmse_interval
    told = f"{found.method:<22} RMSE {found.rmse:.4g} ({low:.4g} to {high:.4g}) {unit}".rstrip()
    told += f", MAE {found.mae:.4g}, bias {found.bias:.2g}, fine waves {found.high_waves:.2f}"
    return f"{told}, conservation error {found.conservation_error:.1e}"


def distribution(crps: float, unit: str, found: FieldRow | None, ranks: Sequence[Rank]) -> str:
    """CRPS with its interval, and how much of the truth lies outside of the distribution."""
    told = f"CRPS {crps:.4g} {unit}".rstrip()
    if found is not None:
        told += " ({:.4g} to {:.4g})".format(*found.crps_interval)
    (low, below, few), *_, (high, above, many) = ranks
    told += f"; the truth is {low} in {below:.1%} ({few:.1%} is right)"
    return f"{told}, and {high} in {above:.1%} ({many:.1%})"


def gained(found: tuple[str, float, Interval] | None) -> str:
    """By how much CRPS is smaller than the least of others; nothing where that is not known."""
    if found is None or math.isnan(found[1]):
        return ""
    over, gain, (low, high) = found
    word = "smaller" if gain >= 0 else "larger"
    return f"; CRPS {abs(gain):.1%} {word} than {over} ({low:.1%} to {high:.1%})"


def extremes(rows: Sequence[FieldRow], unit: str) -> str:
    """How far the 99th percentile of cells is off, and what they reach once in ten years."""
    each = ", ".join(f"{one.quantile_error:.4g} ({one.method})" for one in rows)
    told = f"99th percentile off by {each} {unit}".rstrip()
    if any(math.isnan(one.return_error) for one in rows):
        return told
    each = ", ".join(f"{one.return_error:.4g} ({one.method})" for one in rows)
    return f"{told}; once in ten years by {each} {unit}".rstrip()


def gain_as_json(over: str, gain: float, interval: Interval) -> dict[str, Any]:
    """The share by which an error is smaller than another's; what is not known is None."""
    return {
        "over": over,
        "share": None if math.isnan(gain) else gain,
        "interval": interval.or_none(),
    }
