"""The learning rate that a network can take: a sweep on a copy, which changes nothing."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from convarium.data import Batch, Parts, Preprocessing
from convarium.errors import OptionError
from convarium.train.config import TrainConfig
from convarium.train.learner import Learner

_SMOOTHING = 0.9
_EARLY = 0.1  # of the steps, within which a loss may be smallest by chance
_FALLS = 0.1  # of the first loss, by which it is smaller than chance makes it
_DIVERGED = 4.0  # times the smallest loss


@dataclass(frozen=True)
class RateSweep:
    """Losses at growing learning rates.

    Args:
        rates: of the steps that were taken.
        losses: at each of them, smoothed.
        best: the rate with the smallest smoothed loss.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    best: float

    @property
    def suggestion(self) -> float | None:
        """A tenth of the best rate, the peak to train with; None where the loss never fell."""
        place, first = self.rates.index(self.best), self.losses[0]
        early = place < _EARLY * len(self.rates)
        if early and first - self.losses[place] < _FALLS * abs(first):
            return None
        return self.best / 10

    def sentence(self) -> str:
        """The result, and what to do with it."""
        if self.suggestion is None:
            return (
                f"the smoothed loss falls at no rate ({len(self.rates)} steps on a copy), so no "
                "peak follows; look at the labels and at what is changed at random, or give more "
                "samples"
            )
        return (
            f"the smoothed loss is smallest at a rate of {self.best:.2g} ({len(self.rates)} steps "
            f"on a copy); a tenth of it is a peak to try: --learning-rate {self.suggestion:.2g}"
        )


def find_learning_rate(
    model: nn.Module,
    parts: Parts,
    config: TrainConfig | None = None,
    *,
    preprocessing: Preprocessing,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
) -> RateSweep:
    """Train a copy while the rate grows exponentially, until the loss does.

    rate_k = low (high / low)^(k / (steps - 1)); the loss is smoothed as an exponential mean, 0.9
    of the old and 0.1 of the new, without its bias to zero; the sweep ends at 4 times its minimum.

    Args:
        model: the network; it stays as it is, and so do all random numbers.
        parts: the training part is used.
        config: everything but the schedule counts.
        preprocessing: fitted on `parts.train`.
        low, high: first and last rate.
        steps: how many.

    Raises:
        OptionError: limits that do not grow, or fewer than 10 steps.

    References:
        Smith (2017), "Cyclical learning rates", arXiv:1506.01186, section 3.3.
    """
    if not 0 < low < high or steps < 10:
        raise OptionError(
            f"low (={low}) must be above 0 and below high (={high}), and steps (={steps}) at "
            "least 10."
        )
    config = TrainConfig() if config is None else config
    config = dataclasses.replace(config, freeze_epochs=0, unfreeze_epochs=0)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        learner = Learner(copy.deepcopy(model), parts, config, preprocessing)
        rates, losses = _sweep(learner, low, high, steps)
    best = rates[min(range(len(losses)), key=losses.__getitem__)]
    return RateSweep(tuple(rates), tuple(losses), best)


def _sweep(
    learner: Learner, low: float, high: float, steps: int
) -> tuple[list[float], list[float]]:
    """Rates and smoothed losses, as far as the sweep came."""
    learner.model.train()
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    for number, (epoch, step, batch) in enumerate(_batches(learner, steps)):
        rate = low * (high / low) ** (number / (steps - 1))
        loss = learner.gradient(batch, epoch=epoch, step=step).loss
        if not math.isfinite(loss):
            break
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        smoothed = mean / (1 - _SMOOTHING ** (number + 1))
        rates.append(rate)
        losses.append(smoothed)
        if smoothed > _DIVERGED * min(losses):
            break
        learner.update(rate)
    if not rates:
        raise OptionError("The loss is not finite at the first step; check the data.")
    return rates, losses


def _batches(learner: Learner, steps: int) -> Iterator[tuple[int, int, Batch]]:
    """So many batches with their epoch and step, of as many epochs as it takes."""
    for number in range(-(-steps // learner.steps)):
        for step, batch in enumerate(learner.batches(number)):
            if number * learner.steps + step == steps:
                return
            yield number, step, batch
