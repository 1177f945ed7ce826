"""Audits that `convarium audit` wrote: their claims, and the figures that each rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convarium import files
from convarium.errors import RunError, did_you_mean
from convarium.studio.answers import Answer
from convarium.studio.desk import Desk
from convarium.studio.runs import page_of

_FILE: Final = "audit.json"
_CELLS: Final = 12  # of a group's column, the largest gaps first
_ORDER: Final = ("supported", "undecided", "not supported")
#: Of a place: what is compared, and the words for the two shares.
_PLACES: Final = (
    ("pasted_against_elsewhere", "the place, pasted into others", "another place of these samples"),
    ("pasted_against_other_predictions", "the place, pasted into others", "the same of others"),
    ("pasted_over_objects", "the place, over objects too", "another place of these samples"),
    ("removed_against_elsewhere", "lost without the place", "lost without another place"),
)

Row = dict[str, Any]


def listed(desk: Desk) -> dict[str, Any]:
    """Every audit with its verdicts; one that cannot be read says why."""
    return {"audits": [_summary(name, folder) for name, folder in desk.audits().items()]}


def audit(desk: Desk, name: str) -> dict[str, Any]:
    """An audit, each of its claims with the figures that it rests on.

    Args:
        desk: knows the audit.
        name: of it.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    folder = _folder(desk, name)
    told = _read(folder)
    claims = with_evidence(told)
    keys = ("source", "accuracy", "method", "layer", "note", "drawn", "sanity")
    return {
        "name": name,
        "page": (folder / "audit.html").is_file(),
        "claims": sorted(claims, key=lambda claim: _ORDER.index(claim["verdict"])),
        "skipped": len(told.get("skipped", ())),
        "labels": told.get("labels") or [],
        "gates": told.get("gates") or [],
        **{key: told.get(key) for key in keys},
    }


def page(desk: Desk, name: str) -> Answer:
    """The page of an audit, with its pictures."""
    return page_of(_folder(desk, name), "audit.html")


def with_evidence(told: Mapping[str, Any]) -> list[Row]:
    """The claims of an audit, each with the rates behind it as `evidence`.

    Args:
        told: what `audit.json` holds; of each kind the claims stand in the order of their figures.
    """
    places, groups = iter(told.get("places", ())), iter(told.get("groups", ()))
    regions = told.get("regions") or {}
    backgrounds = iter([regions.get("background_flips"), *regions.get("donors", ())])
    found = []
    for claim in told.get("claims", ()):
        kind, rows = claim["kind"], list[Row]()
        if kind == "place":
            rows = _of_place(next(places, {}))
        elif kind == "group":
            rows = _of_group(next(groups, {}))
        elif kind == "background":
            rows = _of_background(next(backgrounds, None))
        elif kind == "object" and regions:
            words = ("flipped without the object", "flipped without an equal area elsewhere")
            rows = _pair(regions["object_flips"], *words)
        found.append({**claim, "evidence": rows})
    return found


def _of_place(place: Mapping[str, Any]) -> list[Row]:
    rows = []
    for key, first, second in _PLACES:
        if place.get(key):
            rows += _pair(place[key], first, second)
    return rows


def _of_group(column: Mapping[str, Any]) -> list[Row]:
    """The cells with the largest gaps, each beside the other groups' samples of the label."""
    cells = [cell for cell in column.get("cells", ()) if cell.get("gap")]
    rows = []
    for cell in sorted(cells, key=lambda cell: -(cell["gap"]["value"] or 0))[:_CELLS]:
        here = f"{cell['label']}, {column['column']} {cell['group']}"
        rows += [_rate(here, cell["accuracy"]), _rate(f"{cell['label']}, elsewhere", _first(cell))]
    return rows


def _first(cell: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = cell["gap"]["first"]
    return found


def _of_background(figures: Mapping[str, Any] | None) -> list[Row]:
    if figures is None:
        return []
    if "label" not in figures:
        return _pair(figures, "flipped by another label's background", "by the same label's")
    label = figures["label"]
    return _pair(figures["taken"], f"called {label} on its backgrounds", "on their own label's")


def _pair(difference: Mapping[str, Any], first: str, second: str) -> list[Row]:
    return [_rate(first, difference["first"]), _rate(second, difference["second"])]


def _rate(name: str, rate: Mapping[str, Any]) -> Row:
    low, high = rate["interval"]
    return {"name": name, "value": rate["value"], "low": low, "high": high, "n": rate["n"]}


def _summary(name: str, folder: Path) -> Row:
    try:
        told = _read(folder)
        verdicts = Counter(claim["verdict"] for claim in told["claims"])
        gates: Sequence[Mapping[str, Any]] = told.get("gates", ())
        return {
            "name": name,
            "source": told["source"],
            "accuracy": told["accuracy"]["value"],
            "n": told["accuracy"]["n"],
            "verdicts": {word: verdicts[word] for word in _ORDER},
            "sanity": told["sanity"]["verdict"],
            "failed": sum(not gate["passed"] for gate in gates),
            "why": "",
        }
    except (RunError, LookupError, TypeError) as error:
        why = str(error) if isinstance(error, RunError) else "its JSON is not that of an audit"
        return {"name": name, "why": why}


def _folder(desk: Desk, name: str) -> Path:
    found = desk.audits()
    if name not in found:
        near = did_you_mean(name, found)
        raise RunError(f"There is no audit {name!r} here, or its folder is gone.{near}")
    return found[name]


def _read(folder: Path) -> dict[str, Any]:
    told = files.read_json(folder / _FILE)
    if not isinstance(told, dict):
        raise RunError(f"{folder / _FILE} is not that of an audit.")
    return told
