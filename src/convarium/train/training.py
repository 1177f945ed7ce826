"""One training run: its steps, its epochs, its checkpoints.

for each epoch: for each batch of f(seed, epoch): forward, loss, backward, clip, rate, update
                then validation, history row, best weights, checkpoint
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from convarium import files, seeds, tasks
from convarium.data import (
    Augmentation,
    Batch,
    Parts,
    Preprocessing,
    build_card,
    steps_per_epoch,
    training_batches,
)
from convarium.errors import ConvariumError, DataError, OptionError, ShapeError
from convarium.predict import Predictor
from convarium.train import storage
from convarium.train.config import TrainConfig
from convarium.train.history import History, is_better
from convarium.train.observers import Observer
from convarium.train.optimizers import (
    AveragedWeights,
    build_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate,
)
from convarium.train.schedule import learning_rate


class Training:
    """One run: the network, its optimiser, and where training stands."""

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        config: TrainConfig,
        preprocessing: Preprocessing,
        folder: Path | None,
        observers: Sequence[Observer],
    ) -> None:
        self.parts, self.config, self.preprocessing = parts, config, preprocessing
        self.folder, self.observers = folder, observers
        self.card = build_card(parts, preprocessing)
        self.task = tasks.from_card(self.card)
        self.device = device_named(config.device)
        planes = len(preprocessing.input_shape) == 3
        last = planes and config.layout == "channels_last"
        self.memory_format = torch.channels_last if last else torch.contiguous_format
        self.model = model.to(self.device)
        self.model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(model, config)
        self.objective = tasks.Objective(label_smoothing=config.label_smoothing)
        self.averaged = None if config.ema is None else AveragedWeights(model, config.ema)
        self.steps = steps_per_epoch(parts.train, config.batch_size)
        if self.steps == 0 or len(parts.validation) == 0:
            raise DataError(
                f"There are {len(parts.train)} training and {len(parts.validation)} validation "
                "samples; training needs at least 2 and 1."
            )
        self.position = storage.Position()
        self.best: dict[str, Tensor] = {}
        self._check_network()

    def run(self) -> History:
        """All epochs that are left, then the best weights."""
        config, position = self.config, self.position
        for observer in self.observers:
            observer.on_start(
                epochs=config.epochs,
                steps=self.steps * config.epochs,
                first_step=position.step,
                batch_size=config.batch_size,
            )
        while position.epoch < config.epochs and not self._is_stale():
            self._epoch()
        self.model.load_state_dict(self.best)
        self.model.eval()
        return self.history()

    def history(self) -> History:
        """The rows so far and the best epoch."""
        best = self.position.best_row
        return History(tuple(self.position.rows), best["epoch"] if best else 0, self.task.metric)

    def _is_stale(self) -> bool:
        return self.config.patience is not None and self.position.stale >= self.config.patience

    def _epoch(self) -> None:
        position, config = self.position, self.config
        self.model.train()
        start = saved = time.monotonic()
        before = position.seconds
        for batch in training_batches(
            self.parts.train,
            self.preprocessing,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=position.epoch,
            augmentation=Augmentation(flip=config.flip, pad_crop=config.pad_crop),
            start=position.batch,
            workers=config.workers,
        ):
            rate = self._step(batch)
            now = time.monotonic()
            position.seconds = before + now - start
            if now - saved >= config.checkpoint_seconds and position.batch < self.steps:
                self.checkpoint()
                saved = now
        self._end_epoch(rate, before, start)

    def _step(self, batch: Batch) -> float:
        """One update; gives the learning rate that it used."""
        position, config = self.position, self.config
        seeds.torch_seed(self.device, config.seed, "dropout", position.epoch, position.batch)
        batch = batch.to(self.device)
        inputs = tuple(x.contiguous(memory_format=self.memory_format) for x in batch.inputs)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            outputs = self.model(*inputs) if batch.mask is None else self.model(*inputs, batch.mask)
        loss = self.task.loss(outputs, batch, self.objective)
        rate = self._rate(position.step)
        value = loss.item()
        if not math.isfinite(value):
            self._stop_diverged(value)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        set_rate(self.optimizer, rate)
        self.optimizer.step()
        position.step += 1
        position.batch += 1
        if self.averaged is not None:
            self.averaged.update(position.step)
        position.loss_sum += value * len(batch.index)
        position.score_sum += self.task.score_sum(outputs.detach(), batch).item()
        position.samples += len(batch.index)
        for observer in self.observers:
            observer.on_step(position.step, value)
        return rate

    def _end_epoch(self, rate: float, before: float, start: float) -> None:
        """Validate, write the row, keep the best weights, and save a checkpoint."""
        position, metric = self.position, self.task.metric
        with self._final_weights():
            result = Predictor(self.model, self.card, device=self.device).evaluate(
                self.parts.validation, workers=self.config.workers
            )
            if not math.isfinite(result.loss):
                self._stop_diverged(result.loss)
            row = {
                "epoch": position.epoch + 1,
                "train_loss": position.loss_sum / position.samples,
                f"train_{metric}": position.score_sum / position.samples,
                "val_loss": result.loss,
                f"val_{metric}": result.score,
                "lr": rate,
                "seconds": round(before + time.monotonic() - start, 3),
            }
            position.stale += 1
            if is_better(row, position.best_row, metric):
                position.best_row, position.stale = row, 0
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
        memory = optimizer_tensors(self.optimizer)
        tensors |= {f"optimizer.{name}": value for name, value in memory.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        if self.averaged is not None:
            tensors |= {f"average.{name}": value for name, value in self.averaged.state.items()}
        storage.save_checkpoint(self.folder, tensors, self.position)

    def restore(self, folder: Path) -> None:
        """Go back to the newest checkpoint."""
        tensors, self.position = storage.load_checkpoint(folder)
        files.write_jsonl(folder / "history.jsonl", self.position.rows)
        parts: dict[str, dict[str, Tensor]] = {"average": {}, "best": {}}
        for key, value in tensors.items():
            kind, _, name = key.partition(".")
            parts.setdefault(kind, {})[name] = value.to(self.device)
        self.model.load_state_dict(parts["model"])
        self.best = parts["best"]
        restore_optimizer(self.optimizer, parts.get("optimizer", {}))
        if self.averaged is not None:
            for name, value in parts["average"].items():
                self.averaged.state[name].copy_(value)

    def _check_network(self) -> None:
        """Refuse a network that cannot learn this task, before anything is written."""
        example = torch.zeros(1, *self.preprocessing.input_shape)
        empty = torch.zeros(1, dtype=torch.int64)
        batch = Batch(inputs=(example,), target=None, mask=None, index=empty, weight=None)
        predictor = Predictor(self.model, self.card, device=self.device)
        outputs = predictor.outputs(batch)
        if outputs.ndim < 2 or outputs.shape[1] != self.task.head_size:
            raise ShapeError(
                f"The network gives outputs {tuple(outputs.shape)} where the task needs "
                f"{self.task.head_size} per sample; create it with num_classes="
                f"{self.task.head_size}."
            )
        norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.model.modules())
        if self.config.batch_size == 1 and norms:
            raise OptionError(
                "batch_size (=1) is too small for batch norm, which needs two samples; use 2 or "
                "more, or a network with another norm."
            )

    def _stop_diverged(self, value: float) -> NoReturn:
        position = self.position
        rate = self._rate(max(0, position.step - 1))
        kept = "" if self.folder is None else f" The last good checkpoint stays in {self.folder}."
        raise ConvariumError(
            f"The loss is {value} after step {position.step} (epoch {position.epoch + 1}, batch "
            f"{position.batch}, learning rate {rate:.3g}); start a new run with a smaller learning "
            f"rate or with clip_norm.{kept}"
        )

    def _rate(self, step: int) -> float:
        config = self.config
        total = self.steps * config.epochs
        return learning_rate(
            step,
            total,
            peak=config.learning_rate,
            warmup=config.warmup,
            milestones=config.milestones,
            gamma=config.gamma,
        )


def device_named(name: str) -> torch.device:
    """The device of an option: the processor, a GPU, or a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConvariumError("device (='cuda') is not available; use device='cpu'.")
    return torch.device(name)
