"""The file of fine fields: its axes, its variables and what is said of them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from convarium.data import FieldPreprocessing
from convarium.data.grids.coarse import CoarseFields
from convarium.data.grids.writing import FineFile
from convarium.predict.run import Run


def fine_file(
    path: Path, run: Run, coarse: CoarseFields, names: Mapping[str, tuple[int, str]], history: str
) -> FineFile:
    """The file that is to be written, with its axes and attributes."""
    line = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ} {history}".rstrip()
    grid = coarse.grid.cut(coarse.rows, slice(None))
    return FineFile(
        path,
        coarse.fields.times,
        coarse.fields.axis,
        grid.cut(slice(None, None, -1), slice(None)) if coarse.turned else grid,
        {name: _attributes(run, coarse, about) for name, about in names.items()},
        _of_file(coarse, line),
    )


def steps_of(run: Run) -> FieldPreprocessing:
    """The preprocessing of a run of fields."""
    return cast("FieldPreprocessing", run.preprocessing)


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
