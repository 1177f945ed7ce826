"""`convarium train DATA --stream`: what is trained from shards, read one after the other."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.choosing import Prepared, data_of, model_options, network, prepared, shares
from convarium.cli.parsing import Parser, given_changes, positive, refuse_idle
from convarium.errors import DataError, OptionError
from convarium.processes import ALONE, World

if TYPE_CHECKING:
    from convarium.data import Parts, ShardStream
    from convarium.train import Choice

_OWN = {"samples_per_epoch": "--samples-per-epoch", "block": "--block"}
_NOT_HERE = {
    "group_column": "--group-column", "group_alike": "--group-alike", "folds": "--folds",
    "task": "--task", "spacing": "--spacing", "kind": "--kind",
    "corrections": "--corrections",
}  # fmt: skip


def add_stream_arguments(parser: Parser) -> None:
    """The flags of a stream."""
    group = parser.add_argument_group(
        "streams", "data in shards that is larger than the disk or the memory"
    )
    group.add_argument(
        "--stream", action="store_true", help="read shard by shard, and never all samples at once"
    )
    group.add_argument(
        "--samples-per-epoch", type=positive, metavar="N", help="length of an epoch (all samples)"
    )
    group.add_argument(
        "--block", type=positive, metavar="N", help="samples that are shuffled together (2048)"
    )


def ready_of(
    arguments: argparse.Namespace,
    out: Path | None,
    *,
    started: float | None = None,
    world: World = ALONE,
) -> Prepared:
    """All that a training needs, from a data set or from a stream."""
    stored = _stored(arguments, out)
    if not arguments.stream and not stored:
        _refuse_alone(arguments)
        return prepared(arguments, data_of(arguments, world), out, started=started)
    for name, flag in _NOT_HERE.items():
        if getattr(arguments, name, None):
            raise OptionError(f"{flag} has no effect on a stream; leave it or --stream out.")
    if out is not None and arguments.resume:
        return _resumed(arguments, out)
    stream = _opened(arguments, arguments.path_column, _label(arguments), _own(arguments))
    return _chosen(arguments, stream, started)


def _stored(arguments: argparse.Namespace, out: Path | None) -> dict[str, Any]:
    """The split of a run that goes on, where it is one of a stream."""
    from convarium import train

    if out is None or not arguments.resume or arguments.folds is not None:
        return {}
    split: dict[str, Any] = train.read_settings(out)["split"]
    if arguments.stream and "stream" not in split:
        raise OptionError(f"The run in {out} was not started with --stream; leave it out.")
    return split if "stream" in split else {}


def _refuse_alone(arguments: argparse.Namespace) -> None:
    for name, flag in _OWN.items():
        if getattr(arguments, name) is not None:
            raise OptionError(f"{flag} belongs to --stream; add that, or leave it out.")


def _label(arguments: argparse.Namespace) -> str | None:
    """The one column of labels."""
    given = arguments.label_column or [None]
    if len(given) > 1:
        raise OptionError(
            "--label-column may be given once for a stream, which has one class each."
        )
    label: str | None = given[0]
    return label


def _own(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was said about the stream's epochs."""
    given = {name: getattr(arguments, name) for name in _OWN}
    return {name: value for name, value in given.items() if value is not None}


def _opened(
    arguments: argparse.Namespace, image: str | None, label: str | None, own: dict[str, Any]
) -> ShardStream:
    from convarium import data

    counted = own.get("samples_per_epoch") is None
    return data.open_stream(arguments.data, path_column=image, label_column=label, counted=counted)


def _chosen(arguments: argparse.Namespace, stream: ShardStream, started: float | None) -> Prepared:
    """Network, recipe and split as they follow from the data and the flags."""
    from convarium import data, train

    given = given_changes(arguments)
    seed = given.get("seed", 0)
    split = {**shares(arguments), **_own(arguments), "seed": seed}
    parts = _with_test(data.split_stream(stream, **split), stream)
    choice = train.recommend(
        parts.train.dataset,
        size=arguments.size,
        optimizer=given.get("optimizer"),
        batch_size=given.get("batch_size"),
        recipe=given.get("recipe"),
        samples=len(parts.train) + len(parts.validation) + len(parts.test),
    )
    if arguments.model not in (None, "auto"):
        choice = dataclasses.replace(choice, model=arguments.model, options={})
    config = dataclasses.replace(choice.config, **given)
    refuse_idle(given, config)
    if config.cache is not None:
        raise OptionError("--cache keeps every picture, and a stream keeps none; leave one out.")
    own = {**choice.options, **model_options(arguments)}
    choice = dataclasses.replace(choice, options=own, config=config)
    if config.time_budget is None or started is None:
        return _fitted(choice, parts)
    from convarium.cli.in_time import begun, planned

    started = begun(arguments, config, started)
    return planned(_fitted(choice, parts).probed(), started)


def _fitted(choice: Choice, parts: Parts) -> Prepared:
    from convarium import data

    preprocessing = data.fit_preprocessing(parts.train, size=choice.size)
    return Prepared(choice, parts, preprocessing, network(choice, preprocessing))


def _resumed(arguments: argparse.Namespace, out: Path) -> Prepared:
    """The stream as the run has it."""
    from convarium import data, train
    from convarium.cli.resuming import stored_choice

    choice, split = stored_choice(arguments, out)
    split |= _own(arguments)
    columns = train.read_settings(out)["data"].get("columns", {})
    labels = columns.get("label_column") or [None]
    image = arguments.path_column or columns.get("path_column")
    stream = _opened(arguments, image, _label(arguments) or labels[0], split)
    named = {name: split[name] for name in ("validation", "test", "seed", *_OWN) if name in split}
    given = data.given_parts(stream.counted)
    for name in ("validation", "test"):
        if name in given:
            named.pop(name, None)
    parts = data.split_stream(stream, **named)
    preprocessing = train.read_preprocessing(out)
    return Prepared(choice, parts, preprocessing, network(choice, preprocessing))


def _with_test(parts: Parts, stream: ShardStream) -> Parts:
    if not len(parts.test):
        raise DataError(
            f"{stream.source} leaves no sample for the test; give a larger --test, or leave "
            "--samples-per-epoch out, so that one is drawn from all samples."
        )
    return parts
