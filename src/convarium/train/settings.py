"""Everything that a run's result depends on, as `config.toml` holds it."""

from __future__ import annotations

import hashlib
import json
import platform
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import convarium
from convarium import files
from convarium.data import Dataset, Parts, Preprocessing
from convarium.data.places import place_of
from convarium.errors import RunError
from convarium.processes import ALONE, World
from convarium.train.choices import settled
from convarium.train.config import TrainConfig, free_options
from convarium.train.determinism import switches

_UNSET = "options_left_unset"
_COMPARED = ("data", "split", "preprocessing", "model", "train")
_FROZEN = "frozen"  # compared too; runs from before it was kept do not have it


def settings_of(
    model: Mapping[str, Any],
    parts: Parts,
    preprocessing: Preprocessing,
    config: TrainConfig,
    device: torch.device,
    world: World = ALONE,
    groups: Sequence[Mapping[str, Any]] = (),
    frozen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that the result depends on, as `config.toml` holds it, and what follows from it.

    `groups` are the rows of `group_rows`, which follow from the rest; `frozen` is what `frozen_in`
    the network says.
    """
    dataset = parts.train.dataset
    return {
        "model": dict(model),
        "data": {
            "source": str(dataset.source),
            **({"place": place} if (place := place_of(dataset.source)) else {}),
            "fingerprint": dataset.fingerprint(),
            "task": dataset.task,
            "columns": {**dataset.columns, **_corrected(dataset)},
        },
        "split": dict(parts.settings),
        "preprocessing": {"sha256": _hash(preprocessing.to_card())},
        "train": config.to_mapping(),
        "groups": list(groups),
        _FROZEN: dict(frozen or {}),
        "environment": environment(device, world),
    }


def _corrected(dataset: Dataset) -> dict[str, Any]:
    """Labels that were corrected, by the samples' names; nothing where none was."""
    return {"corrections": dict(dataset.corrections)} if dataset.corrections else {}


def environment(device: torch.device, world: World = ALONE) -> dict[str, Any]:
    """Versions, processor, device, threads, processes, switches: what bit-identity holds within."""
    return {
        "convarium": convarium.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "processes": world.size,
        **switches(),
    }


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `config.toml`; options that are None, which TOML has no word for, go into a list."""
    import tomli_w

    options = settings["model"]["options"]
    model = {
        **settings["model"],
        "options": {name: value for name, value in options.items() if value is not None},
        _UNSET: [name for name, value in options.items() if value is None],
    }
    files.write_text(folder / "config.toml", tomli_w.dumps({**settings, "model": model}))


def read_settings(folder: str | Path) -> dict[str, Any]:
    """The tables `model`, `data`, `split`, `train` and `environment` of a run's `config.toml`.

    Raises:
        RunError: there is no such file, or it is not whole.
    """
    path = Path(folder) / "config.toml"
    if not path.exists():
        raise RunError(f"There is no run to resume in {folder}; train without --resume.")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}; start a new run.") from error
    tables = (*_COMPARED, "environment")
    missing = [table for table in tables if not isinstance(settings.get(table), dict)]
    if missing:
        raise RunError(f"{path} lacks the table {missing[0]!r}; start a new run.")
    model = settings["model"]
    if not isinstance(model.get("name"), str) or not isinstance(model.get("options"), dict):
        raise RunError(f"{path} does not say the model's name and options; start a new run.")
    model["options"].update(dict.fromkeys(model.pop(_UNSET, [])))
    return settings


def read_preprocessing(folder: str | Path) -> Preprocessing:
    """The preprocessing that a run was started with.

    Raises:
        RunError: the file is missing or damaged.
    """
    return Preprocessing.from_card(
        files.read_json(Path(folder) / "preprocessing" / "preprocessing.json")
    )


def check_same(stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume with other settings or data; report another environment.

    Raises:
        RunError: something that the result depends on differs.
    """
    free = {"source", "place", "task", "columns", *free_options()}  # the fingerprint covers these
    # options that did not exist when the run was started have their defaults
    train = settled(TrainConfig.from_mapping(stored["train"]))
    stored = {_FROZEN: now[_FROZEN], **stored, "train": train.to_mapping()}
    for table in (*_COMPARED, _FROZEN):
        then, today = _compared(stored[table], free), _compared(now[table], free)
        names = sorted(k for k in then.keys() | today.keys() if then.get(k) != today.get(k))
        if names and table == "data":
            raise RunError("The data differs from the run's data; resume with the same samples.")
        if names and table == _FROZEN:
            raise _refrozen(then, today)
        if names:
            name = names[0]
            raise RunError(
                f"Cannot resume with another {table} setting: {name} was {then.get(name)!r} and "
                f"is {today.get(name)!r}; leave it out, or start a new run."
            )
    then, today = {"processes": 1, **stored["environment"]}, now["environment"]
    changed = sorted(k for k in today if then.get(k, today[k]) != today[k])
    if changed:
        words = ", ".join(f"{name} {then.get(name)} -> {today[name]}" for name in changed)
        message = f"The run goes on in another environment and will not be bit-identical: {words}."
        warnings.warn(message, stacklevel=2)


def _refrozen(then: Mapping[str, Any], today: Mapping[str, Any]) -> RunError:
    """The error of a network in which something else is frozen than when the run was started."""
    names = ["parts", "parameters"]
    was, now = ({name for key in names for name in table.get(key, ())} for table in (then, today))
    name = min(sorted(was ^ now), key=len)
    verbs = ("was frozen and is not", "was not frozen and is")
    return RunError(
        f"Cannot resume with other parts of the network frozen: {name} {verbs[name in now]}; "
        "freeze what was frozen, or start a new run."
    )


def _compared(table: Mapping[str, Any], free: set[str]) -> dict[str, Any]:
    """What has to be equal: of a cache that there is one, not where it is."""
    kept = {name: value for name, value in table.items() if name not in free}
    return {**kept, "cache": "a folder"} if kept.get("cache") is not None else kept


def _hash(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8")).hexdigest()
