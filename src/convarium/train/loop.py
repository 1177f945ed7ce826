"""`fit`: training that ends the same after a kill as without one.

Every random number follows from (seed, epoch, step) or (seed, epoch, sample), never from what was
drawn before; a checkpoint therefore needs no generator's state, and a resumed run ends with the
same bits as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convarium import models
from convarium.data import Parts, Preprocessing
from convarium.errors import RunError
from convarium.train import storage
from convarium.train.config import TrainConfig
from convarium.train.history import History
from convarium.train.observers import Observer
from convarium.train.training import Training


def fit(
    model: nn.Module,
    parts: Parts,
    config: TrainConfig | None = None,
    *,
    preprocessing: Preprocessing,
    out: str | Path | None = None,
    resume: bool = False,
    observers: Sequence[Observer] = (),
) -> History:
    """Train `model` in place on `parts.train`; `parts.validation` chooses the weights it ends with.

    Args:
        model: maps `(B, C, *S)` to the task's outputs; a convarium network where `out` is given.
        parts: training, validation and test samples; the test samples are not touched.
        config: how to train; None means `TrainConfig()`.
        preprocessing: fitted on `parts.train`.
        out: the run folder to make; None keeps nothing.
        resume: go on from the newest checkpoint in `out`; a finished run is only loaded.
        observers: told of every step and epoch.

    Returns:
        The history. `model` is left in evaluation mode, with the weights of the best epoch.

    Raises:
        RunError: `out` is in the way, in use or full, or cannot be resumed with these settings.
        ShapeError: the network's outputs do not fit the task.
        ConvariumError: the loss is not finite.
    """
    config = TrainConfig() if config is None else config
    if out is None:
        if resume:
            raise RunError("resume needs the run folder; give it as out.")
        with _generators_kept():
            return Training(model, parts, config, preprocessing, None, observers).run()
    folder = Path(out)
    if not isinstance(model, models.Network) or model.name is None:
        raise RunError("Only networks from convarium.create can be kept in a run; leave out away.")
    with storage.claim(folder, resume=resume), _generators_kept():
        description = {"name": model.name, "options": model.config}
        settings = storage.settings_of(description, parts, preprocessing, config)
        if resume:
            storage.check_same(storage.read_settings(folder), settings)
        else:
            storage.write_start(folder, settings, parts, preprocessing)
        training = Training(model, parts, config, preprocessing, folder, observers)
        if resume and training.restore():
            return training.history()
        history = training.run()
        models.save(model, folder, _card(training, settings, history))
        return history


def _card(training: Training, settings: dict[str, Any], history: History) -> dict[str, Any]:
    """What `card.json` says besides the network: data, split, recipe, result, versions."""
    best = {key: value for key, value in history.best.items() if not key.startswith("train_")}
    return {
        **training.card,
        "split": settings["split"],
        "recipe": settings["train"],
        "result": {"validation": {"n": len(training.parts.validation), **best}},
        "library": settings["environment"],
    }


@contextlib.contextmanager
def _generators_kept() -> Iterator[None]:
    """Give the caller's random generators back as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
