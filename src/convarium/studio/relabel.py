"""Labels that somebody corrected while looking: kept in the run's folder, for the next training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from convarium.data.corrections import read_corrections, write_corrections
from convarium.errors import OptionError, did_you_mean
from convarium.predict import Run
from convarium.studio.desk import Desk

_FILE: Final = "corrections.csv"


def corrections(desk: Desk, run: str) -> dict[str, Any]:
    """What was corrected so far, and the command that trains with it."""
    opened = desk.opened(run)
    found = corrections_of(opened.folder, opened)
    path = opened.folder / _FILE
    source = opened.card.get("data", {}).get("source", "DATA")
    words = ["convarium", "train", source, "--corrections", str(path)]
    words += ["--out", f"{opened.folder}-corrected"]
    return {
        "run": run,
        "file": str(path) if path.exists() else None,
        "rows": [{"path": name, "label": label} for name, label in sorted(found.items())],
        "command": shlex.join(words),
    }


def correct(desk: Desk, run: str, path: str, label: str | None = None) -> dict[str, Any]:
    """Give a sample another label, or with None the one that the data has; writes the file.

    Args:
        desk: knows the run.
        run: its name.
        path: name of the sample, as the run has it.
        label: a class of the run.
    """
    opened = desk.opened(run)
    classes = opened.card["classes"]
    if label is not None and label not in classes:
        raise OptionError(f"The run has no class {label!r}.{did_you_mean(label, classes)}")
    if path not in _names(desk, run):
        raise OptionError(f"The run knows no sample {path!r}.")
    with desk.writing:
        found = dict(corrections_of(opened.folder, opened))
        if label is None:
            found.pop(path, None)
        else:
            found[path] = label
        write_corrections(opened.folder / _FILE, found)
    return corrections(desk, run)


def corrections_of(folder: Path, run: Run) -> Mapping[str, str]:
    """What the folder's file says; before there is one, what the run was trained with already."""
    path = folder / _FILE
    if path.exists():
        return read_corrections(path)
    found: Mapping[str, str] = run.columns.get("corrections", {})
    return found


def _names(desk: Desk, run: str) -> frozenset[str]:
    """Names of the samples that the run was split into."""
    import pyarrow.parquet as pq

    path = desk.folder(run) / "splits.parquet"

    def make() -> frozenset[str]:
        if not path.exists():
            raise OptionError(f"The run {run!r} does not say which samples it has.")
        return frozenset(pq.read_table(path, columns=["name"])["name"].to_pylist())

    return desk.kept(("names", run, desk.version(run)), make)
