"""The file of fine fields: its axes, its variables and what is said of them."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from convarium import files
from convarium.data import FieldOptions, FieldPreprocessing
from convarium.data.grids.coarse import CoarseFields
from convarium.data.grids.reading import paths_of
from convarium.data.grids.writing import FineFile
from convarium.predict.run import Run


def fine_file(
    path: Path, run: Run, coarse: CoarseFields, names: Mapping[str, tuple[int, str]], history: str
) -> FineFile:
    """The file that is to be written, with its axes and attributes."""
    return FineFile(path, **described(run, coarse, names, history))


def described(
    run: Run, coarse: CoarseFields, names: Mapping[str, tuple[int, str]], history: str
) -> dict[str, Any]:
    """Axes and attributes of fine fields, by the keywords of `FineFile`."""
    line = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ} {history}".rstrip()
    return {
        "times": coarse.fields.times,
        "axis": coarse.fields.axis,
        "grid": coarse.written,
        "variables": {name: _attributes(run, coarse, about) for name, about in names.items()},
        "attributes": _of_file(coarse, line),
    }


def steps_of(run: Run) -> FieldPreprocessing:
    """The preprocessing of a run of fields."""
    return cast("FieldPreprocessing", run.preprocessing)


def about_job(
    runs: Sequence[Run],
    source: str | Path,
    fields: FieldOptions | None,
    tile: int | None,
    size: int,
) -> dict[str, Any]:
    """What tells a job from others: networks, what is read of which files, tiles and pieces."""
    parts = ("model.safetensors", "card.json")
    return {
        "networks": [[files.sha256(run.folder / part) for part in parts] for run in runs],
        "source": str(Path(source).resolve()),
        "state": [_state(at) for at in paths_of(source)],
        "fields": {} if fields is None else fields.to_mapping(),
        "tile": tile,
        "piece": size,
    }


def _attributes(run: Run, coarse: CoarseFields, about: tuple[int, str]) -> dict[str, Any]:
    """Of a variable in the file, with the standard name and the methods of the coarse one."""
    steps, (k, part) = steps_of(run), about
    variable = steps.classes[k]
    found = dict((coarse.fields.described or {}).get(coarse.fields.names[k], {}))
    words = {"value": "", "mean": "", "spread": ", standard deviation", "draw": ", a draw"}
    told = words.get(part, f", quantile {part[1:]}")
    long_name = found.get("long_name", variable)
    found["long_name"] = f"{long_name}{told}, downscaled by {run.model.name}"
    if part == "spread":  # which is no value of that name
        found.pop("standard_name", None)
    if steps.units[variable]:
        found["units"] = steps.units[variable]
    return found


def _of_file(coarse: CoarseFields, line: str) -> dict[str, Any]:
    """The attributes of the coarse file, with a line of history."""
    found = dict(coarse.fields.attributes or {})
    before = str(found.get("history", "")).strip()
    found["history"] = f"{before}\n{line}" if before else line
    found.setdefault("Conventions", "CF-1.8")
    return found


def _state(path: Path) -> str:
    """A digest of the names, sizes and times of change of a file, or of all within a folder."""
    inside = sorted(at for at in path.rglob("*") if at.is_file()) if path.is_dir() else [path]
    rows = ((str(at.relative_to(path)), at.stat()) for at in inside)
    told = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in rows]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
