"""The page of an audit: claims with their verdicts, groups, backgrounds, places, clusters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium import files
from convarium.explain.methods import METHODS
from convarium.report import audit_pictures
from convarium.report.page import scale_start
from convarium.report.templates import write_filled

if TYPE_CHECKING:
    from convarium.explain import Audit
    from convarium.explain.auditing.counting import Difference, Rate
    from convarium.explain.auditing.gates import Gate
    from convarium.explain.auditing.region_results import Regions
    from convarium.explain.auditing.results import GroupColumn, PlaceTest

_CELLS = 40
_CLUSTERS = 60
_DONORS = 40
_ORDER = ("supported", "undecided", "not supported")


def write_audit(
    folder: str | Path, audit: Audit, title: str, gates: Sequence[Gate] = ()
) -> tuple[Path, Path]:
    """Write an audit as one HTML page that needs nothing else, and as JSON, atomically.

    Args:
        folder: takes `audit.html` and `audit.json`.
        audit: as `explain.audit` gives it.
        title: heading of the page.
        gates: as `Audit.gates` gives them.

    Returns:
        The paths of the page and of the JSON file.

    Raises:
        RunError: a file cannot be written.
    """
    folder = Path(folder)
    told = audit.to_mapping() | {"gates": [gate.to_mapping() for gate in gates]}
    files.write_json(folder / "audit.json", told)
    shortcuts = sum(claim.shortcut for claim in audit.claims)
    page = write_filled(
        folder / "audit.html",
        "audit.html.jinja",
        title=title,
        audit=audit,
        method=METHODS[audit.method].title if audit.method in METHODS else audit.method,
        accuracy=_rate(audit.accuracy),
        claims=sorted(audit.claims, key=lambda claim: _ORDER.index(claim.verdict)),
        refused=[claim for claim in audit.claims if claim.verdict == "not supported"],
        shortcuts=shortcuts,
        gates=gates,
        labels=_labels(audit.labels),
        groups=[_groups(column) for column in audit.groups],
        regions=None if audit.regions is None else _regions(audit.regions),
        places=_places(audit),
        clusters=[
            {
                "mean": audit_pictures.cluster_figure(cluster),
                "candidate": cluster.candidate,
                "examples": audit_pictures.row(cluster.examples),
            }
            for cluster in audit.clusters[:_CLUSTERS]
        ],
        clusters_left=max(0, len(audit.clusters) - _CLUSTERS),
    )
    return page, folder / "audit.json"


def _rate(rate: Rate, start: float = 0.0) -> dict[str, Any]:
    low, high = rate.interval
    return {"value": rate.value, "low": low, "high": high, "n": rate.n, "start": start}


def _labels(labels: Sequence[tuple[str, Rate]]) -> dict[str, Any]:
    """The labels of the lowest accuracy, on one scale."""
    chosen = labels[:_CELLS]
    start = scale_start([rate.interval.low for _, rate in chosen])
    rows = [{"label": name, "rate": _rate(rate, start)} for name, rate in chosen]
    return {"rows": rows, "left": len(labels) - len(rows), "start": start}


def _groups(column: GroupColumn) -> dict[str, Any]:
    """All cells, or the lowest ones of many; each with its accuracy on one scale."""
    order = sorted(column.cells, key=lambda cell: cell.accuracy.value)
    chosen = column.cells if len(order) <= _CELLS else order[:_CELLS]
    start = scale_start([cell.accuracy.interval.low for cell in chosen])
    rows = [
        {
            "label": cell.label,
            "group": cell.group,
            "rate": _rate(cell.accuracy, start),
            "gap": None if cell.gap is None else _difference(cell.gap),
            "worst": cell is column.worst,
            "lowest": cell is column.lowest,
        }
        for cell in chosen
    ]
    return {
        "column": column.column,
        "rows": rows,
        "left": len(order) - len(rows),
        "start": start,
        "groups": [{"group": g, **_rate(rate, start)} for g, rate in column.groups],
        "worst": column.worst,
        "least": column.least,
        "compared": column.compared,
        "left_out": column.left_out,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    low, high = difference.interval
    return {"value": difference.value, "low": low, "high": high}


def _bars(*rows: tuple[str, Rate]) -> list[dict[str, Any]]:
    return [{"name": name, **_rate(rate)} for name, rate in rows]


def _regions(regions: Regions) -> dict[str, Any]:
    return {
        "n": regions.n,
        "missing": regions.missing,
        "empty": regions.empty,
        "bars": _bars(
            ("background of another label", regions.background.first),
            ("background of the same label", regions.background.second),
            ("object removed", regions.object.first),
            ("an equal area elsewhere removed", regions.object.second),
        ),
        "gap": _difference(regions.gap),
        "gap_n": regions.gap.first.n,
        "accuracies": (regions.gap.first.value, regions.gap.second.value),
        "donors": [
            {"label": each.label, "taken": _rate(each.taken.first), "own": each.taken.second}
            for each in regions.donors[:_DONORS]
        ],
        "donors_left": max(0, len(regions.donors) - _DONORS),
        "heat": regions.heat,
        "examples": [audit_pictures.row(each) for each in regions.examples],
    }


def _places(audit: Audit) -> list[dict[str, Any]]:
    """The tested places with the verdicts of their claims, the supported ones first."""
    claims = [claim for claim in audit.claims if claim.kind == "place"]
    pairs = sorted(
        zip(claims, audit.places, strict=True), key=lambda pair: _ORDER.index(pair[0].verdict)
    )
    return [_place(place, claim.verdict == "not supported") for claim, place in pairs]


def _place(place: PlaceTest, refused: bool) -> dict[str, Any]:
    label = place.cluster.label
    return {
        "refused": refused,
        "title": f"{label}: {place.cluster.box.words}",
        "mean": audit_pictures.cluster_figure(place.cluster),
        "label": label,
        "share": place.cluster.box.share,
        "n": place.n,
        "lift": place.lift,
        "on_object": place.on_object,
        "pasted": _bars(
            (f"the place, of samples called {label}", place.pasted.first),
            (f"another place of samples called {label}", place.pasted.second),
            ("the same place of other samples", place.foreign.second),
            *([] if place.whole is None else [("the place, over objects too", place.whole.first)]),
        ),
        "removed": _bars(
            ("the place", place.removed.first),
            ("another place of the same size", place.removed.second),
        ),
        "recipients": place.pasted.first.n,
        "examples": [audit_pictures.row(each, place.cluster.box) for each in place.examples],
    }
