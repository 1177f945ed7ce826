"""`convarium train DATA --out RUN`: the whole walk from data to a report."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import (
    Parser,
    add_config_arguments,
    add_data_arguments,
    given_options,
    key_value,
    positive,
    share,
    write,
    write_json,
)
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import Dataset, Part, Parts, Preprocessing
    from convarium.models import Network
    from convarium.train import Choice, History


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add_data_arguments(parser)
    parser.add_argument("--group-column", help="column whose equal values stay in one part")
    parser.add_argument("--out", required=True, metavar="RUN", help="the run folder to make")
    parser.add_argument("--model", help="a network of 'convarium list', or auto (the default)")
    parser.add_argument(
        "--option",
        action="append",
        type=key_value,
        metavar="KEY=VALUE",
        help="an option of the network, such as stem=cifar; may be given several times",
    )
    parser.add_argument("--size", type=positive, help="side in pixels to resize images to")
    parser.add_argument("--validation", type=share, help="share of the samples that chooses")
    parser.add_argument("--test", type=share, help="share of the samples kept for the end")
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN")
    add_config_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train, evaluate on the test samples once, and write the report."""
    from convarium import train

    out = Path(arguments.out)
    if not arguments.resume:
        train.refuse_existing(out)
    dataset = _dataset(arguments)
    choice, parts, preprocessing = _prepare(arguments, out, dataset)
    model = _network(choice, preprocessing)
    if not arguments.json:
        _announce(choice, parts, preprocessing.input_shape)
    history = train.fit(
        model,
        parts,
        choice.config,
        preprocessing=preprocessing,
        out=out,
        resume=arguments.resume,
        observers=[] if arguments.json else [train.ProgressLines()],
    )
    _finish(arguments, out, history, parts.test)
    return 0


def _dataset(arguments: argparse.Namespace) -> Dataset:
    """The data, every sample read once."""
    from convarium import data
    from convarium.progress import Progress

    dataset = data.open_dataset(
        arguments.data,
        path_column=arguments.path_column,
        label_column=arguments.label_column,
        group_column=arguments.group_column,
    )
    with Progress(len(dataset), "read", enabled=not arguments.json) as progress:
        dataset.survey(progress)
    return dataset


def _prepare(
    arguments: argparse.Namespace, out: Path, dataset: Dataset
) -> tuple[Choice, Parts, Preprocessing]:
    """What to train, the split, and the preprocessing: chosen now, or as the run has them."""
    from convarium import data, train

    if arguments.resume:
        choice, split = _stored(arguments, out)
        return choice, data.split(dataset, **split), train.read_preprocessing(out)
    choice, split = _chosen(arguments, dataset)
    parts = data.split(dataset, **split)
    return choice, parts, data.fit_preprocessing(parts.train, size=choice.size)


def _network(choice: Choice, preprocessing: Preprocessing) -> Network:
    """The network with initial weights that follow from the seed."""
    import torch

    from convarium import models, seeds

    seeds.torch_seed(torch.device("cpu"), choice.config.seed, "initial weights")
    shape = {
        "num_classes": len(preprocessing.classes),
        "in_channels": preprocessing.input_shape[0],
    }
    model = models.create(choice.model, **{**choice.options, **shape})
    models.check_input(model, preprocessing.input_shape)
    return model


def _finish(arguments: argparse.Namespace, out: Path, history: History, test: Part) -> None:
    """Touch the test samples, once; write the result, the report, and what to do next."""
    from convarium import predict, report
    from convarium.progress import Progress

    with Progress(len(test), "test", enabled=not arguments.json) as progress:
        evaluation = predict.open_run(out).predictor.evaluate(test, progress=progress)
    predict.record_result(out, "test", evaluation, test)
    page = report.report_run(predict.open_run(out), history, evaluation, test)
    if arguments.json:
        result = {"run": str(out), "report": str(page), "test": evaluation.summary()}
        write_json({**result, "best_epoch": history.best_epoch, "epochs": len(history.rows)})
        return
    write(f"test: {evaluation.sentence()}")
    write(f"report: {page}")
    write(f"next: convarium predict {out} IMAGE...   convarium explain {out} IMAGE...")


def _chosen(arguments: argparse.Namespace, dataset: Dataset) -> tuple[Choice, dict[str, Any]]:
    """The choice for this data, with what the command line says put over it."""
    from convarium import train

    given = given_options(arguments)
    choice = train.recommend(
        dataset, size=arguments.size, optimizer=given.get("optimizer", "adamw")
    )
    if "momentum" in given and choice.config.optimizer != "sgd":
        raise OptionError("--momentum belongs to --optimizer sgd; add that, or leave it out.")
    if "gamma" in given and given.get("milestones") is None:
        raise OptionError("--gamma belongs to --milestones; add them, or leave it out.")
    if arguments.model not in (None, "auto"):
        choice = dataclasses.replace(choice, model=arguments.model, options={})
    config = dataclasses.replace(choice.config, **given)
    options = {**choice.options, **_model_options(arguments)}
    choice = dataclasses.replace(choice, options=options, config=config)
    _refuse_idle_shares(arguments, dataset)
    shares = {"validation": choice.validation, "test": choice.test, **_shares(arguments)}
    return choice, {**shares, "seed": config.seed}


def _stored(arguments: argparse.Namespace, out: Path) -> tuple[Choice, dict[str, Any]]:
    """The choice that the run was started with, with what the command line says put over it.

    What differs is refused by `train.fit`, but for the options that do not change the result.
    """
    from convarium import train

    settings = train.read_settings(out)
    split = {**settings["split"], **_shares(arguments)}
    config = train.TrainConfig.from_mapping({**settings["train"], **given_options(arguments)})
    shape = train.read_preprocessing(out).input_shape
    if arguments.size not in (None, shape[-1]):
        raise OptionError(
            f"Cannot resume with another size: it was {shape[-1]} and is {arguments.size}; leave "
            "it out, or start a new run."
        )
    model, options = settings["model"]["name"], settings["model"]["options"]
    if arguments.model not in (None, "auto", model):
        raise OptionError(
            f"Cannot resume with another network: it was {model!r} and is {arguments.model!r}; "
            "leave it out, or start a new run."
        )
    choice = train.Choice(
        model=model,
        options={**options, **_model_options(arguments)},
        size=shape[-1],
        validation=split["validation"],
        test=split["test"],
        config=config,
        reason="as the run was started",
    )
    return choice, {**split, "seed": config.seed}


def _shares(arguments: argparse.Namespace) -> dict[str, float]:
    """The shares that the command line gives."""
    given = {"validation": arguments.validation, "test": arguments.test}
    return {name: value for name, value in given.items() if value is not None}


def _refuse_idle_shares(arguments: argparse.Namespace, dataset: Dataset) -> None:
    """A share of a part that the data itself gives would have no effect."""
    from convarium.data import given_parts

    for name in _shares(arguments):
        if name in given_parts(dataset):
            raise OptionError(
                f"--{name} has no effect: the data gives its own {name} samples; leave it out."
            )


def _model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The network's options that the command line gives; the data decides its ends."""
    options = dict(arguments.option or [])
    for name in ("name", "num_classes", "in_channels", "spatial_dims"):
        if name in options:
            raise OptionError(f"--option {name} follows from the data; leave it out.")
    return options


def _announce(choice: Choice, parts: Parts, shape: tuple[int, ...]) -> None:
    """What will be trained, on what, and how."""
    config = choice.config
    counts = ", ".join(f"{count} {name}" for name, count in parts.counts.items())
    options = "".join(f", {key}={value}" for key, value in choice.options.items())
    write(f"data: {choice.reason}; {counts}; {len(parts.train.dataset.skipped)} skipped")
    if parts.crossing:
        write(f"warning: {parts.crossing} samples of the given parts have a copy in another part")
    write(f"network: {choice.model}{options}, input {' x '.join(str(n) for n in shape)}")
    write(
        f"recipe: {config.optimizer}, {config.epochs} epochs, batch {config.batch_size}, "
        f"rate {config.learning_rate:.2g}, {'flips' if config.flip else 'no flips'}, "
        f"crops by {config.pad_crop} pixels, {config.precision}, seed {config.seed}"
    )
    if config.flip and all(len(name) == 1 for name in parts.train.classes):
        write("warning: half of the images are mirrored; for digits and letters add --no-flip")
