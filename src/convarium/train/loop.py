"""`fit`: training that ends the same after a kill as without one.

Every random number follows from (seed, epoch, step) or (seed, epoch, sample), never from what was
drawn before; a checkpoint therefore needs no generator's state, and a resumed run ends with the
same bits as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convarium import files, models
from convarium.data import Parts, Preprocessing
from convarium.errors import RunError
from convarium.predict import Predictor, fit_temperature
from convarium.predict.scatter import keep_scatter
from convarium.processes import ALONE, World
from convarium.train import storage
from convarium.train.caching import with_cache
from convarium.train.checks import field_advice, members_advice
from convarium.train.choices import settled
from convarium.train.config import TrainConfig
from convarium.train.determinism import deterministic
from convarium.train.grouping import frozen_in, group_rows
from convarium.train.history import History
from convarium.train.observers import Observer
from convarium.train.probing import Probe, decided
from convarium.train.settings import check_same, read_settings, settings_of, write_settings
from convarium.train.training import Training

_FEWEST = 30  # samples that a temperature is fitted to


def fit(
    model: nn.Module,
    parts: Parts,
    config: TrainConfig | None = None,
    *,
    preprocessing: Preprocessing,
    out: str | Path | None = None,
    resume: bool = False,
    observers: Sequence[Observer] = (),
    world: World = ALONE,
    probe: Probe | None = None,
) -> History:
    """Train `model` in place on `parts.train`; `parts.validation` chooses the weights it ends with.

    Args:
        model: maps `(B, C, *S)` to the task's outputs; a convarium network where `out` is given.
        parts: training, validation and test samples; the test samples are not touched.
        config: how to train; None means `TrainConfig()`.
        preprocessing: fitted on `parts.train`.
        out: the run folder to make; None keeps nothing.
        resume: go on from the newest checkpoint in `out`; a finished run is only loaded.
        observers: told of every step and epoch, in the first process.
        world: the processes that share each batch, as `processes.joined` gives them; each has its
            own model with equal weights, and the first one writes. Their gradients are added up, so
            that the result is that of one process but for rounding, dropout, and batch norms, each
            of which sees its process's samples only; on GPUs they see all.
        probe: what `train.probe` decided; None asks it for what the configuration leaves to "auto".
            A resumed run does as it was started.

    Returns:
        The history. `model` is left in evaluation mode, with the weights of the best epoch.

    Raises:
        RunError: `out` is in the way, in use or full, or cannot be resumed with these settings.
        ShapeError: the network's outputs do not fit the task.
        ConvariumError: the loss is not finite.
    """
    config = TrainConfig() if config is None else config
    told = (field_advice(model, preprocessing), members_advice(model, config))
    for advice in filter(None, told if world.first and not resume else ()):
        warnings.warn(advice, stacklevel=2)
    quiet = not (observers and world.first)
    if out is None:
        if resume:
            raise RunError("resume needs the run folder; give it as out.")
        parts = with_cache(parts, config, preprocessing, quiet=quiet)
        with _kept(config), world.together():
            config = decided(probe, model, parts, config, preprocessing, world).config
            return Training(model, parts, config, preprocessing, None, observers, world).run()
    folder = Path(out)
    if not isinstance(model, models.Network) or model.name is None:
        raise RunError("Only networks from convarium.create can be kept in a run; leave out away.")
    if not resume and world.first:
        storage.refuse_existing(folder)
    elif resume and not (folder / "config.toml").exists():
        raise RunError(f"There is no run in {folder} to resume; train without --resume.")
    parts = with_cache(parts, config, preprocessing, quiet=quiet)
    with _kept(config), world.together():
        if resume:
            stored = world.share(read_settings(folder) if world.first else {})
            config, reasons = settled(config, stored["train"]), stored.get("probe", {})
        else:
            found = decided(probe, model, parts, config, preprocessing, world)
            config, reasons = found.config, found.to_mapping()
        training = Training(model, parts, config, preprocessing, folder, observers, world)
        description = {"name": model.name, "options": model.config}
        place = (training.device, world)
        learning = (group_rows(model, training.optimizer.param_groups), frozen_in(model))
        settings = settings_of(description, parts, preprocessing, config, *place, *learning)
        settings["probe"] = reasons
        claimed = storage.claim(folder, resume=resume) if world.first else contextlib.nullcontext()
        with claimed:
            return _run(model, training, folder, settings, resume=resume)


def _run(
    model: models.Network,
    training: Training,
    folder: Path,
    settings: dict[str, Any],
    *,
    resume: bool,
) -> History:
    """Start or go on, to the end; a finished run is only loaded."""
    first, world = training.world.first, training.world
    if resume:
        if first:
            check_same(read_settings(folder), settings)
        if world.share(first and storage.is_finished(folder)):
            return _load_finished(training, folder)
        training.restore(folder)
        if first:
            storage.mend_split(folder, training.parts)
    elif first:
        storage.write_start(folder, training.parts, training.preprocessing)
        training.checkpoint()
        write_settings(folder, settings)
    history = training.run()
    _list_skipped(training, folder)
    if first:
        keep_scatter(training.model, training.parts, training.preprocessing, folder)
        models.save(model, folder, _card(training, settings, history))
    world.share(None)  # nobody goes on before the run is whole
    return history


def _list_skipped(training: Training, folder: Path) -> None:
    """List again what was left out, since a stream finds what is damaged while it trains."""
    if training.parts.train.listed:
        return
    found = training.world.gather(list(training.parts.train.dataset.skipped))
    if training.world.first:
        items = dict.fromkeys(item for some in found for item in some)
        files.write_jsonl(folder / "skipped.jsonl", [item._asdict() for item in items])


def _load_finished(training: Training, folder: Path) -> History:
    """The history and the weights of a finished run; nothing is written."""
    training.model.load_state_dict(files.read_tensors(folder / "model.safetensors"))
    training.model.eval()
    rows = files.read_jsonl(folder / "history.jsonl")
    best = int(files.read_json(folder / "card.json")["result"]["validation"]["epoch"])
    return History(tuple(rows), best, training.task.metric)


def _card(training: Training, settings: dict[str, Any], history: History) -> dict[str, Any]:
    """What `card.json` says besides the network: data, split, recipe, result, versions.

    With the temperature that the best weights have on the validation samples, for a classifier;
    without, where the last weights are kept and validation only looks on with few samples.
    """
    best = {key: value for key, value in history.best.items() if not key.startswith("train_")}
    places = {}
    if training.places is not None:
        found = training.places
        best |= {"val_loss": found.loss, f"val_{training.task.metric}": found.score}
        places = {"places": found._asdict()}
    predictor = Predictor(training.model, training.card, device=training.device)
    workers = training.config.workers
    few = training.config.keep == "last" and len(training.parts.validation) < _FEWEST
    fitted = None
    if not few:
        fitted = fit_temperature(predictor, training.parts.validation, workers=workers)
    calibration = {} if fitted is None else {"calibration": fitted.to_card()}
    return {
        **training.card,
        **calibration,
        **places,
        "split": settings["split"],
        "recipe": settings["train"],
        "groups": settings["groups"],
        "probe": settings["probe"],
        "result": {"validation": {"n": len(training.parts.validation), **best}},
        "library": settings["environment"],
    }


@contextlib.contextmanager
def _kept(config: TrainConfig) -> Iterator[None]:
    """Compute by equal bits where that is asked; give the caller's generators back as they were."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), deterministic(config.deterministic):
        yield
