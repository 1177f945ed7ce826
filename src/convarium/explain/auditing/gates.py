"""Limits that an audit may be held to, as a build does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convarium.errors import OptionError
from convarium.explain.auditing.results import SHORTCUTS
from convarium.explain.auditing.searching import shows_small
from convarium.measure.arguments import real

if TYPE_CHECKING:
    from convarium.explain.auditing.auditor import Audit


@dataclass(frozen=True)
class Gate:
    """A limit, what was measured, and whether it holds.

    Attributes:
        name: "max_gap", "max_flip" or "no_shortcut".
        limit: that was set.
        value: what was measured; for "no_shortcut" the number of supported shortcuts. None where
            nothing could be measured, which does not pass; nor do groups of which a part could not.
        passed: whether it holds.
        sentence: the same in words.
    """

    name: str
    limit: float
    value: float | None
    passed: bool
    sentence: str

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return dict(vars(self))


def gates(
    audit: Audit, max_gap: float | None, max_flip: float | None, no_shortcut: bool
) -> tuple[Gate, ...]:
    """Hold an audit to limits; `Audit.gates` says what they mean.

    Raises:
        OptionError: a limit outside of [0, 1], or one of what was not measured.
    """
    check_limits(max_gap, max_flip, groups=bool(audit.groups), regions=audit.regions is not None)
    found = [] if max_gap is None else [_gap(audit, max_gap)]
    found += [] if max_flip is None else [_flip(audit, max_flip)]
    return (*found, _shortcut(audit)) if no_shortcut else tuple(found)


def check_limits(
    max_gap: float | None, max_flip: float | None, *, groups: bool, regions: bool
) -> None:
    """Refuse limits that cannot be held, before there is anything to measure.

    Raises:
        OptionError: a limit outside of [0, 1], or one of what is not measured.
    """
    for name, limit in (("max_gap", max_gap), ("max_flip", max_flip)):
        if limit is not None and not 0 <= real(limit) <= 1:
            raise OptionError(f"{name} (={limit!r}) must be a share from 0 to 1, such as 0.05.")
    if max_gap is not None and not (groups or regions):
        raise OptionError(
            "max_gap needs group columns or regions, between which gaps are measured."
        )
    if max_flip is not None and not regions:
        raise OptionError("max_flip needs regions, whose backgrounds are swapped.")


def _gap(audit: Audit, limit: float) -> Gate:
    """The largest gap whose interval lies above 0; 0 where there is none such."""
    gaps = [
        (f"{cell.label} where {column.column} is {cell.group}", gap)
        for column in audit.groups
        for cell, gap in column.gaps
    ]
    if audit.regions is not None:
        gaps.append(("the backgrounds", audit.regions.gap))
    if not gaps:
        least = audit.groups[0].least
        sentence = f"No group has {least} samples of a label, beside as many in other groups."
        return Gate("max_gap", limit, None, False, sentence)
    certain = [pair for pair in gaps if pair[1].interval.low > 0]
    name, gap = max(certain or gaps, key=lambda pair: pair[1].value)
    value = gap.value if certain else 0.0
    verb = "above" if value > limit else "within"
    sentence = f"The largest gap, of {name}, is {gap.value:.3f}, {verb} the limit of {limit:g}."
    if not certain:
        low, high = gap.interval
        sentence = (
            f"No gap is certain; the largest, of {name}, is {gap.value:.3f}, with an interval from "
            f"{low:.3f} to {high:.3f}."
        )
    small = [column.small_cells for column in audit.groups if column.small]
    sentence = " ".join([sentence, *small])
    return Gate("max_gap", limit, value, value <= limit and not small, sentence)


def _flip(audit: Audit, limit: float) -> Gate:
    if audit.regions is None:
        raise OptionError("max_flip needs regions, whose backgrounds are swapped.")
    flips = audit.regions.background
    value = flips.value if flips.interval.low > 0 else 0.0
    verb = "above" if value > limit else "within"
    sentence = (
        f"Backgrounds of other labels flip {flips.first.value:.3f} of the predictions, those of "
        f"the same label {flips.second.value:.3f}; the excess, {value:.3f}, is {verb} the limit of "
        f"{limit:g}."
    )
    return Gate("max_flip", limit, value, value <= limit, sentence)


def _shortcut(audit: Audit) -> Gate:
    found = [claim for claim in audit.claims if claim.shortcut]
    unknown = "" if found else _untested(audit)
    if unknown:
        return Gate("no_shortcut", 0, None, False, unknown)
    words = f"{len(found)} shortcuts are" if len(found) != 1 else "1 shortcut is"
    open_ = sum(c.verdict == "undecided" and c.kind in SHORTCUTS for c in audit.claims)
    sentence = f"{words} supported: {found[0].text}" if found else "No shortcut is supported."
    if open_:
        more = "more " if found else ""
        sentence += f" {open_} {more}{'are' if open_ > 1 else 'is'} undecided."
    return Gate("no_shortcut", 0, len(found), not found, sentence)


def _untested(audit: Audit) -> str:
    """Why no shortcut could have been found, as a sentence; "" where one could."""
    if audit.sanity.verdict != "passes":
        return (
            f"Whether there is a shortcut is open: {audit.sanity.method} does not pass the sanity "
            f"check on this network. {audit.sanity.reason}"
        )
    asked = [claim for claim in audit.claims if claim.kind in SHORTCUTS]
    tested = any(claim.p is not None or claim.verdict == "not supported" for claim in asked)
    # of heatmaps that would show a small place, and do not, there is nothing to test
    none_small = shows_small(audit.map_size) and not any(c.candidate for c in audit.clusters)
    if tested or (none_small and audit.clusters):
        return ""
    return (
        "Whether there is a shortcut is open: no place and no background could be tested; more "
        "samples, an earlier layer or regions would tell."
    )
