"""What `convarium train` trains: the data's choice, a recipe's, and the flags over both."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.parsing import given_options, write
from convarium.errors import OptionError
from convarium.processes import ALONE, World
from convarium.train.config import TrainConfig, options
from convarium.train.named import RECIPES

if TYPE_CHECKING:
    from convarium.data import Dataset, Parts, Preprocessing, Skipped, Survey
    from convarium.models import Network
    from convarium.train import Choice
    from convarium.train.budget import Plan

_REPORT = 2.0  # seconds that are kept for the report, and at most a tenth of a time budget
_FEWEST_EPOCHS = 5  # in a time budget, before images are made smaller
_SMALLER = (96, 64, 48, 32)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that a training needs.

    Args:
        choice: the network and the recipe.
        parts: the split.
        preprocessing: fitted to its training part, or as the run has it.
        model: the network with its initial weights.
        plan: what fits into the time budget; None where there is none, or it was planned before.
    """

    choice: Choice
    parts: Parts
    preprocessing: Preprocessing
    model: Network
    plan: Plan | None = None

    @property
    def config(self) -> TrainConfig:
        """How to train."""
        return self.choice.config if self.plan is None else self.plan.config


def data_of(arguments: argparse.Namespace, world: World = ALONE) -> Dataset:
    """The data, every sample read once, by the first process."""
    from convarium import data
    from convarium.progress import Progress

    dataset = data.open_dataset(
        arguments.data,
        path_column=arguments.path_column,
        label_column=arguments.label_column,
        group_column=arguments.group_column,
        task=arguments.task,
    )
    if world.first:
        with Progress(len(dataset), "read", enabled=not arguments.json) as progress:
            dataset.survey(progress)
    if not world.alone:
        told = (dataset.survey(), list(dataset.skipped)) if world.first else None
        dataset.take_survey(*cast("tuple[Survey, list[Skipped]]", world.share(told)))
    return dataset


def prepared(
    arguments: argparse.Namespace,
    dataset: Dataset,
    out: Path | None,
    *,
    started: float | None = None,
) -> Prepared:
    """What to train, the split, and the preprocessing: chosen now, or as the run in `out` has them.

    Args:
        arguments: of the command.
        dataset: was surveyed.
        out: the run folder; None where none is made.
        started: when the time budget began.
    """
    from convarium import data, train

    if arguments.resume and out is not None:
        choice, split = stored_choice(arguments, out)
        preprocessing = train.read_preprocessing(out)
        parts = parts_of(dataset, split)
        return Prepared(choice, parts, preprocessing, network(choice, preprocessing))
    choice, split = chosen(arguments, dataset, arguments.size)
    parts = data.split(dataset, **split)
    if choice.config.time_budget is not None and started is not None:
        return _in_time(arguments, dataset, choice, parts, started)
    preprocessing = data.fit_preprocessing(parts.train, size=choice.size)
    return Prepared(choice, parts, preprocessing, network(choice, preprocessing))


def parts_of(dataset: Dataset, split: dict[str, Any]) -> Parts:
    """The parts that a run's settings describe: three, or those of one fold."""
    from convarium import data

    if "folds" not in split:
        return data.split(dataset, **split)
    from convarium.data import split_folds

    every = split_folds(dataset, split["folds"], validation=split["validation"], seed=split["seed"])
    parts: Parts = every[split["fold"] - 1]
    return parts


def network(choice: Choice, preprocessing: Preprocessing) -> Network:
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


def chosen(
    arguments: argparse.Namespace, dataset: Dataset, size: int | None
) -> tuple[Choice, dict[str, Any]]:
    """The choice for this data, with what the command line says put over it; and the split."""
    from convarium import train

    given = given_options(arguments)
    choice = train.recommend(
        dataset, size=size, optimizer=given.get("optimizer"), recipe=given.get("recipe")
    )
    if arguments.model not in (None, "auto"):
        choice = dataclasses.replace(choice, model=arguments.model, options={})
    config = dataclasses.replace(choice.config, **given)
    _refuse_idle(given, config)
    own = {**choice.options, **_model_options(arguments)}
    choice = dataclasses.replace(choice, options=own, config=config)
    _refuse_idle_shares(arguments, dataset)
    shares = {"validation": choice.validation, "test": choice.test, **_shares(arguments)}
    return choice, {**shares, "seed": config.seed}


def stored_choice(arguments: argparse.Namespace, out: Path) -> tuple[Choice, dict[str, Any]]:
    """The choice that the run was started with, with what the command line says put over it.

    What differs is refused by `train.fit`, but for the options that do not change the result.
    """
    from convarium import train

    settings = train.read_settings(out)
    split = {**settings["split"], **_shares(arguments)}
    config = TrainConfig.from_mapping({**settings["train"], **given_options(arguments)})
    shape = train.read_preprocessing(out).input_shape
    if arguments.size not in (None, shape[-1]):
        raise OptionError(
            f"Cannot resume with another size: it was {shape[-1]} and is {arguments.size}; leave "
            "it out, or start a new run."
        )
    model, own = settings["model"]["name"], settings["model"]["options"]
    if arguments.model not in (None, "auto", model):
        raise OptionError(
            f"Cannot resume with another network: it was {model!r} and is {arguments.model!r}; "
            "leave it out, or start a new run."
        )
    choice = train.Choice(
        model=model,
        options={**own, **_model_options(arguments)},
        size=shape[-1],
        validation=split["validation"],
        test=split.get("test", 0.0),
        config=config,
        reason="as the run was started",
    )
    return choice, {**split, "seed": config.seed}


def announce(ready: Prepared) -> None:
    """What will be trained, on what, and how."""
    choice, parts, config = ready.choice, ready.parts, ready.config
    counts = ", ".join(f"{count} {name}" for name, count in parts.counts.items())
    own = "".join(f", {key}={value}" for key, value in choice.options.items())
    write(f"data: {choice.reason}; {counts}; {len(parts.train.dataset.skipped)} skipped")
    if parts.crossing:
        write(f"warning: {parts.crossing} samples of the given parts have a copy in another part")
    shape = " x ".join(str(n) for n in ready.preprocessing.input_shape)
    write(f"network: {choice.model}{own}, input {shape}")
    write(
        f"recipe: {f'{config.recipe}, ' if config.recipe else ''}{config.optimizer}, "
        f"{config.epochs} epochs, batch {config.batch_size}, "
        f"rate {config.learning_rate:.2g}, {'flips' if config.flip else 'no flips'}, "
        f"crops by {config.pad_crop} pixels, {config.precision}, seed {config.seed}"
    )
    if ready.plan is not None:
        write(f"budget: {ready.plan.sentence()}")
    if config.flip and all(len(name) == 1 for name in parts.train.classes):
        write("warning: half of the images are mirrored; for digits and letters add --no-flip")
    if config.recipe and RECIPES[config.recipe].pretrained and ready.model.published is None:
        write(
            f"warning: the network starts from random weights, and {config.recipe} is for "
            "published ones; add --option pretrained=true"
        )


def _in_time(
    arguments: argparse.Namespace, dataset: Dataset, choice: Choice, parts: Parts, started: float
) -> Prepared:
    """The epochs that fit into the time budget; images of files get smaller where few would."""
    from convarium import data
    from convarium.train.budget import plan_budget

    if "epochs" in given_options(arguments):
        raise OptionError("--epochs follows from --time-budget; leave one of them out.")
    sizes = [choice.size]
    if arguments.size is None and choice.size is not None:
        sizes += [side for side in _SMALLER if side < choice.size]
    report = min(_REPORT, 0.1 * (choice.config.time_budget or 0.0))
    for size in sizes:
        if size != choice.size:
            choice, _ = chosen(arguments, dataset, size)
        preprocessing = data.fit_preprocessing(parts.train, size=choice.size)
        model = network(choice, preprocessing)
        try:
            plan = plan_budget(
                model,
                parts,
                choice.config,
                preprocessing=preprocessing,
                spent=time.monotonic() - started + report,
            )
        except OptionError:
            if size == sizes[-1]:
                raise
            continue
        if plan.config.epochs >= _FEWEST_EPOCHS or size == sizes[-1]:
            break
    return Prepared(choice, parts, preprocessing, model, plan)


def _refuse_idle(given: dict[str, Any], config: TrainConfig) -> None:
    """Flags that have no effect with the others."""
    for name, _, _, field in options():
        owner, *values = field.metadata.get("of", (None,))
        if owner is None or given.get(name) is None or getattr(config, owner) in values:
            continue
        flag, other = (f"--{word.replace('_', '-')}" for word in (name, owner))
        raise OptionError(
            f"{flag} belongs to {other} {' or '.join(values)}; add that, or leave it out."
        )
    if given.get("schedule", config.schedule) != config.schedule:
        raise OptionError(
            f"--milestones belongs to --schedule step, not to {given['schedule']}; leave one out."
        )


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
    given = dict(arguments.option or [])
    for name in ("name", "num_classes", "in_channels", "spatial_dims"):
        if name in given:
            raise OptionError(f"--option {name} follows from the data; leave it out.")
    return given
