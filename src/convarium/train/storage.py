"""What a training run keeps on disk, and how it is found again after any kind of death.

    config.toml  preprocessing/  splits.parquet  skipped.jsonl    written once, at the start
    checkpoint-<step>/  latest                                    the newest two, `latest` names one
    history.jsonl                                                 a row appended each epoch
    model.safetensors  card.json                                  written last: the run is finished

Every file but the growing history is whole or absent. A checkpoint is a folder that takes its name
when it is complete; it holds the history's rows too, and a hash of its tensors, so that a damaged
one gives way to the one before it. The first is written before `config.toml`: from then on, the run
can be resumed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from convarium import files
from convarium.data import (
    Batch,
    FieldPreprocessing,
    Part,
    Parts,
    Preprocessing,
    batches,
    lookalikes,
)
from convarium.errors import ConvariumError, RunError
from convarium.processes import World

_KEPT_SAMPLES = 32
_LOOKED = 0.5  # seconds in which one who only looked whether a training runs lets go of the lock


@dataclasses.dataclass
class Position:
    """Where training stands: everything but tensors that the next step depends on.

    Args:
        step: steps done in all.
        epoch: epochs done.
        batch: steps done in the epoch under way.
        loss_sum, score_sum, samples, seconds: gathered in the epoch under way.
        best_row: the history row of the best epoch.
        stale: epochs since then.
        rows: the history so far.
        choices: what timing decided for the run; empty in checkpoints from before it did.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    loss_sum: float = 0.0
    score_sum: float = 0.0
    samples: int = 0
    seconds: float = 0.0
    best_row: dict[str, Any] | None = None
    stale: int = 0
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    choices: dict[str, str] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def claim(folder: Path, *, resume: bool) -> Iterator[None]:
    """Hold a run folder for one training; what a killed process left half-written is removed.

    Raises:
        RunError: the folder is in use or in the way, or there is nothing to resume.
    """
    import filelock

    if resume and not (folder / "config.toml").exists():
        raise RunError(f"There is no run in {folder} to resume; train without --resume.")
    if not resume:
        refuse_existing(folder)
    with contextlib.suppress(OSError):  # the lock's own error says why
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=_LOOKED)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(f"Another process is training in {folder}; choose another --out.") from error
    except OSError as error:
        raise files.not_written(folder, error) from error
    try:
        if not resume:
            refuse_existing(folder)  # another process may have been faster
        if not is_finished(folder):
            for leftover in folder.rglob(".*.tmp"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def refuse_existing(folder: Path) -> None:
    """Refuse a run folder that holds anything but the beginnings of a run that never started.

    Raises:
        RunError: the folder is in the way, or cannot be looked at.
    """
    begun = {".lock", "preprocessing", "splits.parquet", "checkpoint-0", "latest"}
    begun |= {"skipped.jsonl", "lookalikes.jsonl"}
    try:
        if not folder.exists():
            return
        names = {path.name for path in folder.iterdir() if not path.match(".*.tmp")}
    except OSError as error:
        raise files.not_written(folder, error) from error
    if not names <= begun:
        raise RunError(
            f"{folder} already exists; choose another --out, or go on with it by --resume."
        )


def check_shared(folder: Path, world: World) -> None:
    """Refuse a run folder that the hosts of a job do not share; nothing of the look stays.

    Raises:
        RunError: a process does not see what the first one writes, or it cannot be written.
    """
    if world.alone:
        return
    places = (folder.absolute(), *folder.absolute().parents)
    with contextlib.ExitStack() as leaving:
        level, name = 0, ""
        if world.first:
            level = next(number for number, place in enumerate(places) if place.is_dir())
            try:
                file = leaving.enter_context(
                    tempfile.NamedTemporaryFile(dir=places[level], prefix=".", suffix=".tmp")
                )
            except OSError as error:
                raise files.not_written(places[level], error) from error
            name = Path(file.name).name
        level, name = world.share((level, name))
        seen = world.gather(any((place / name).exists() for place in places[level : level + 1]))
    if not all(seen):
        raise RunError(
            f"Process {seen.index(False)} of {world.size} does not see what the first one writes "
            f"for {folder}; give an --out that all hosts share under one path."
        )


def is_finished(folder: Path) -> bool:
    """Whether the run was trained to its end; its card is written last."""
    return (folder / "card.json").exists()


def write_start(folder: Path, parts: Parts, preprocessing: Preprocessing) -> None:
    """Write what a resume needs besides a checkpoint and the settings."""
    parts.write(folder / "splits.parquet")
    skipped = [item._asdict() for item in parts.train.dataset.skipped]
    files.write_jsonl(folder / "skipped.jsonl", skipped)
    files.write_jsonl(folder / "lookalikes.jsonl", [*lookalikes(parts).rows()])
    files.write_json(folder / "preprocessing" / "preprocessing.json", preprocessing.to_card())
    samples = _samples(parts.validation, preprocessing)
    files.write_tensors(folder / "preprocessing" / "samples.safetensors", samples)


def mend_split(folder: Path, parts: Parts) -> None:
    """Write again who is in which part, where the file is gone."""
    if not (folder / "splits.parquet").exists():
        parts.write(folder / "splits.parquet")


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], position: Position) -> None:
    """Write `checkpoint-<step>`, point `latest` at it, and keep only the one before it."""
    name = f"checkpoint-{position.step}"
    shutil.rmtree(folder / name, ignore_errors=True)  # what an earlier life left and did not use
    with files.atomic(folder / name) as temporary:
        temporary.mkdir()
        files.write_tensors(temporary / "state.safetensors", tensors)
        digest = files.sha256(temporary / "state.safetensors")
        state = {"format_version": 1, "sha256": digest, **dataclasses.asdict(position)}
        files.write_json(temporary / "state.json", {**state, "own_sha256": _digest(state)})
    previous = _latest(folder)
    files.write_text(folder / "latest", name + "\n")
    for old in folder.glob("checkpoint-*"):
        if old.name not in (name, previous):
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Position]:
    """The newest whole checkpoint; a warning says what is lost, and damaged ones are removed.

    Raises:
        RunError: there is none, or all are damaged.
    """
    found = sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True)
    latest = _latest(folder)
    named = [path for path in found if path.name == latest]
    damaged = {} if named or not found else {folder / (latest or "latest"): "it is not there"}
    for path in [*named, *(path for path in found if path not in named)]:
        try:
            state = _read_checkpoint(path)
        except (ConvariumError, OSError, KeyError, TypeError, AttributeError) as error:
            damaged[path] = str(error).rstrip(".")
            continue
        if damaged:
            words = "; ".join(f"{broken.name}: {reason}" for broken, reason in damaged.items())
            only = f"latest is not there; went on from the newest checkpoint, {path.name}."
            pointer = list(damaged) == [folder / "latest"]
            warnings.warn(only if pointer else f"Went back to {path.name}; {words}.", stacklevel=2)
            files.write_text(folder / "latest", path.name + "\n")
            for broken in set(damaged).intersection(found):
                shutil.rmtree(broken, ignore_errors=True)
        return state
    reasons = "; ".join(f"{path.name}: {reason}" for path, reason in damaged.items())
    raise RunError(
        f"No checkpoint of {folder} can be read ({reasons or 'there is none'}); start a new run."
    )


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Position]:
    state = files.read_json(path / "state.json")
    own = state.pop("own_sha256", None)
    if own not in (None, _digest(state)):  # older ones have none
        raise RunError("state.json is damaged")
    if files.sha256(path / "state.safetensors") != state["sha256"]:
        raise RunError("state.safetensors is damaged")
    state = {"choices": {}, **state}
    fields = {option.name: state[option.name] for option in dataclasses.fields(Position)}
    return files.read_tensors(path / "state.safetensors"), Position(**fields)


def _digest(state: Mapping[str, Any]) -> str:
    """SHA-256 of where training stands, as JSON has it."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode("utf-8")).hexdigest()


def _latest(folder: Path) -> str:
    """The checkpoint that `latest` names; nothing where the file is missing or damaged."""
    try:
        return (folder / "latest").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _step_of(path: Path) -> int:
    number = path.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def _samples(part: Part, preprocessing: Preprocessing) -> dict[str, Tensor]:
    """A few validation inputs, spread over the part: `inputs` `(N, C, *S)` and their ids."""
    count = min(_KEPT_SAMPLES, len(part), preprocessing.most_at_once)
    chosen = [int(part.ids[k * len(part) // count]) for k in range(count)]
    if preprocessing.input_kind == "fields":
        some = Part(part.dataset, np.array(chosen, np.int64))
        found = next(batches(some, preprocessing, batch_size=count, skipped=[]), None)
        if found is not None:  # some time has a cell that is known
            static = cast("FieldPreprocessing", preprocessing).static
            return _fields(found, 0 if static is None else len(static))
    inputs = [preprocessing.apply(part.dataset.read(i)) for i in chosen]
    return {"inputs": preprocessing.together(inputs), "ids": torch.tensor(chosen)}


def _fields(batch: Batch, static: int) -> dict[str, Tensor]:
    """Coarse fields, and what a network reads beside them: a mask, and fine fields.

    The last fine ones are static, and stand there once; weights are those of the grid.
    """
    found = {"inputs": batch.inputs[0], "ids": batch.index}
    if batch.mask is not None:
        found["mask"] = batch.mask
    if "fine" in batch.named:
        fine = batch.named["fine"]
        moving = fine.shape[1] - static
        parts = {"fine": fine[:, :moving], "static": fine[:1, moving:]}
        found |= {name: part for name, part in parts.items() if part.numel()}
    return found
