"""Training steps of copies of a network on a few real samples, in any arithmetic."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from convarium import models
from convarium.data import Parts, Preprocessing
from convarium.graph import Timing
from convarium.measure.kept import code
from convarium.measure.running import processor
from convarium.processes import World
from convarium.train.agreement import Agreement, agreement
from convarium.train.choices import DEFAULTS, settled
from convarium.train.compiling import compiled
from convarium.train.config import TrainConfig
from convarium.train.gradients import Pass
from convarium.train.learner import Learner

_MOST = 64  # samples that are read
_NOISY = 1.25  # times the median, that one step in ten takes where other work disturbs


class Candidate(NamedTuple):
    """One way to compute a step.

    >>> Candidate("bf16", "contiguous", "off").label
    'bf16 contiguous'
    """

    precision: str
    layout: str
    compile: str

    @property
    def label(self) -> str:
        """The way in a few words."""
        compiled = ["compiled"] if self.compile == "on" else []
        return " ".join([self.precision, self.layout, *compiled])


PLAIN = Candidate("fp32", "contiguous", "off")  # what the others' numbers are compared with


@dataclass
class Times:
    """How long steps of the same few samples took.

    Args:
        samples: of a step.
        milliseconds: medians by candidate.
        speeds: how many times as fast as the default, by candidate, from steps side by side.
        quiet: whether nothing else seems to have disturbed them.
    """

    samples: int
    milliseconds: dict[str, float]
    speeds: dict[str, float]
    quiet: bool = True

    @classmethod
    def of(cls, samples: int, timings: Mapping[str, Timing], default: Candidate) -> Times:
        """The times of candidates that took turns.

        A speed is the median over the rounds, or the ratio of the shortest steps where that is
        smaller: other work on the machine only ever adds, and seldom to both alike.
        """
        base = timings[default.label]
        speeds = {
            label: min(base.ratio(timing), min(base.seconds) / min(timing.seconds))
            for label, timing in timings.items()
        }
        milliseconds = {label: round(1e3 * each.median, 3) for label, each in timings.items()}
        return cls(samples, milliseconds, speeds, base.percentile(90) < _NOISY * base.median)

    @classmethod
    def kept(cls, found: Any, labels: Sequence[str]) -> Times | None:
        """Times that were kept, if they are whole and of these candidates."""
        try:
            times = cls(**found)
            rows = [times.milliseconds, times.speeds]
            whole = all(
                math.isfinite(row[label]) and row[label] > 0 for row in rows for label in labels
            )
        except (TypeError, KeyError):
            return None
        fits = whole and type(times.samples) is int and 2 <= times.samples <= _MOST
        return times if fits else None

    def add(self, candidate: Candidate, timing: Timing, other: Timing, beside: Candidate) -> None:
        """One more candidate, timed side by side with another one that was timed before."""
        self.milliseconds[candidate.label] = round(1e3 * timing.median, 3)
        self.speeds[candidate.label] = self.speeds[beside.label] * other.ratio(timing)

    def sentence(self, candidate: Candidate, default: Candidate) -> str:
        """How much faster a candidate is than the default."""
        own, other = (self.milliseconds[each.label] for each in (candidate, default))
        return (
            f"{self.speeds[candidate.label]:.2f} times as fast as {default.label}, "
            f"{own:.3g} against {other:.3g} ms for {self.samples} samples"
        )


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
        self.most = max(2, min(-(-own // config.accumulate), _MOST, len(parts.train)))
        self._config = dataclasses.replace(
            settled(config),
            batch_size=self.most,
            accumulate=1,
            workers=0,
            freeze_epochs=0,
            unfreeze_epochs=0,
            compile="off",
        )
        self._learners: dict[str, Learner] = {}
        self._compiled: dict[str, Any] = {}
        self._whole = next(self.learner(self._config.layout).batches(0))
        self.samples = 2  # of a step

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
        batch = self._whole.first(self.samples)
        passes = self._passes(candidate)
        return passes.backward(network, batch, epoch=0, step=0).loss

    def seconds(self, candidate: Candidate) -> float:
        """How long a step takes, waiting for its end."""
        start = time.perf_counter()
        self.step(candidate)
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Wait until a GPU has done what it was told."""
        if self.learner(self._config.layout).device.type == "cuda":
            torch.cuda.synchronize()

    def agreement(self, candidate: Candidate) -> Agreement:
        """How far a candidate's numbers are from those of float32 in torch's usual order."""
        return agreement(
            self.learner(candidate.layout).model,
            self._passes(candidate),
            self.learner(PLAIN.layout).model,
            self._passes(PLAIN),
            self._whole.first(self.samples),
        )

    def _passes(self, candidate: Candidate) -> Pass:
        passes = self.learner(candidate.layout).passes
        return dataclasses.replace(passes, precision=candidate.precision)


def key_of(
    model: nn.Module,
    config: TrainConfig,
    preprocessing: Preprocessing,
    world: World,
    device: torch.device,
) -> dict[str, Any]:
    """What the times of a network's steps depend on, as far as a program can see it."""
    if isinstance(model, models.Network) and model.name is not None:
        network = [model.name, dict(model.config)]
    else:
        network = ["", hashlib.sha256(repr(model).encode()).hexdigest()]
    return {
        "network": network,
        "input_shape": list(preprocessing.input_shape),
        "batch": [config.batch_size, config.accumulate, world.size],
        "choices": [getattr(config, name) for name in DEFAULTS],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "code": code("layers", "models"),
    }
