"""Runs as they train and once they are trained: state, curves, settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convarium import files
from convarium.errors import RunError
from convarium.report import wording
from convarium.studio.answers import Answer
from convarium.studio.desk import Desk

#: Of a page that `convarium` wrote: it may use its own styles and pictures, and nothing else.
PAGE_HEADERS: Final = (
    ("content-security-policy", "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
     "sandbox; frame-ancestors 'self'"),
)  # fmt: skip
_HTML: Final = "text/html; charset=utf-8"
_TABLES: Final = ("model", "data", "split", "preprocessing", "train", "frozen", "environment")
_LONG: Final = 80  # characters of a setting that is shown


def listed(desk: Desk) -> dict[str, Any]:
    """Every run with its state, its network and its best figures."""
    return {"runs": [summary(name, folder) for name, folder in desk.folders().items()]}


def summary(name: str, folder: Path) -> dict[str, Any]:
    """A run in a line; what cannot be read is said and left out."""
    state = state_of(folder)
    try:
        card, settings, rows = card_of(folder), settings_of(folder), _rows(folder)
        broken = ""
    except RunError as error:
        card, settings, rows, broken = {}, {}, [], str(error)
    metric = _metric(rows)
    train, data = settings.get("train", {}), settings.get("data", {}) or card.get("data", {})
    best = max((row[metric] for row in rows if row.get(metric) is not None), default=None)
    test = card.get("result", {}).get("test", {})
    return {
        "name": name,
        "folder": str(folder),
        "state": "damaged" if broken else state,
        "why": broken,
        "network": (card.get("model") or settings.get("model", {})).get("name", ""),
        "task": card.get("task") or data.get("task", ""),
        "data": data.get("source", ""),
        "epochs": len(rows),
        "planned": train.get("epochs"),
        "metric": metric.removeprefix("val_"),
        "best": best,
        "test": test.get(_TEST.get(metric, ""), None),
        "interval": test.get("interval"),
        "n": test.get("n"),
        "seconds": sum(row.get("seconds", 0) for row in rows),
        "started": _time_of(folder / "config.toml"),
        "report": (folder / "report.html").is_file(),
    }


#: What the card calls a test score, by the metric of the history.
_TEST: Final[Mapping[str, str]] = {"val_acc": "accuracy", "val_f1": "f1", "val_r2": "r2"}


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
    kept = card_of(folder).get("result", {}).get("validation", {}).get("epoch")
    told = {"run": run, "state": state, "count": len(rows), "metric": _metric(rows), "kept": kept}
    planned = settings_of(folder).get("train", {}).get("epochs")
    return {**told, "planned": planned, "rows": rows[max(0, after) :]}


def settings(desk: Desk, run: str) -> dict[str, Any]:
    """All settings of a run as names and texts, to be compared with those of others."""
    folder = desk.folder(run)
    tables = settings_of(folder)
    values = {table: dict(tables.get(table, {})) for table in _TABLES}
    values["data"]["columns"] = _columns(values["data"].get("columns", {}))
    values["preprocessing"] |= _steps(folder)
    groups = [dict(row) for row in tables.get("groups", ()) if isinstance(row, dict)]
    values["groups"] = {str(row.pop("name", k)): row for k, row in enumerate(groups)}
    return {"run": run, "settings": {name: _short(text) for name, text in wording.flatten(values)}}


def report(desk: Desk, run: str) -> Answer:
    """The report of a run, as `convarium train` wrote it."""
    return page_of(desk.folder(run), "report.html")


def page_of(folder: Path, name: str) -> Answer:
    """A page of a folder, which runs no script.

    Raises:
        RunError: there is none, or it lies elsewhere.
    """
    path = folder / name
    with contextlib.suppress(OSError):
        if path.resolve().is_relative_to(folder.resolve()) and path.is_file():
            return Answer(_HTML, path.read_bytes(), headers=PAGE_HEADERS)
    raise RunError(f"{folder.name} has no {name}.")


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
    try:
        with filelock.FileLock(path, blocking=False):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The history as far as it is written."""
    path = folder / "history.jsonl"
    rows: list[Any] = files.read_jsonl(path)
    tables = [row for row in rows if isinstance(row, dict)]
    texts = any(isinstance(value, str) for row in tables for value in row.values())
    if texts or len(tables) < len(rows):
        raise RunError(f"{path} is no history of a training.")
    return tables


def _columns(found: Any) -> dict[str, Any]:
    """How the data was read, with corrected labels by their number and a digest of them."""
    if not isinstance(found, dict):
        return {}
    labels = found.get("corrections")
    return {**found, "corrections": f"{len(labels)} labels, {_digest(labels)}"} if labels else found


def _steps(folder: Path) -> dict[str, Any]:
    """The steps from a sample to the network's input, by their names; nothing of a stranger's."""
    path = folder / "preprocessing" / "preprocessing.json"
    card = files.read_json(path) if path.exists() else {}
    found = card.get("preprocessing", {}) if isinstance(card, dict) else {}
    steps = [dict(step) for step in found.get("steps", ()) if isinstance(step, dict)]
    return {f"step {k}": step for k, step in enumerate(steps, 1)}


def _short(text: str) -> str:
    """A setting as it is shown: what is cut has a digest, so that others are told apart."""
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({_digest(text)})"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def card_of(folder: Path) -> dict[str, Any]:
    """What `card.json` says; nothing before a run is finished.

    Raises:
        RunError: it is damaged, or of something else.
    """
    path = folder / "card.json"
    found = _tables(files.read_json(path) if path.exists() else {}, path, "model", "data", "result")
    _tables(found.get("result", {}), path, "test", "validation")
    return found


def settings_of(folder: Path) -> dict[str, Any]:
    """What `config.toml` says; nothing where a run has none.

    Raises:
        RunError: it is damaged, or of something else.
    """
    path = folder / "config.toml"
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}.") from error
    return _tables(found, path, *_TABLES)


def _tables(found: Any, path: Path, *names: str) -> dict[str, Any]:
    """What a file holds, where it is a table, and so is what stands under these names.

    Raises:
        RunError: it is none, as in a folder of something else.
    """
    inner = [found.get(name, {}) for name in names] if isinstance(found, dict) else [None]
    if not all(isinstance(each, dict) for each in inner):
        raise RunError(f"{path} is not what a training writes there.")
    whole: dict[str, Any] = found
    return whole


def _metric(rows: Sequence[Mapping[str, Any]]) -> str:
    """The column of the validation score; "" before the first row."""
    columns = [name for name in (rows[0] if rows else ()) if name.startswith("val_")]
    return next((name for name in columns if name != "val_loss"), "")


def _time_of(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
