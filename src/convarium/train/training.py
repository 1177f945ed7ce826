"""One training run: its epochs, its checkpoints, its best weights.

for each epoch: for each batch of f(seed, epoch): gradient, rate, update
                then validation, history row, best weights, checkpoint
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import torch
from torch import Tensor, nn

from convarium import files, seeds, tasks
from convarium.data import Batch, Part, Parts, Preprocessing
from convarium.errors import ConvariumError, RunError
from convarium.predict import Predictor
from convarium.processes import ALONE, World
from convarium.train import storage
from convarium.train.averaging import AveragedWeights
from convarium.train.batch_finder import out_of_memory
from convarium.train.choices import choices_of, settled
from convarium.train.config import TrainConfig
from convarium.train.history import History, is_better
from convarium.train.learner import Learner
from convarium.train.observers import Observer
from convarium.train.optimizers import optimizer_tensors, restore_optimizer
from convarium.train.overwriting import Overwriting
from convarium.train.places import Fitted, fit_places_of

_CLEAN_SAMPLES = 2_000
_LATE = 1.07  # of the time budget: no epoch begins that would end later


class Training:
    """One run: a learner, and where its training stands."""

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        config: TrainConfig,
        preprocessing: Preprocessing,
        folder: Path | None,
        observers: Sequence[Observer],
        world: World = ALONE,
    ) -> None:
        config = settled(config)
        self.parts, self.config, self.preprocessing = parts, config, preprocessing
        self.world = world
        self.folder = folder if world.first else None  # where this process writes
        self.observers = observers if world.first else ()
        self.learner = Learner(model, parts, config, preprocessing, world)
        self.model, self.optimizer = self.learner.model, self.learner.optimizer
        self.card, self.task = self.learner.card, self.learner.task
        self.device, self.steps = self.learner.device, self.learner.steps
        self.averaged = None if config.ema is None else AveragedWeights(model, config.ema)
        self.position = storage.Position(choices=choices_of(config))
        self.best: dict[str, Tensor] = {}
        self.places: Fitted | None = None
        self._clock = 0.0  # when the last row was made, or this life of the run began

    def run(self) -> History:
        """All epochs that are left, then the best weights."""
        config, position = self.config, self.position
        self._clock = time.monotonic()
        for observer in self.observers:
            observer.on_start(
                epochs=config.epochs,
                steps=self.learner.total_steps,
                first_step=position.step,
                batch_size=config.batch_size,
            )
        shape = (2, *self.learner.preprocessing.input_shape)
        try:
            self._overwriting = Overwriting(self.model, shape)
            while position.epoch < config.epochs and not (self._is_stale() or self._is_late()):
                self._epoch()
        finally:
            self.learner.lift()
        self.model.load_state_dict(self.best)
        self.model.eval()
        self.places = fit_places_of(self.model, self.parts, self.preprocessing, self._validated)
        return self.history()

    def _validated(self) -> tuple[float, float]:
        """Loss and score on the validation samples."""
        found = self.evaluation(self.parts.validation)
        return found.loss, found.score

    def history(self) -> History:
        """The rows so far and the best epoch."""
        best = self.position.best_row
        return History(tuple(self.position.rows), best["epoch"] if best else 0, self.task.metric)

    def _is_stale(self) -> bool:
        return self.config.patience is not None and self.position.stale >= self.config.patience

    def _is_late(self) -> bool:
        """Whether one more epoch as long as the last would end too long after the time budget.

        It depends on the history alone, so that a resumed run decides as the first one did.
        """
        rows, budget = self.position.rows, self.config.time_budget
        if budget is None or not rows or self.position.batch:
            return False
        seconds = [row["seconds"] for row in rows]
        end = self.config.time_around + sum(seconds) + seconds[-1]
        return bool(end > _LATE * budget)

    def _epoch(self) -> None:
        position, config = self.position, self.config
        self.learner.freezing.apply(position.epoch)
        self.model.train()
        saved, before = time.monotonic(), position.seconds
        for batch in self.learner.batches(position.epoch, position.batch):
            rate = self._step(batch)
            now = time.monotonic()
            position.seconds = before + now - self._clock
            if now - saved >= config.checkpoint_seconds and position.batch < self.steps:
                self.checkpoint()
                saved = now
        self._end_epoch(rate, before)

    def _step(self, batch: Batch) -> float:
        """One update; gives the learning rate that it used."""
        position = self.position
        computed = None
        try:
            batch = self.learner.sized(batch, position.step)
            with self._overwriting.step():
                computed = self.learner.gradient(batch, epoch=position.epoch, step=position.batch)
        except torch.OutOfMemoryError as error:
            # which holds all that the step had until then, and would hold it through the search
            short = error.with_traceback(None)
        if computed is None:
            raise out_of_memory(self.learner, self.folder) from short
        if not math.isfinite(computed.loss):
            self._stop_diverged(computed.loss)
        rate = self.learner.rate(position.step)
        self.learner.update(rate)
        position.step += 1
        position.batch += 1
        if self.averaged is not None:
            self.averaged.update(position.step)
        position.loss_sum += computed.loss * computed.samples
        position.score_sum += computed.score_sum
        position.samples += computed.samples
        for observer in self.observers:
            observer.on_step(position.step, computed.loss)
        return rate

    def _end_epoch(self, rate: float, before: float) -> None:
        """Validate, write the row, keep the best weights, and save a checkpoint.

        A row's seconds begin where those of the row before end, so that nothing is left out.
        """
        position, metric = self.position, self.task.metric
        with self._final_weights():
            result = self.evaluation(self.parts.validation)
            if not math.isfinite(result.loss):
                self._stop_diverged(result.loss)
            row = {
                "epoch": position.epoch + 1,
                "train_loss": position.loss_sum / position.samples,
                f"train_{metric}": self._train_score(),
                "val_loss": result.loss,
                f"val_{metric}": result.score,
                "lr": rate,
                "seconds": round(before + time.monotonic() - self._clock, 3),
            }
            row = self.world.share(row)  # since decisions follow from its seconds
            self._clock = time.monotonic()
            position.stale += 1
            better = is_better(row, position.best_row, metric)
            position.stale = 0 if better else position.stale
            if better or self.config.keep == "last":
                position.best_row = row
                self.best = copy.deepcopy(self.model.state_dict())
        position.epoch += 1
        position.batch = position.samples = 0
        position.loss_sum = position.score_sum = position.seconds = 0.0
        position.rows.append(row)
        if self.folder is not None:
            files.append_jsonl(self.folder / "history.jsonl", row)
            self.checkpoint()
        for observer in self.observers:
            observer.on_epoch(row)

    def _train_score(self) -> float:
        """The score on the epoch's samples; where they were mixed, on clean ones, afterwards."""
        position = self.position
        if not self.config.mixing:
            return position.score_sum / position.samples
        return self.evaluation(clean_samples(self.parts.train, self.config.seed)).score

    def evaluation(self, part: Part) -> tasks.Evaluation:
        """What the network is worth on a part, as it stands in the first process."""
        self.learner.agree()
        predictor = Predictor(self.model, self.card, device=self.device)
        return predictor.evaluate(part, workers=self.config.workers, world=self.world)

    @contextlib.contextmanager
    def _final_weights(self) -> Iterator[None]:
        """The averaged weights for the time of the block, where there are any."""
        if self.averaged is None:
            yield
            return
        live = copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(self.averaged.state)
        try:
            yield
        finally:
            self.model.load_state_dict(live)

    def checkpoint(self) -> None:
        """Write where training stands, unless nothing is kept; refuse weights that are ruined."""
        if self.folder is None:
            return
        for parameter in self.model.parameters():
            if not parameter.isfinite().all():
                self._stop_diverged(math.nan)
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        memory = optimizer_tensors(self.optimizer, self.model)
        tensors |= {f"optimizer.{name}": value for name, value in memory.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        if self.averaged is not None:
            tensors |= {f"average.{name}": value for name, value in self.averaged.state.items()}
        storage.save_checkpoint(self.folder, tensors, self.position)

    def restore(self, folder: Path) -> None:
        """Go back to the newest checkpoint; the first process reads it, and all have it."""
        found = None
        if self.world.first:
            found = storage.load_checkpoint(folder)
            files.write_jsonl(folder / "history.jsonl", found[1].rows)
        tensors, self.position = cast(
            "tuple[dict[str, Tensor], storage.Position]", self.world.share(found)
        )
        self._check_choices(folder)
        parts: dict[str, dict[str, Tensor]] = {"average": {}, "best": {}}
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            parts.setdefault(kind, {})[name] = value.to(self.device)
        self.model.load_state_dict(parts["model"])
        self.best = parts["best"]
        restore_optimizer(self.optimizer, self.model, parts.get("optimizer", {}))
        if self.averaged is not None:
            for name, value in parts["average"].items():
                self.averaged.state[name].copy_(value)

    def _check_choices(self, folder: Path) -> None:
        """Refuse a checkpoint of another arithmetic than the settings have."""
        own = choices_of(self.config)
        found = self.position.choices = self.position.choices or own
        for name, value in own.items():
            if found.get(name, value) != value:
                raise RunError(
                    f"The checkpoint in {folder} was trained with {name} {found[name]!r}, and "
                    f"config.toml says {value!r}; put {found[name]!r} back."
                )

    def _stop_diverged(self, value: float) -> NoReturn:
        position = self.position
        rate = self.learner.rate(max(0, position.step - 1))
        kept = "" if self.folder is None else f" The last good checkpoint stays in {self.folder}."
        raise ConvariumError(
            f"The loss is {value} after step {position.step} (epoch {position.epoch + 1}, batch "
            f"{position.batch}, learning rate {rate:.3g}); start a new run with a smaller learning "
            f"rate or with clip_norm.{kept}"
        )


def clean_samples(part: Part, seed: int) -> Part:
    """Up to 2,000 samples of a part, the same in every epoch, in the part's order."""
    part = part.probe
    if len(part) <= _CLEAN_SAMPLES:
        return part
    chosen = seeds.permutation(len(part), seed, "clean samples")[:_CLEAN_SAMPLES]
    return Part(part.dataset, part.ids[np.sort(chosen)])
