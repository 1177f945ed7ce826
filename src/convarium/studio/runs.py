"""Runs as they train and once they are trained: state, curves, and what came out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convarium import files
from convarium.studio.desk import Desk


def listed(desk: Desk) -> dict[str, Any]:
    """Every run with its state and its best row."""
    return {"runs": [summary(name, folder) for name, folder in desk.folders().items()]}


def summary(name: str, folder: Path) -> dict[str, Any]:
    """A run in a line: its state, its network, its epochs and its best figures."""
    rows = _rows(folder)
    return {"name": name, "state": state_of(folder), "epochs": len(rows)}


def history(desk: Desk, run: str, after: int = 0) -> dict[str, Any]:
    """Rows of a run's history that come after so many, and the run's state.

    Args:
        desk: knows the run.
        run: its name.
        after: rows that are known already.
    """
    folder = desk.folder(run)
    state = state_of(folder)  # first: a row that comes meanwhile belongs to a training
    rows = _rows(folder)
    return {"state": state, "count": len(rows), "rows": rows[max(0, after) :]}


def state_of(folder: Path) -> str:
    """finished, training, stopped (it can be resumed), or gone.

    A training holds the lock of its folder, so that one which died is told from one that runs.
    """
    if not folder.is_dir():
        return "gone"
    if (folder / "card.json").exists():
        return "finished"
    return "training" if _locked(folder / ".lock") else "stopped"


def _locked(path: Path) -> bool:
    import filelock

    if not path.exists() or not os.access(path, os.W_OK):
        return False
    lock = filelock.FileLock(path, blocking=False)
    try:
        with lock:
            return False
    except filelock.Timeout:
        return True


def _rows(folder: Path) -> list[Mapping[str, Any]]:
    """The history as far as it is written."""
    return [*files.read_jsonl(folder / "history.jsonl")]
