"""A training that ends in time: a few steps are timed on a copy, and the epochs follow."""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from convarium.data import Part, Parts, Preprocessing
from convarium.data.batching import epoch_order
from convarium.errors import OptionError
from convarium.progress import duration
from convarium.train.caching import look_at_cache
from convarium.train.config import TrainConfig
from convarium.train.growing import SIZES
from convarium.train.probing import Probe, decided
from convarium.train.training import Training, clean_samples

_SHARE = 0.97  # of the time that is planned; the rest is for what the timing did not see
_LOOKED = 0.03  # of the time that the timing may take
_MOST_STEPS = 40
_EVALUATED = 512
_WARMED = 32


class TooShortError(OptionError):
    """Not a single epoch fits into the time; `epoch` says how long one takes, in seconds."""

    def __init__(self, message: str, epoch: float) -> None:
        super().__init__(message)
        self.epoch = epoch


@dataclass(frozen=True)
class Plan:
    """What fits into a time.

    Args:
        config: the configuration with the epochs that fit, and the seconds around them.
        first_epoch: seconds of the first epoch, which may have to read the data.
        epoch: seconds of each other.
        test: seconds of an evaluation of the test part.
        seconds: what was to be planned for.
        probe: which arithmetic was decided on, and why; for `fit`.
    """

    config: TrainConfig
    first_epoch: float
    epoch: float
    test: float
    seconds: float
    probe: Probe

    def sentence(self) -> str:
        """The plan in one sentence."""
        epochs = self.config.epochs
        planned = self.first_epoch + (epochs - 1) * self.epoch
        return (
            f"{epochs} epoch{'s' * (epochs > 1)} of {self.epoch:.2g} s in {duration(planned)}, "
            f"for a budget of {duration(self.seconds)}"
        )

    def later(self, seconds: float) -> Plan:
        """The plan where so much more of the time is gone.

        Raises:
            OptionError: not a single epoch fits any more.
        """
        around = self.config.time_around + seconds
        chosen = _fitting(self.config, around, self.first_epoch, self.epoch)
        return dataclasses.replace(
            self, config=chosen, probe=dataclasses.replace(self.probe, config=chosen)
        )


def plan_budget(
    model: nn.Module,
    parts: Parts,
    config: TrainConfig,
    *,
    preprocessing: Preprocessing,
    spent: float = 0.0,
    probe: Probe | None = None,
) -> Plan:
    """Choose the epochs so that training and one evaluation of the test part end in time.

    Where a cache of pictures is still to be made, that is part of the time. A few steps,
    evaluations and a checkpoint are timed on a copy, for up to 3 % of the time; the network and all
    random numbers stay as they are. The choice depends on the machine, so it is made once: train
    with `config` of the result, and resume with the same.

    Args:
        model: the network.
        parts: the samples.
        config: with a `time_budget`; its epochs are replaced.
        preprocessing: fitted on `parts.train`.
        spent: seconds of the budget that are gone already.
        probe: what `train.probe` decided; None asks it for what the configuration leaves to "auto".

    Raises:
        OptionError: there is no time budget, or not a single epoch fits into it.
    """
    budget = config.time_budget
    if budget is None:
        raise OptionError("time_budget (=None) must be a number of seconds, such as 600.")
    start = time.monotonic()
    found = decided(probe, model, parts, config, preprocessing)
    config = found.config
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices), tempfile.TemporaryDirectory() as folder:
        training = Training(copy.deepcopy(model), parts, config, preprocessing, Path(folder), ())
        learner, looked = training.learner, _LOOKED * budget
        count = min(_MOST_STEPS, learner.steps)
        own, count, packing = look_at_cache(learner, Path(folder, "cache"), count, looked / 2)
        training.parts = learner.parts = own
        rate = _evaluation(training, max(own.validation, own.test, key=len))
        first_epoch, epoch = _epochs(training, count, looked, rate)
    test = len(parts.test) * rate
    around = spent + time.monotonic() - start + packing + test
    chosen = _fitting(config, around, first_epoch, epoch)
    found = dataclasses.replace(found, config=chosen)
    return Plan(chosen, first_epoch, epoch, test, budget, found)


def _fitting(config: TrainConfig, around: float, first_epoch: float, epoch: float) -> TrainConfig:
    """The configuration with the epochs that fit."""
    budget = config.time_budget or 0.0
    left = _SHARE * budget - around
    if first_epoch > left:
        raise TooShortError(
            f"time_budget (={budget:g} s) is too short for one epoch of about "
            f"{duration(first_epoch)} with the {duration(around)} around it; "
            "give more time, smaller images or a smaller network.",
            epoch,
        )
    epochs = 1 + int((left - first_epoch) / epoch)
    return dataclasses.replace(config, epochs=epochs, time_around=round(around, 3))


def _epochs(training: Training, count: int, seconds: float, rate: float) -> tuple[float, float]:
    """Seconds of the first epoch, and of each other, from up to `count` steps.

    `rate` is of one sample in an evaluation.
    """
    learner = training.learner
    learner.model.train()
    cold = _step_times(training, count, seconds / 2)
    warm = _step_times(training, len(cold), seconds / 2)
    # the first steps also find memory and choose algorithms
    settled = cold[len(cold) // 4 // _sizes(training) * _sizes(training) :]
    first = sum(cold) + statistics.mean(settled) * (learner.steps - len(cold))
    step = statistics.mean(warm)
    after = _timed(training.checkpoint)
    after += len(training.parts.validation) * rate
    if training.config.mixing:
        after += _clean(training, len(cold), rate)
    return first + after, learner.steps * step + after


def _clean(training: Training, count: int, rate: float) -> float:
    """Seconds of an epoch's evaluation of clean samples: from a cache they are read quicker.

    What `count` steps read is in the cache, even if the rest is still to come.
    """
    learner, config = training.learner, training.config
    clean = clean_samples(training.parts.train, config.seed)
    if config.cache is not None:
        ids = epoch_order(learner.drawn(0), config.seed, 0)[: count * config.batch_size]
        rate = _evaluation(training, Part(clean.dataset, ids))
    return len(clean) * rate


def _step_times(training: Training, count: int, seconds: float) -> list[float]:
    """Seconds of the first steps of an epoch, data included; at least two, where there are two.

    Where inputs grow, the steps take the sizes of the run in turns, the whole one first.
    """
    learner, sizes = training.learner, _sizes(training)
    count = count - count % sizes or count
    times: list[float] = []
    start = before = time.perf_counter()
    for number, batch in enumerate(learner.batches(0)):
        sized = learner.sized(batch, (sizes - 1 - number % sizes) * learner.total_steps // sizes)
        learner.gradient(sized, epoch=0, step=number)
        learner.update(0.0)
        now = time.perf_counter()
        times.append(now - before)
        before = now
        whole = len(times) > 1 and len(times) % sizes == 0
        if len(times) == count or (whole and now - start > seconds):
            break
    return times


def _sizes(training: Training) -> int:
    """How many sizes of inputs the run has, each for as many steps."""
    return 1 if training.config.start_size is None else SIZES


def _evaluation(training: Training, part: Part) -> float:
    """Seconds that one sample of a part takes in an evaluation."""
    warmed, some = (Part(part.dataset, part.ids[:most]) for most in (_WARMED, _EVALUATED))
    _timed(lambda: training.evaluation(warmed))
    return _timed(lambda: training.evaluation(some)) / len(some)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return max(time.perf_counter() - start, math.ulp(1.0))
