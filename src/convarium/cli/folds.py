"""`convarium train DATA --folds K --out RUN`: a run for each fold, and what they say together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium import files
from convarium.cli.announcing import announce
from convarium.cli.choosing import (
    Prepared,
    chosen,
    data_of,
    network,
    parts_of,
    settings_of,
)
from convarium.cli.parsing import write, write_json
from convarium.cli.resuming import fitted_with, stored_choice
from convarium.errors import OptionError, RunError

if TYPE_CHECKING:
    from convarium.data import Dataset


def run(arguments: argparse.Namespace, out: Path) -> int:
    """Train each fold in a folder of its own, or go on with them, and write `folds.json`."""
    from convarium import train
    from convarium.cli.beside import check_baselines
    from convarium.cli.train import trained
    from convarium.train.fold_results import FoldResult, cross_validation

    _check(arguments)
    if not arguments.resume:
        train.refuse_existing(out)
    elif not (out / "fold-1" / "config.toml").exists():
        raise RunError(f"There are no folds in {out} to resume; leave --folds or --resume out.")
    dataset = data_of(arguments)
    results = []
    found = None
    for number in range(1, arguments.folds + 1):
        folder = out / f"fold-{number}"
        begun = arguments.resume and (folder / "config.toml").exists()
        ready = _prepared(arguments, dataset, out, number, begun=begun)
        if arguments.baselines:
            check_baselines(ready)
        if not begun:
            ready = ready.probed(found)
            found = ready.probe
        if not arguments.json:
            write(f"fold {number} of {arguments.folds}: {folder}")
            announce(ready)
        history, evaluation, _ = trained(arguments, ready, folder, resume=begun)
        results.append(
            FoldResult(number, evaluation.n, evaluation.score, evaluation.loss, history.best_epoch)
        )
        if not arguments.json:
            write(f"fold {number} test: {evaluation.sentence()}")
    summary = cross_validation(results, history.metric)
    files.write_json(out / "folds.json", summary.to_json())
    if arguments.json:
        write_json({"run": str(out), **summary.to_json()})
    else:
        write(f"folds: {summary.sentence()}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.folds < 2:
        raise OptionError(f"--folds (={arguments.folds}) must be 2 or more.")
    if arguments.test is not None:
        raise OptionError("--test has no effect with --folds, where each fold is tested once.")
    if getattr(arguments, "time_budget", None) is not None:
        raise OptionError("--time-budget is for one run; leave it out with --folds.")


def _prepared(
    arguments: argparse.Namespace, dataset: Dataset, out: Path, number: int, *, begun: bool
) -> Prepared:
    """What a fold trains: chosen now, as its own run has it, or as the first fold's has it."""
    from convarium import data, train

    own: dict[str, Any]
    if arguments.resume:
        folder = out / (f"fold-{number}" if begun else "fold-1")
        choice, split = stored_choice(arguments, folder)
        if split.get("folds") != arguments.folds:
            raise RunError(f"{out} does not hold {arguments.folds} folds; give --folds as it was.")
        preprocessing = train.read_preprocessing(folder)
        own = fitted_with(preprocessing)
    else:
        choice, shares = chosen(arguments, dataset, arguments.size)
        split = {name: value for name, value in shares.items() if name != "test"}
        own = {"size": choice.size, **settings_of(arguments, dataset, choice)}
    parts = parts_of(dataset, {**split, "folds": arguments.folds, "fold": number})
    if not begun:
        preprocessing = data.fit_preprocessing(parts.train, **own)
    return Prepared(choice, parts, preprocessing, network(choice, preprocessing))
