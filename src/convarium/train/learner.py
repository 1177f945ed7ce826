"""A network that learns from batches: its optimiser, its objective and its batches, without epochs.

batch of f(seed, epoch, step) -> forward, loss, backward, clip -> rate of f(step) -> update
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from convarium import seeds, tasks
from convarium.data import (
    Batch,
    Part,
    Parts,
    Preprocessing,
    batches,
    build_card,
    steps_per_epoch,
    training_batches,
)
from convarium.data.batch import memory_order
from convarium.data.batching import own_places
from convarium.errors import DataError
from convarium.processes import ALONE, World
from convarium.train.arithmetic import slow_in_bf16
from convarium.train.checks import check_drawing, check_lengths, check_network
from convarium.train.choices import settled
from convarium.train.compiling import compiled, compiler_explained
from convarium.train.config import TrainConfig
from convarium.train.freezing import Freezing
from convarium.train.from_config import changes_of, device_named, objective_of
from convarium.train.gradients import Computed, Pass
from convarium.train.growing import resized, sides_at
from convarium.train.optimizers import build_optimizer, set_rate
from convarium.train.sampling import balanced_order
from convarium.train.schedule import learning_rate
from convarium.train.synchronised import SyncedNorms, sees_all
from convarium.train.vector_files import give_vectors


class Learner:
    """The network, its optimiser, and all that one step needs.

    Args:
        model: is moved to the device and changed in place.
        parts: the training part is learnt from.
        config: how.
        preprocessing: fitted on the training part.
        world: the processes that share each batch.

    Raises:
        DataError: there are too few samples.
        ShapeError: the network's outputs do not fit the task.
        OptionError: options do not fit the task, the network or each other.
    """

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        config: TrainConfig,
        preprocessing: Preprocessing,
        world: World = ALONE,
    ) -> None:
        config = settled(config)
        self.parts, self.config, self.preprocessing = parts, config, preprocessing
        self.world = world
        self.card = build_card(parts, preprocessing)
        self.task = tasks.from_card(self.card)
        self.device = device_named(config.device)
        memory_format = memory_order(config.layout, preprocessing.input_shape)
        self.model = model
        self.model.to(self.device)
        self.model.to(memory_format=memory_format)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(model, config)
        self.freezing = Freezing(model, config)
        self.steps = steps_per_epoch(parts.train, config.batch_size)
        if self.steps == 0 or len(parts.validation) == 0:
            raise DataError(
                f"There are {len(parts.train)} training and {len(parts.validation)} validation "
                "samples; training needs at least 2 and 1."
            )
        self.augmentation = changes_of(config, preprocessing)
        check_network(model, config, self.card, self.device)
        check_lengths(model, parts)
        check_drawing(config, parts.train)
        apart = getattr(model, "turns", 1) > 1  # a member may have rows in some processes only
        self._norms = SyncedNorms(model, active=sees_all(self.device, world) and not apart)
        self.passes = Pass(
            task=self.task,
            objective=objective_of(config, self.task, parts.train),
            device=self.device,
            memory_format=memory_format,
            precision=config.precision,
            accumulate=config.accumulate,
            seed=config.seed,
            world=world,
            slow=() if config.compile == "on" else slow_in_bf16(model, self.device),
            in_step=bool(self._norms),
        )
        self._start_from_data()
        self._running = compiled(model) if config.compile == "on" else model

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        return self.steps * self.config.epochs

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The training batches of an epoch from 0, from number `start` on."""
        config = self.config
        return training_batches(
            self.drawn(epoch),
            self.preprocessing,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            augmentation=self.augmentation,
            start=start,
            workers=config.workers,
            rank=self.world.rank,
            world=self.world.size,
            device=self.device,
        )

    def lift(self) -> None:
        """Leave the network's layers as the caller gave them."""
        self.freezing.lift()
        self._norms.lift()

    def gradient(self, batch: Batch, *, epoch: int, step: int) -> Computed:
        """The gradient of one batch, clipped; nothing is updated.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step in it, from 0.
        """
        self.optimizer.zero_grad()
        with compiler_explained():
            computed = self.passes.backward(
                self._running, batch, epoch=epoch, step=step, turn=self._rows_before(epoch, step)
            )
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        return computed

    def _rows_before(self, epoch: int, step: int) -> int:
        """The number of rows in the training before this process's part of a step."""
        samples, world = len(self.parts.train), self.world
        own = own_places(step, self.config.batch_size, samples, rank=world.rank, world=world.size)
        return int(epoch * samples + own.start)

    def sized(self, batch: Batch, step: int) -> Batch:
        """The batch with the sides that a step of the whole run sees.

        Args:
            step: number of the step in the run, from 0.
        """
        start = self.config.start_size
        if start is None:
            return batch
        (inputs,) = batch.inputs
        sides = sides_at(
            step,
            self.total_steps,
            inputs.shape[2:],
            start=start,
            smallest=getattr(self.model, "smallest_input", 1),
        )
        return dataclasses.replace(batch, inputs=(resized(inputs, sides),))

    def _start_from_data(self) -> None:
        """Let a network that asks for it work out its first weights from some training samples.

        A network of texts gets vectors of its tokens, where that is asked for.
        """
        if self.config.vectors != "drawn":
            give_vectors(self.model, self.parts.train, self.preprocessing, self.config)
            self.world.follow_first([*self.model.parameters(), *self.model.buffers()])
        wanted = getattr(self.model, "start_samples", 0)
        if not wanted:
            return
        part = self.parts.train.probe
        chosen = seeds.permutation(len(part), self.config.seed, "start")[:wanted]
        some = Part(part.dataset, part.ids[chosen])
        given = [b.inputs[0] for b in batches(some, self.preprocessing, batch_size=len(some))]
        network: Any = self.model
        network.start_from(torch.cat(given).to(next(self.model.parameters())))
        self.world.follow_first([*self.model.parameters(), *self.model.buffers()])

    def agree(self) -> None:
        """Give every process the first one's statistics of norms, which each gathers by itself."""
        self.world.follow_first([*self.model.buffers()])

    def update(self, rate: float) -> None:
        """Take the step that the gradient says."""
        set_rate(self.optimizer, rate)
        self.optimizer.step()

    def rate(self, step: int) -> float:
        """The learning rate of a step of the whole run, from 0."""
        config = self.config
        return learning_rate(
            step,
            self.total_steps,
            peak=config.learning_rate,
            warmup=config.warmup,
            schedule=config.chosen_schedule,
            milestones=config.milestones,
            gamma=config.gamma,
        )

    def drawn(self, epoch: int) -> Part:
        """The training part, or what is drawn from it so that classes are equally frequent."""
        part = self.parts.train
        if self.config.balance != "sampling" or part.targets is None:
            return part
        order = balanced_order(part.targets, self.config.seed, epoch)
        return Part(part.dataset, part.ids[order])
