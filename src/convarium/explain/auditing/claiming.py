"""From measured effects to claims: supported only where intervention and attribution agree.

an effect is there: adjusted p (Holm) of at most 0.05, and at least `least` large
an effect is not there: its whole interval lies below `least`, and the control is quiet
else it is open
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from convarium.explain.auditing.counting import Difference, holm
from convarium.explain.auditing.region_results import DonorLabel, Regions
from convarium.explain.auditing.results import Claim, GroupColumn, PlaceTest, Verdict
from convarium.explain.controls import SampleMean
from convarium.explain.sanity import SanityCheck

LEVEL = 0.05
_ON_OBJECT = 0.5
_DROWNED = 0.5  # of a control: changes of any kind do too much for the test to tell anything


class _Evidence(NamedTuple):
    """What a claim rests on: the weakest of its interventions, and what the heat says."""

    claim: Claim
    effects: tuple[Difference, ...]
    agrees: Literal["agrees", "disagrees", "does not tell"]
    heat: str
    does: str
    against: str = ""  # what speaks against the claim whatever the effects are
    few: str = ""  # why nothing could be measured
    may: str = ""  # why it is open though the effects are not there

    @property
    def tested(self) -> bool:
        """Whether the effects decide, so that Holm's correction has to count them."""
        return not (self.against or self.few)


def claims(
    tests: Sequence[PlaceTest],
    regions: Regions | None,
    columns: Sequence[GroupColumn],
    sanity: SanityCheck,
    least: float,
) -> tuple[Claim, ...]:
    """Every claim of an audit with its verdict."""
    evidence = [_place(test, least) for test in tests]
    if regions is not None:
        evidence += [_background(regions), *map(_donor, regions.donors), _object(regions)]
    tested = [each for each in evidence if each.tested]
    values = iter(holm([max(effect.p for effect in each.effects) for each in tested]))
    judged = [
        _judged(each, next(values), sanity, least) if each.tested else _untested(each)
        for each in evidence
    ]
    groups = [_group(column, least) for column in columns]
    return (*judged, *groups)


def _untested(evidence: _Evidence) -> Claim:
    verdict: Verdict = "not supported" if evidence.against else "undecided"
    return replace(evidence.claim, verdict=verdict, reason=evidence.against or evidence.few)


def _judged(evidence: _Evidence, p: float, sanity: SanityCheck, least: float) -> Claim:
    weakest = min(evidence.effects, key=lambda effect: effect.value)
    found = _effect(weakest, p, least)
    verdict: Verdict = "undecided"
    reason = evidence.does
    if evidence.may and found != "yes":
        reason += evidence.may
    elif found == "no":
        verdict = "not supported"
        reason += f"; the interval lies below what counts, {_points(least)}."
    elif found == "drowned":
        reason += "; the control changes so much itself that nothing can be said."
    elif found == "open":
        why = f"p = {p:.2g} with Holm's correction" if p > LEVEL else "less than what counts"
        reason += f"; {why}, so more samples are needed."
    elif sanity.verdict != "passes":
        word = "fails" if sanity.verdict == "fails" else "does not clearly pass"
        reason += f", but {sanity.method} {word} the sanity check on this network, so its maps "
        reason += "prove nothing here."
    elif evidence.agrees != "agrees":
        reason += f", but the heat {evidence.agrees}: {evidence.heat}."
    else:
        verdict, reason = "supported", f"{reason}, and the heat agrees: {evidence.heat}."
    return replace(evidence.claim, verdict=verdict, reason=reason, p=p)


def _effect(effect: Difference, p: float, least: float) -> Literal["yes", "no", "open", "drowned"]:
    if p <= LEVEL and effect.value >= least:
        return "yes"
    if effect.second.value >= _DROWNED:
        return "drowned"
    return "no" if effect.interval.high < least else "open"


def _place(test: PlaceTest, least: float) -> _Evidence:
    cluster = test.cluster
    text = (
        f"A small place beside the objects decides for {cluster.label}: {cluster.box.words} "
        f"({cluster.box.share:.1%} of the input)."
    )
    does = (
        f"Pasted into {test.pasted.first.n} samples of other predictions, beside their objects, it "
        f"turns {test.pasted.first.value:.1%} into {cluster.label}; another place of the same size "
        f"turns {test.pasted.second.value:.1%}, the same place of other samples "
        f"{test.foreign.second.value:.1%}"
    )
    against = few = may = ""
    if test.on_object is not None and test.on_object >= _ON_OBJECT:
        against = f"{test.on_object:.0%} of the place lies on the marked objects, where it should."
    elif not test.pasted.first.n:
        few = f"The half of the samples that tests it has {test.n} maps of this cluster: too few."
    elif test.whole is not None and test.whole.value >= least:
        may = (
            f"; over what their answers rest on it turns {test.whole.first.value:.1%}, so it may "
            "be a part of the objects, which regions would tell."
        )
    return _Evidence(
        claim=Claim("place", text, "undecided", ""),
        effects=(test.pasted, test.foreign),
        agrees=_above_one(test.lift),
        heat=_strength("in the place", test.lift),
        does=does,
        against=against,
        few=few,
        may=may,
    )


def _background(regions: Regions) -> _Evidence:
    flips = regions.background
    return _Evidence(
        claim=Claim("background", "What is outside of the regions decides.", "undecided", ""),
        effects=(flips,),
        agrees=_above_one(regions.outside),
        heat=_strength("outside", regions.outside),
        does=(
            f"A background of another label flips {flips.first.value:.1%} of {flips.first.n} "
            f"predictions, one of the same label {flips.second.value:.1%}; accuracy differs by "
            f"{_points(regions.gap.value)}"
        ),
    )


def _donor(donor: DonorLabel) -> _Evidence:
    taken = donor.taken
    return _Evidence(
        claim=Claim(
            "background",
            f"What is outside of the regions decides for {donor.label}.",
            "undecided",
            "",
        ),
        effects=(taken,),
        agrees=_above_one(donor.outside),
        heat=_strength("outside", donor.outside),
        does=(
            f"On backgrounds of {donor.label}, {taken.first.value:.1%} of {taken.first.n} samples "
            f"of other labels are called {donor.label}; on those of their own label "
            f"{taken.second.value:.1%}"
        ),
    )


def _object(regions: Regions) -> _Evidence:
    flips = regions.object
    return _Evidence(
        claim=Claim("object", "What is inside of the regions decides.", "undecided", ""),
        effects=(flips,),
        agrees=_above_one(regions.inside),
        heat=_strength("inside", regions.inside),
        does=(
            f"Removing the region flips {flips.first.value:.1%} of {flips.first.n} predictions, "
            f"an equal area elsewhere {flips.second.value:.1%}"
        ),
        few="" if flips.first.n else "No region leaves an equal area elsewhere to be removed.",
    )


def _group(column: GroupColumn, least: float) -> Claim:
    """By the largest gap that is there, else that may be; open while any is not known."""
    text = f"Accuracy depends on {column.column}."
    if not column.gaps:
        reason = f"No group has {column.least} samples of a label, beside as many in other groups."
        return Claim("group", text, "undecided", reason)
    there = [pair for pair in column.gaps if pair[1].interval.low > 0 and pair[1].value >= least]
    possible = [pair for pair in column.gaps if pair[1].interval.high >= least]
    cell, gap = (there or possible or column.gaps)[0]
    low, high = gap.interval
    reason = (
        f"Of {cell.label}, {gap.second.value:.1%} are right where {column.column} is {cell.group} "
        f"({gap.second.n} samples) and {gap.first.value:.1%} elsewhere ({gap.first.n}): "
        f"{_points(gap.value)}, interval {100 * low:.1f} to {100 * high:.1f}, which holds for all "
        f"{column.compared} comparisons together."
    )
    open_ = possible or column.small
    verdict: Verdict = "supported" if there else "undecided" if open_ else "not supported"
    return Claim("group", text, verdict, " ".join(filter(None, (reason, column.small_cells))))


def _above_one(lift: SampleMean) -> Literal["agrees", "disagrees", "does not tell"]:
    if lift.interval.low > 1:
        return "agrees"
    return "disagrees" if lift.interval.high < 1 else "does not tell"


def _strength(where: str, lift: SampleMean) -> str:
    if not lift.n:
        return "none of these samples has a map with heat"
    return f"{where} it is {lift.value:.2f} times as strong as on average"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
