"""Labels that somebody corrected while looking: kept in the run's folder, for the next training."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from convarium import files
from convarium.data.corrections import read_corrections, write_corrections
from convarium.errors import ConvariumError, DataError, OptionError, RunError, did_you_mean
from convarium.studio.desk import Desk
from convarium.studio.opened import place_of_run
from convarium.studio.runs import card_of, settings_of
from convarium.studio.samples import read_data

_FILE: Final = "corrections.csv"
_LOCKED: Final = 5.0  # seconds that another studio may take


class _Sample(NamedTuple):
    """A row of `splits.parquet`.

    Args:
        label: that the run was trained with.
        digest: of its content; "" in runs from before it was kept.
    """

    label: str
    digest: str


def corrections(desk: Desk, run: str) -> dict[str, Any]:
    """What was corrected so far, and the command that trains with it.

    Of each row `back` is the label that it has again when it is taken back; None where the run was
    trained with the correction.
    """
    folder = desk.folder(run)
    found, learnt = corrections_of(folder), _learnt(folder)
    samples = _samples(desk, run) if found else {}
    path = folder / _FILE
    words = ["convarium", "train", _place(desk, run, bool(found)) or "DATA"]
    words += ["--corrections", str(path), "--out", f"{folder}-corrected"]
    return {
        "run": run,
        "file": str(path) if path.exists() else None,
        "rows": [
            {"path": name, "label": label}
            | {"back": None if learnt.get(name) == label else _label(samples, name)}
            for name, label in sorted(found.items())
        ],
        "command": shlex.join(words),
    }


def correct(desk: Desk, run: str, path: str, label: str | None = None) -> dict[str, Any]:
    """Give a sample another label, or with None the one that the run was trained with.

    Args:
        desk: knows the run.
        run: its name.
        path: name of the sample, as the run has it.
        label: a class of the run.

    Raises:
        OptionError: the run has no such class or sample.
        DataError: the data that lies there is not that of the run, or is gone.
        RunError: the file cannot be written, or another process holds it.
    """
    import filelock

    folder = desk.folder(run)
    classes, samples = card_of(folder).get("classes", []), _samples(desk, run)
    if label is not None and label not in classes:
        raise OptionError(f"The run has no class {label!r}.{did_you_mean(label, classes)}")
    if path not in samples:
        raise OptionError(f"The run knows no sample {path!r}.")
    told = read_data(desk, run)
    if told["state"] == "done" and (remark := told["result"][0].remark):
        raise DataError(f"{remark} None of its labels is corrected.")
    try:
        with filelock.FileLock(folder / f".{_FILE}.lock", timeout=_LOCKED):  # of several studios
            found, learnt = dict(corrections_of(folder)), _learnt(folder)
            if label is None and path not in learnt:
                found.pop(path, None)
            else:
                found[path] = label or learnt[path]
            digests = {name: samples[name].digest for name in found if name in samples}
            write_corrections(folder / _FILE, found, digests)
    except filelock.Timeout as error:
        raise RunError(
            f"Another process holds the corrections of {run}; try it again when it has ended."
        ) from error
    except OSError as error:
        raise files.not_written(folder / _FILE, error) from error
    return corrections(desk, run)


def corrections_of(folder: Path) -> Mapping[str, str]:
    """What the folder's file says; before there is one, what the run was trained with already."""
    path = folder / _FILE
    return read_corrections(path) if path.exists() else _learnt(folder)


def _place(desk: Desk, run: str, corrected: bool) -> str:
    """Where the data of a run lies; of one with corrections, where it was read and found to be."""
    with contextlib.suppress(ConvariumError):
        told: dict[str, Any] = read_data(desk, run) if corrected else {"state": "none"}
        if told["state"] == "done" and not told["result"][0].remark:
            return str(told["result"][0].place)
    return place_of_run(desk.folder(run), desk.data)


def _learnt(folder: Path) -> Mapping[str, str]:
    """Corrections that the run was trained with."""
    found = settings_of(folder).get("data", {}).get("columns", {}).get("corrections", {})
    return found if isinstance(found, dict) else {}


def _label(samples: Mapping[str, _Sample], name: str) -> str | None:
    return samples[name].label if name in samples else None


def _samples(desk: Desk, run: str) -> dict[str, _Sample]:
    """The samples that the run was split into, by their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = desk.folder(run) / "splits.parquet"

    def make() -> dict[str, _Sample]:
        if not path.exists():
            raise OptionError(f"The run {run!r} does not say which samples it has.")
        try:
            table = pq.read_table(path)
            names, labels = (table[column].to_pylist() for column in ("name", "label"))
        except (OSError, LookupError, pa.ArrowException) as error:
            raise RunError(f"The split of {run} cannot be read: {error}") from error
        known = "digest" in table.column_names
        digests = table["digest"].to_pylist() if known else [""] * len(names)
        rows = zip(names, labels, digests, strict=True)
        return {name: _Sample(label or "", digest) for name, label, digest in rows}

    return desk.kept(("names", run, desk.version(run)), make)
