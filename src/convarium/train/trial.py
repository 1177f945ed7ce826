"""Training steps of copies of a network on a few real samples, in any arithmetic."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from convarium.data import Batch, Parts, Preprocessing
from convarium.graph import Timing, paired_timing
from convarium.processes import World
from convarium.train.agreement import Agreement, agreement, only_norms_train
from convarium.train.candidates import PLAIN, Candidate
from convarium.train.choices import settled
from convarium.train.compiling import compiled
from convarium.train.config import TrainConfig
from convarium.train.from_config import device_named
from convarium.train.gradients import Pass
from convarium.train.learner import Learner

FEWEST: Final = 2  # samples of a step
_READ: Final = 32  # samples; a larger step has them several times
_COMPARED: Final = 8  # samples that two arithmetics are compared on
_FEWEST_COMPARED: Final = 4  # where a step has fewer; with two, norms have next to no gradient
_ROUNDS: Final = 8
_HOPELESS: Final = 3.0  # times as slow as the default: is not timed again
_FAILURES: Final = (RuntimeError, TypeError, ValueError)  # of networks in some arithmetic


class Trial:
    """Copies of a network, one for each memory order, and the first samples of the training.

    Nothing is updated, frozen or accumulated: a step is a forward and a backward pass.

    Args:
        model: the network; it stays as it is.
        parts: the training part gives the samples.
        config: how to train.
        preprocessing: fitted on `parts.train`.
        world: the processes that will share each batch; this one steps alone.
    """

    def __init__(
        self,
        model: nn.Module,
        parts: Parts,
        config: TrainConfig,
        preprocessing: Preprocessing,
        world: World,
    ) -> None:
        self._model, self._parts, self._preprocessing = model, parts, preprocessing
        own = -(-config.batch_size // world.size)  # a process's samples, rounded up
        self.most = max(FEWEST, -(-own // config.accumulate))
        self._config = dataclasses.replace(
            settled(config),
            batch_size=max(FEWEST, min(self.most, _READ, len(parts.train))),
            accumulate=1,
            workers=0,
            freeze_epochs=0,
            unfreeze_epochs=0,
            compile="off",
        )
        self._device = device_named(config.device)
        self._learners: dict[str, Learner] = {}
        self._compiled: dict[str, Any] = {}
        self._read: Batch | None = None
        self._batch: Batch | None = None
        self.samples = FEWEST  # of a step
        self.refused: dict[Candidate, str] = {}  # what is not to be taken, and why

    def learner(self, layout: str) -> Learner:
        """The learner of a copy in this memory order."""
        if layout not in self._learners:
            config = dataclasses.replace(self._config, layout=layout)
            learner = Learner(copy.deepcopy(self._model), self._parts, config, self._preprocessing)
            learner.model.train()
            self._learners[layout] = learner
        return self._learners[layout]

    def step(self, candidate: Candidate) -> float:
        """A forward and a backward pass; gives the loss."""
        learner = self.learner(candidate.layout)
        network: Any = learner.model
        if candidate.compile == "on":
            if candidate.layout not in self._compiled:
                self._compiled[candidate.layout] = compiled(network)
            network = self._compiled[candidate.layout]
        learner.optimizer.zero_grad()
        if self._batch is None or len(self._batch) != self.samples:
            self._batch = self._samples(learner, self.samples)
        passes = self._passes(candidate)
        return passes.backward(network, self._batch, epoch=0, step=0).loss

    def _samples(self, learner: Learner, count: int) -> Batch:
        """So many of the first samples, from the start again where more were not read."""
        if self._read is None:
            self._read = next(learner.batches(0))
        return self._read.at(torch.arange(count) % len(self._read))

    def seconds(self, candidate: Candidate) -> float:
        """How long a step takes, waiting for its end."""
        start = time.perf_counter()
        self.step(candidate)
        self._wait()
        return time.perf_counter() - start

    def works(self, candidate: Candidate) -> bool:
        """Whether the network can take a step in it; if not, it is refused."""
        with self._refusing(candidate):
            self.step(candidate)
        return candidate not in self.refused

    @contextlib.contextmanager
    def _refusing(self, candidate: Candidate) -> Iterator[None]:
        """Inside, an error of the network refuses the candidate; a lack of memory stays one."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except _FAILURES as error:
            lines = str(error).splitlines() or [type(error).__name__]
            self.refused[candidate] = f"fails ({lines[0].rstrip('.')})"

    def turns(
        self, candidates: Sequence[Candidate], few: float, seconds: float
    ) -> dict[str, Timing]:
        """Steps of all candidates in turns, but for those that fail or are hopeless at once.

        Args:
            candidates: the default first.
            few: seconds of the default's step on the fewest samples.
            seconds: that all may take.
        """
        end, samples, default = time.monotonic() + seconds, self.samples, candidates[0]
        ratios = {default: 1.0}
        self.samples = FEWEST
        for candidate in candidates[1:]:
            if self.works(candidate):
                ratios[candidate] = self.seconds(candidate) / few
        if samples > FEWEST:
            self.samples = samples
            step = self._warm_seconds(default)
            for candidate in _hopeful(ratios)[1:]:
                ratios[candidate] = self._warm_seconds(candidate) / step
        found = self.timed(_hopeful(ratios), max(1e-3, end - time.monotonic()))
        base = found[default.label].seconds
        for candidate, ratio in ratios.items():
            found.setdefault(candidate.label, Timing(tuple(ratio * one for one in base)))
        return found

    def _warm_seconds(self, candidate: Candidate) -> float:
        self.step(candidate)  # finds memory and algorithms
        return self.seconds(candidate)

    def timed(self, candidates: Sequence[Candidate], seconds: float) -> dict[str, Timing]:
        """Steps of several candidates in turns, by label, for about so many seconds."""
        calls = {each.label: functools.partial(self.step, each) for each in candidates}
        return paired_timing(
            calls,
            rounds=_ROUNDS,
            warmup=0,
            seconds=seconds,
            synchronize=self._wait,
            clock=time.perf_counter,
        )

    def _wait(self) -> None:
        """Wait until a GPU has done what it was told."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def without_chance(self, layout: str) -> contextlib.AbstractContextManager[None]:
        """Inside, steps in this memory order drop nothing at random, and batch norms train."""
        return only_norms_train(self.learner(layout).model)

    def numbers(self, candidate: Candidate) -> tuple[float, float]:
        """The loss of a step, and the norm of its gradient."""
        loss = self.step(candidate)
        every = self.learner(candidate.layout).model.parameters()
        norm = nn.utils.get_total_norm([p.grad for p in every if p.grad is not None])
        return loss, norm.item()

    def agreement(self, candidate: Candidate) -> Agreement | None:
        """How far a candidate's numbers are from those of float32 in torch's usual order.

        None where the network fails; that, and numbers that are too far, refuse it.
        """
        found = None
        count = max(_FEWEST_COMPARED, min(self.samples, _COMPARED))
        with self._refusing(candidate):
            learner = self.learner(candidate.layout)
            found = agreement(
                learner.model,
                self._passes(candidate),
                self.learner(PLAIN.layout).model,
                self._passes(PLAIN),
                self._samples(learner, min(count, self._config.batch_size)),
            )
            if not found.holds:
                self.refused[candidate] = f"is refused: {found.sentence()}"
        return found

    def _passes(self, candidate: Candidate) -> Pass:
        passes = self.learner(candidate.layout).passes
        return dataclasses.replace(passes, precision=candidate.precision)


def _hopeful(ratios: Mapping[Candidate, float]) -> list[Candidate]:
    """The candidates that are not several times as slow as the default."""
    return [each for each, ratio in ratios.items() if ratio <= _HOPELESS]
