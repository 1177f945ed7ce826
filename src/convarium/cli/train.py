"""`convarium train DATA --out RUN`: the whole walk from data to a report."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.cli.announcing import announce
from convarium.cli.beside import beside_rules, check_baselines, compare, places_lines
from convarium.cli.choosing import Prepared
from convarium.cli.evaluating_fields import beside_others
from convarium.cli.gridded import add_field_preparing
from convarium.cli.parsing import (
    Parser,
    add_config_arguments,
    amount,
    key_value,
    positive,
    write,
    write_json,
)
from convarium.cli.reading import (
    add_data_arguments,
    add_grid_arguments,
    add_series_arguments,
    add_token_arguments,
)
from convarium.cli.streaming import add_stream_arguments, ready_of
from convarium.errors import OptionError
from convarium.processes import ALONE, World, joined
from convarium.train.allocator import keep_freed_memory
from convarium.train.trackers import TRACKERS, Tracker

if TYPE_CHECKING:
    from convarium.tasks import Evaluation
    from convarium.train import History

_LOOKS = {"find_rate": "--find-rate", "find_batch": "--find-batch"}


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add_data_arguments(parser)
    parser.add_argument("--out", metavar="RUN", help="the run folder to make")
    parser.add_argument("--model", help="a network of 'convarium list', or auto (the default)")
    parser.add_argument(
        "--option",
        action="append",
        type=key_value,
        metavar="KEY=VALUE",
        help="an option of the network, such as stem=cifar; may be given several times",
    )
    add_grid_arguments(parser)
    add_token_arguments(parser)
    add_series_arguments(parser)
    add_field_preparing(parser)
    _add_split(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN")
    parser.add_argument(
        "--folds", type=positive, metavar="K", help="cross-validate: K runs, each in a folder"
    )
    parser.add_argument(
        "--find-rate", action="store_true", help="look for a learning rate instead of training"
    )
    parser.add_argument(
        "--find-batch", action="store_true", help="look how many samples fit into memory"
    )
    parser.add_argument(
        "--track",
        action="append",
        choices=TRACKERS,
        help="also tell this tracker of steps and epochs; may be given several times",
    )
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="texts: train a bag of words and TF-IDF with logistic regression beside it",
    )
    add_stream_arguments(parser)
    add_config_arguments(parser)


def _add_split(parser: Parser) -> None:
    """Who is in which part, and with which label."""
    parser.add_argument(
        "--validation", type=amount, help="share of the samples that chooses; of fields also times"
    )
    parser.add_argument(
        "--test", type=amount, help="share of the samples kept for the end; of fields also times"
    )
    parser.add_argument(
        "--group-alike",
        action=argparse.BooleanOptionalAction,
        help="keep images that look alike, or texts that read alike, in one part (texts)",
    )
    parser.add_argument(
        "--corrections", metavar="FILE", help="a CSV of path and label: labels that were corrected"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate on the test samples once, and write the report."""
    keep_freed_memory()
    with joined() as world, _told_when_ended(world):
        return _run(arguments, world)


@contextlib.contextmanager
def _told_when_ended(world: World) -> Iterator[None]:
    """Inside, a process of several that the launcher ends (SIGTERM) stops as by the keyboard."""
    if world.alone or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(arguments: argparse.Namespace, world: World) -> int:
    from convarium import train
    from convarium.train.storage import check_shared

    started = time.monotonic()
    looks = [flag for name, flag in _LOOKS.items() if getattr(arguments, name)]
    _refuse_clashes(arguments, looks)
    if not world.alone:
        _refuse_several(arguments, looks, world)
    if looks:
        return _look(arguments)
    out = Path(arguments.out)
    if arguments.folds is not None:
        from convarium.cli import folds

        if arguments.stream:
            raise OptionError("--folds has no effect on a stream; leave it or --stream out.")
        return folds.run(arguments, out)
    if not arguments.resume and world.first:
        train.refuse_existing(out)
    check_shared(out, world)
    ready = ready_of(arguments, out, started=started, world=world)
    if arguments.baselines:
        check_baselines(ready)
    if not arguments.resume:
        ready = ready.probed(world=world)
    if world.first and not arguments.json:
        announce(ready)
    history, evaluation, page = trained(arguments, ready, out, resume=arguments.resume, world=world)
    if not world.first:
        return 0
    if arguments.json:
        result = {"run": str(out), "report": str(page), "test": evaluation.summary()}
        write_json({**result, "best_epoch": history.best_epoch, "epochs": len(history.rows)})
        return 0
    write(f"test: {evaluation.sentence()}")
    write(f"report: {page}")
    write(f"next: {_next(out, ready.preprocessing.kind)}")
    return 0


def _next(out: Path, kind: str) -> str:
    """What can be done with the run."""
    if kind == "grids":
        return f"convarium downscale {out} COARSE.nc -o FINE.nc"
    what = "INPUT" if kind in ("texts", "series") else "IMAGE..."
    return f"convarium predict {out} {what}   convarium explain {out} {what}"


def trained(
    arguments: argparse.Namespace,
    ready: Prepared,
    out: Path,
    *,
    resume: bool,
    world: World = ALONE,
) -> tuple[History, Evaluation, Path]:
    """Train, touch the test samples once, and write the result and the report."""
    from convarium import predict, report, train
    from convarium.progress import Progress

    quiet = arguments.json or not world.first
    with contextlib.ExitStack() as closing:
        watching: list[train.Observer] = [] if quiet else [train.ProgressLines()]
        for name in (arguments.track or ()) if world.first else ():
            watching.append(closing.enter_context(Tracker(name, out, ready.config)))
        history = train.fit(
            ready.model,
            ready.parts,
            ready.config,
            preprocessing=ready.preprocessing,
            out=out,
            resume=resume,
            observers=watching,
            world=world,
            probe=ready.probe,
        )
    test = ready.parts.test
    with Progress(len(test), "test", enabled=not quiet) as progress:
        predictor = predict.open_run(out).predictor
        evaluation = predictor.evaluate(test, progress=progress, world=world)
    learnt = ready.parts.train.ids
    evaluation = beside_others(evaluation, test, ready.preprocessing, train=learnt)
    page = out / "report.html"
    if world.first:
        predict.record_result(out, "test", evaluation, test)
        if arguments.baselines:
            compare(ready, evaluation, out, quiet=quiet)
        if test.dataset.task == "downscale" and not quiet:
            for line in (*places_lines(predict.open_run(out).card), *evaluation.lines()):
                write(line)
        if test.dataset.task == "forecast":
            beside_rules(ready.parts, evaluation, out, quiet=quiet)
        page = report.report_run(predict.open_run(out), history, evaluation, test)
    return history, evaluation, page


def _refuse_clashes(arguments: argparse.Namespace, looks: list[str]) -> None:
    """Flags that make no sense together."""
    if len(looks) > 1:
        raise OptionError(f"{looks[0]} and {looks[1]} each look for one thing; leave one out.")
    for name in ("resume", "folds", "track", "time_budget") if looks else ():
        if getattr(arguments, name, None):
            flag = "--" + name.replace("_", "-")
            raise OptionError(f"{looks[0]} trains nothing, so {flag} has no effect; leave it out.")
    if not looks and arguments.out is None:
        raise OptionError("The run needs a folder: add --out RUN; see: convarium train --help")


def _refuse_several(arguments: argparse.Namespace, looks: list[str], world: World) -> None:
    """What one process does alone."""
    flags = [*looks, "--folds"] if arguments.folds is not None else looks
    if getattr(arguments, "time_budget", None) is not None:
        flags = [*flags, "--time-budget"]
    if flags:
        raise OptionError(f"{flags[0]} takes one process, and the job has {world.size}.")


def _look(arguments: argparse.Namespace) -> int:
    """Say what a look at the network and the data shows; no run is made."""
    ready = ready_of(arguments, None)
    model, parts, config = ready.model, ready.parts, ready.config
    if arguments.find_rate:
        from convarium.train.rate_finder import find_learning_rate

        sweep = find_learning_rate(model, parts, config, preprocessing=ready.preprocessing)
        found = {
            "suggestion": sweep.suggestion,
            "best": sweep.best,
            "rates": sweep.rates,
            "losses": sweep.losses,
        }
        sentence = sweep.sentence()
    else:
        from convarium.train.batch_finder import largest_batch

        batch = largest_batch(model, parts, config, preprocessing=ready.preprocessing)
        found = {"size": batch.size, "tried": batch.tried, "memory": batch.memory}
        sentence = batch.sentence()
    if arguments.json:
        write_json(found)
    else:
        write(sentence)
    return 0
