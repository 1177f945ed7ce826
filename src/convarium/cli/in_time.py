"""What fits into `--time-budget`: so many epochs, of images that may be smaller."""

from __future__ import annotations

import argparse
import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convarium.cli.choosing import Prepared, chosen, fitted
from convarium.cli.parsing import given_options
from convarium.errors import OptionError
from convarium.train.budget import Plan, TooShortError, plan_budget

if TYPE_CHECKING:
    from convarium.data import Dataset, Parts
    from convarium.train import Choice, TrainConfig

_REPORT = 2.0  # seconds that are kept for the report, and at most a tenth of the budget
_FEWEST_EPOCHS = 5  # before images are made smaller
_SMALLER = (96, 64, 48, 32)


@dataclass(frozen=True)
class _Look:
    """What was found for images of one size: the plan, or that no epoch fits; and when."""

    ready: Prepared
    plan: Plan | TooShortError
    at: float

    @property
    def epoch(self) -> float:
        """Seconds of an epoch."""
        return self.plan.epoch

    def later(self, now: float) -> Plan:
        """The plan as it is now.

        Raises:
            TooShortError: no epoch fits any more.
        """
        if isinstance(self.plan, TooShortError):
            raise self.plan
        return self.plan.later(now - self.at)

    def epochs(self, now: float) -> int:
        """How many fit now."""
        try:
            return self.later(now).config.epochs
        except TooShortError:
            return 0


def prepared_in_time(
    arguments: argparse.Namespace, dataset: Dataset, choice: Choice, parts: Parts, started: float
) -> Prepared:
    """The epochs that fit into the time budget; images of files get smaller where few would.

    Smaller images are taken where more epochs of them fit, and no others are looked at where not.

    Args:
        arguments: of the command.
        dataset: was surveyed.
        choice: with a time budget.
        parts: the split.
        started: when the budget began.

    Raises:
        OptionError: epochs are given too, or not a single one fits.
    """
    started = begun(arguments, choice.config, started)
    budget = choice.config.time_budget or 0.0
    best = look = _look(fitted(arguments, dataset, choice, parts).probed(), started)
    while best.epochs(look.at) < _FEWEST_EPOCHS:
        left = budget - (time.monotonic() - started)
        times = left / _FEWEST_EPOCHS / look.epoch
        ready = _smaller(arguments, dataset, look.ready, times) if left > 0 else None
        if ready is None:
            break
        look = _look(ready.probed(look.ready.probe), started)
        before, now = best.epochs(look.at), look.epochs(look.at)
        if now > before or not before:
            best = look
        elif now:
            break
    return _with(best.ready, best.later(time.monotonic()))


def begun(arguments: argparse.Namespace, config: TrainConfig, started: float) -> float:
    """When the time budget began, with what is kept for the report gone already.

    Raises:
        OptionError: epochs are given too.
    """
    if "epochs" in given_options(arguments):
        raise OptionError("--epochs follows from --time-budget; leave one of them out.")
    return started - min(_REPORT, 0.1 * (config.time_budget or 0.0))


def planned(ready: Prepared, started: float) -> Prepared:
    """The same with the epochs that fit.

    Args:
        ready: with what its probe decided.
        started: as `begun` has it.

    Raises:
        OptionError: not a single epoch fits.
    """
    return _with(ready, _plan(ready, started))


def _with(ready: Prepared, plan: Plan) -> Prepared:
    return dataclasses.replace(ready, plan=plan, probe=plan.probe)


def _plan(ready: Prepared, started: float) -> Plan:
    return plan_budget(
        ready.model,
        ready.parts,
        ready.config,
        preprocessing=ready.preprocessing,
        spent=time.monotonic() - started,
        probe=ready.probe,
    )


def _look(ready: Prepared, started: float) -> _Look:
    try:
        plan: Plan | TooShortError = _plan(ready, started)
    except TooShortError as error:
        plan = error
    return _Look(ready, plan, time.monotonic())


def _smaller(
    arguments: argparse.Namespace, dataset: Dataset, ready: Prepared, times: float
) -> Prepared | None:
    """The largest smaller images that cost at most `times` as much as these, or the cheapest.

    A small image has another network, so that it may cost more: then it is passed over.
    """
    size = ready.choice.size
    if arguments.size is not None or not isinstance(size, int):
        return None
    whole = most = _macs(ready)
    cheapest: Prepared | None = None
    for side in (side for side in _SMALLER if side < size):
        choice, _ = chosen(arguments, dataset, side)
        other = fitted(arguments, dataset, choice, ready.parts)
        cost = _macs(other)
        if cost < most:
            cheapest, most = other, cost
            if cost <= times * whole:
                break
    return cheapest


def _macs(ready: Prepared) -> float:
    """Multiply-adds of one sample."""
    from convarium import measure

    return float(measure.cost(ready.model, (1, *ready.preprocessing.input_shape)).macs)
