"""What fits into `--time-budget`: so many epochs, of images that may be smaller."""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import TYPE_CHECKING

from convarium.cli.choosing import Prepared, chosen, fitted
from convarium.cli.parsing import given_options
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import Dataset, Parts
    from convarium.train import Choice, Probe

_REPORT = 2.0  # seconds that are kept for the report, and at most a tenth of the budget
_FEWEST_EPOCHS = 5  # before images are made smaller
_SMALLER = (96, 64, 48, 32)


def prepared_in_time(
    arguments: argparse.Namespace, dataset: Dataset, choice: Choice, parts: Parts, started: float
) -> Prepared:
    """The epochs that fit into the time budget; images of files get smaller where few would.

    Args:
        arguments: of the command.
        dataset: was surveyed.
        choice: with a time budget.
        parts: the split.
        started: when the budget began.

    Raises:
        OptionError: epochs are given too, or not a single one fits.
    """
    from convarium.train.budget import TooShortError

    if "epochs" in given_options(arguments):
        raise OptionError("--epochs follows from --time-budget; leave one of them out.")
    budget = choice.config.time_budget or 0.0
    started -= min(_REPORT, 0.1 * budget)
    ready: Prepared | None = fitted(arguments, dataset, choice, parts)
    found, refusal, looked = None, None, started
    decided: Probe | None = None
    while ready is not None:
        ready = ready.probed(decided)
        decided = ready.probe
        try:
            found, looked = planned(ready, started), time.monotonic()
        except TooShortError as error:
            refusal, epoch = error, error.epoch
        else:
            if found.config.epochs >= _FEWEST_EPOCHS:
                break
            epoch = found.plan.epoch if found.plan else 0.0
        left = budget - (time.monotonic() - started)
        times = left / _FEWEST_EPOCHS / epoch
        ready = _smaller(arguments, dataset, ready, times) if left > 0 else None
    if found is None or found.plan is None:
        raise refusal or OptionError("--time-budget is too short.")
    plan = found.plan.later(time.monotonic() - looked)
    return dataclasses.replace(found, plan=plan, probe=plan.probe)


def planned(ready: Prepared, started: float) -> Prepared:
    """The same with the epochs that fit.

    Args:
        ready: with what its probe decided.
        started: when the time budget began.

    Raises:
        OptionError: not a single epoch fits.
    """
    from convarium.train.budget import plan_budget

    plan = plan_budget(
        ready.model,
        ready.parts,
        ready.config,
        preprocessing=ready.preprocessing,
        spent=time.monotonic() - started,
        probe=ready.probe,
    )
    return dataclasses.replace(ready, plan=plan, probe=plan.probe)


def _smaller(
    arguments: argparse.Namespace, dataset: Dataset, ready: Prepared, times: float
) -> Prepared | None:
    """The largest smaller images that cost at most `times` as much as these, or the cheapest.

    A small image has another network, so that it may cost more: then it is passed over.
    """
    size = ready.choice.size
    if arguments.size is not None or not isinstance(size, int):
        return None
    most = _macs(ready)
    cheapest: Prepared | None = None
    for side in (side for side in _SMALLER if side < size):
        choice, _ = chosen(arguments, dataset, side)
        other = fitted(arguments, dataset, choice, ready.parts)
        cost = _macs(other)
        if cost < most:
            cheapest, most = other, cost
            if cost <= times * _macs(ready):
                break
    return cheapest


def _macs(ready: Prepared) -> float:
    """Multiply-adds of one sample."""
    from convarium import measure

    return float(measure.cost(ready.model, (1, *ready.preprocessing.input_shape)).macs)
