"""What a training run keeps on disk, and how it is found again after any kind of death.

    config.toml  preprocessing/  splits.parquet  skipped.jsonl    written once, at the start
    history.jsonl                                                 a row appended each epoch
    checkpoint-<step>/  latest                                    the newest two, `latest` names one
    model.safetensors  card.json                                  written last: the run is finished

Every file is whole or absent. A checkpoint is a folder that takes its name when it is complete;
its tensors carry a hash, and a damaged one gives way to the one before it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import platform
import shutil
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import convarium
from convarium import files
from convarium.data import Part, Parts, Preprocessing
from convarium.errors import ConvariumError, RunError
from convarium.train.config import TrainConfig

_KEPT_SAMPLES = 32


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


@contextlib.contextmanager
def claim(folder: Path, *, resume: bool) -> Iterator[None]:
    """Hold a run folder for one training; a new run's folder must not exist or be empty.

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
    lock = filelock.FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RunError(f"Another process is training in {folder}; choose another --out.") from error
    except OSError as error:
        raise RunError(f"Cannot write {folder}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def refuse_existing(folder: Path) -> None:
    """Refuse a run folder that holds anything but the beginnings of a run that never started.

    Raises:
        RunError: the folder is in the way.
    """
    begun = {".lock", "preprocessing", "splits.parquet", "skipped.jsonl"}
    if not folder.exists() or (folder.is_dir() and {p.name for p in folder.iterdir()} <= begun):
        return
    raise RunError(f"{folder} already exists; choose another --out, or go on with it by --resume.")


def write_start(
    folder: Path, settings: Mapping[str, Any], parts: Parts, preprocessing: Preprocessing
) -> None:
    """Write what a resume needs and what a reader wants to know; `config.toml` comes last."""
    import tomli_w

    parts.write(folder / "splits.parquet")
    skipped = [item._asdict() for item in parts.train.dataset.skipped]
    files.write_jsonl(folder / "skipped.jsonl", skipped)
    files.write_json(folder / "preprocessing" / "preprocessing.json", preprocessing.to_card())
    samples = _samples(parts.validation, preprocessing)
    files.write_tensors(folder / "preprocessing" / "samples.safetensors", samples)
    files.write_text(folder / "config.toml", tomli_w.dumps(settings))


def read_settings(folder: str | Path) -> dict[str, Any]:
    """The tables `model`, `data`, `split`, `train` and `environment` of a run's `config.toml`.

    Raises:
        RunError: there is no such file, or it is not TOML.
    """
    path = Path(folder) / "config.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"There is no run to resume in {folder}: {error}.") from error


def read_preprocessing(folder: str | Path) -> Preprocessing:
    """The preprocessing that a run was started with.

    Raises:
        RunError: the file is missing or damaged.
    """
    return Preprocessing.from_card(
        files.read_json(Path(folder) / "preprocessing" / "preprocessing.json")
    )


def settings_of(
    model: Mapping[str, Any], parts: Parts, preprocessing: Preprocessing, config: TrainConfig
) -> dict[str, Any]:
    """Everything that the result depends on, as `config.toml` holds it."""
    dataset = parts.train.dataset
    return {
        "model": dict(model),
        "data": {"source": str(dataset.source), "fingerprint": dataset.fingerprint()},
        "split": dict(parts.settings),
        "preprocessing": {"sha256": _hash(preprocessing.to_card())},
        "train": config.to_mapping(),
        "environment": environment(),
    }


def environment() -> dict[str, Any]:
    """Versions, kind of processor and threads: what bit-identity holds within."""
    return {
        "convarium": convarium.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
    }


def check_same(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume with other settings or data; report another environment.

    Raises:
        RunError: something that the result depends on differs.
    """
    for table in ("data", "split", "preprocessing", "model", "train"):
        then = {k: v for k, v in stored.get(table, {}).items() if k != "source"}
        today = {k: v for k, v in now[table].items() if k != "source"}
        names = sorted(k for k in then.keys() | today.keys() if then.get(k) != today.get(k))
        if names and table == "data":
            raise RunError("The data differs from the run's data; resume with the same samples.")
        if names:
            name = names[0]
            raise RunError(
                f"Cannot resume with another {table} setting: {name} was {then.get(name)!r} and "
                f"is {today.get(name)!r}; leave it out, or start a new run."
            )
    then, today = stored.get("environment", {}), now["environment"]
    changed = sorted(k for k in today if then.get(k) != today[k])
    if changed:
        words = ", ".join(f"{name} {then.get(name)} -> {today[name]}" for name in changed)
        message = f"The run goes on in another environment and will not be bit-identical: {words}."
        warnings.warn(message, stacklevel=2)


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], position: Position) -> None:
    """Write `checkpoint-<step>`, point `latest` at it, and keep only the one before it."""
    name = f"checkpoint-{position.step}"
    with files.atomic(folder / name) as temporary:
        temporary.mkdir()
        files.write_tensors(temporary / "state.safetensors", tensors)
        digest = files.sha256(temporary / "state.safetensors")
        state = {"format_version": 1, "sha256": digest, **dataclasses.asdict(position)}
        files.write_json(temporary / "state.json", state)
    previous = _latest(folder)
    files.write_text(folder / "latest", name + "\n")
    for old in folder.glob("checkpoint-*"):
        if old.name not in (name, previous):
            shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Position] | None:
    """The newest whole checkpoint, or None where training died before the first one.

    Raises:
        RunError: there are checkpoints and all are damaged.
    """
    for leftover in folder.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = sorted(folder.glob("checkpoint-*"), key=_step_of, reverse=True)
    named = [path for path in found if path.name == _latest(folder)]
    reasons = []
    for path in [*named, *(path for path in found if path not in named)]:
        try:
            state = _read_checkpoint(path)
        except (ConvariumError, OSError, KeyError, TypeError) as error:
            reasons.append(f"{path.name}: {error}")
            continue
        if reasons:
            warnings.warn(f"Went back to {path.name}; {'; '.join(reasons)}", stacklevel=2)
        return state
    if reasons:
        raise RunError(f"No checkpoint of {folder} can be read ({'; '.join(reasons)}).")
    return None


def cut_history(folder: Path, rows: int) -> list[dict[str, Any]]:
    """Cut `history.jsonl` back to its first rows, and give them.

    Raises:
        RunError: the file has fewer rows.
    """
    path = folder / "history.jsonl"
    found = files.read_jsonl(path)
    if len(found) < rows:
        raise RunError(f"{path} has {len(found)} rows where the checkpoint knows of {rows}.")
    if path.exists():
        files.write_jsonl(path, found[:rows])
    return found[:rows]


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Position]:
    state = files.read_json(path / "state.json")
    if files.sha256(path / "state.safetensors") != state["sha256"]:
        raise RunError("state.safetensors is damaged")
    fields = {option.name: state[option.name] for option in dataclasses.fields(Position)}
    return files.read_tensors(path / "state.safetensors"), Position(**fields)


def _hash(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()


def _latest(folder: Path) -> str:
    path = folder / "latest"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _step_of(path: Path) -> int:
    number = path.name.removeprefix("checkpoint-")
    return int(number) if number.isdigit() else -1


def _samples(part: Part, preprocessing: Preprocessing) -> dict[str, Tensor]:
    """A few validation inputs, spread over the part: `inputs` uint8 `(N, C, *S)` and their ids."""
    count = min(_KEPT_SAMPLES, len(part))
    chosen = [part.ids[k * len(part) // count] for k in range(count)]
    inputs = [preprocessing.apply(part.dataset.read(int(id))) for id in chosen]
    return {"inputs": torch.stack(inputs), "ids": torch.tensor([int(id) for id in chosen])}
