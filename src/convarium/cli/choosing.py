"""What `convarium train` trains: the data's choice, a recipe's, and the flags over both."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.gridded import given_grids
from convarium.cli.parsing import given_changes, refuse_idle
from convarium.cli.reading import given_series, given_tokens, reading_of
from convarium.errors import OptionError
from convarium.processes import ALONE, World
from convarium.train.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from convarium.data import Dataset, Parts, Preprocessing, Skipped, Survey
    from convarium.models import Network
    from convarium.train import Choice, Probe
    from convarium.train.budget import Plan

_DECIDED = (
    *("name", "num_classes", "in_channels", "spatial_dims", "vocabulary", "out_channels", "factor"),
    *("fine_channels", "masked", "wrap", "parts", "levels"),
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """All that a training needs.

    Args:
        choice: the network and the recipe.
        parts: the split.
        preprocessing: fitted to its training part, or as the run has it.
        model: the network with its initial weights.
        plan: what fits into the time budget; None where there is none, or it was planned before.
        probe: which arithmetic was decided on; None where a run is resumed.
    """

    choice: Choice
    parts: Parts
    preprocessing: Preprocessing
    model: Network
    plan: Plan | None = None
    probe: Probe | None = None

    @property
    def config(self) -> TrainConfig:
        """How to train."""
        return self.choice.config if self.probe is None else self.probe.config

    def probed(self, found: Probe | None = None, world: World = ALONE) -> Prepared:
        """The same with what timing decides: as it was found before, or as it is found now."""
        from convarium.train.probing import decided

        if self.probe is not None:
            return self
        own = decided(found, self.model, self.parts, self.config, self.preprocessing, world)
        return dataclasses.replace(self, probe=own)


def data_of(arguments: argparse.Namespace, world: World = ALONE) -> Dataset:
    """The data, every sample read once, by the first process."""
    from convarium import data
    from convarium.cli.staging import staging_of
    from convarium.progress import Progress

    dataset = data.open_dataset(arguments.data, **reading_of(arguments))
    if world.first:
        with Progress(len(dataset), "read", enabled=not arguments.json) as progress:
            dataset.survey(progress, staging=staging_of(arguments, dataset))
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
        from convarium.cli.resuming import stored_choice

        choice, split = stored_choice(arguments, out)
        preprocessing = train.read_preprocessing(out)
        parts = parts_of(dataset, split)
        return Prepared(choice, parts, preprocessing, network(choice, preprocessing))
    choice, split = chosen(arguments, dataset, arguments.size)
    parts = data.split(dataset, **split)
    if choice.config.time_budget is not None and started is not None:
        from convarium.cli.in_time import prepared_in_time

        return prepared_in_time(arguments, dataset, choice, parts, started)
    return fitted(arguments, dataset, choice, parts)


def fitted(
    arguments: argparse.Namespace, dataset: Dataset, choice: Choice, parts: Parts
) -> Prepared:
    """What to train with a choice: its preprocessing and its network."""
    from convarium import data

    preprocessing = data.fit_preprocessing(
        parts.train, size=choice.size, **settings_of(arguments, dataset, choice)
    )
    return Prepared(choice, parts, preprocessing, network(choice, preprocessing))


def parts_of(dataset: Dataset, split: dict[str, Any]) -> Parts:
    """The parts that a run's settings describe: three, or those of one fold."""
    from convarium import data

    if "folds" not in split:
        return data.split(dataset, **split)
    from convarium.data import split_folds

    named = {key: split[key] for key in ("validation", "seed", "group_alike") if key in split}
    every = split_folds(dataset, split["folds"], **named)
    parts: Parts = every[split["fold"] - 1]
    return parts


def network(choice: Choice, preprocessing: Preprocessing) -> Network:
    """The network with initial weights that follow from the seed."""
    import torch

    from convarium import models, seeds

    _check_reads(choice.model, preprocessing)
    seeds.torch_seed(torch.device("cpu"), choice.config.seed, "initial weights")
    shape = {**preprocessing.head_options, **preprocessing.network_options}
    model = models.create(choice.model, **{**choice.options, **shape})
    preprocessing.begin(model)
    if isinstance(model, models.FieldToField) and model.config["start"] != "none":
        model.begin_at_start()
    if preprocessing.input_kind == "maps":  # texts of any length fit
        models.check_input(model, preprocessing.input_shape)
    return model


def _check_reads(name: str, preprocessing: Preprocessing) -> None:
    """Refuse a network that reads other inputs than the data gives."""
    from convarium.models.registry import find

    reads = find(name).cls.input_kind
    if reads != preprocessing.input_kind:
        raise OptionError(
            f"--model {name} reads {reads}, and {preprocessing.kind} become "
            f"{preprocessing.input_kind}; choose another, or leave it out."
        )


def settings_of(arguments: argparse.Namespace, dataset: Dataset, choice: Choice) -> dict[str, Any]:
    """What is said and what follows from the network about the preprocessing besides the size."""
    from convarium.train.field_choice import places_for

    own = {"tokens": given_tokens(arguments), "series": given_series(arguments)}
    grids = given_grids(arguments, dataset)
    if dataset.kind == "grids":
        grids = places_for(choice.options.get("constraint"), grids)
    return {"spacing": arguments.spacing, **own, "grids": grids}


def chosen(
    arguments: argparse.Namespace, dataset: Dataset, size: int | tuple[int, ...] | None
) -> tuple[Choice, dict[str, Any]]:
    """The choice for this data, with what the command line says put over it; and the split."""
    from convarium import train
    from convarium.train.field_choice import without_bias
    from convarium.train.series_choice import for_members

    given = given_changes(arguments)
    choice = train.recommend(
        dataset,
        size=size,
        spacing=arguments.spacing,
        optimizer=given.get("optimizer"),
        batch_size=given.get("batch_size"),
        recipe=given.get("recipe"),
    )
    if arguments.model not in (None, "auto"):
        own = {k: v for k, v in choice.options.items() if k in ("constraint", "non_negative")}
        choice = dataclasses.replace(choice, model=arguments.model, options=own)
    said = model_options(arguments)
    still: dict[str, Any] = {"shift": False} if arguments.cells else {}  # or the cells would move
    if not {"batch_size", "epochs"} & given.keys():
        still |= for_members(choice.config, _members(choice.model, said))
    config = dataclasses.replace(choice.config, **{**still, **given})
    refuse_idle(given, config)
    start = arguments.start or ("coarse" if arguments.held_out else None)
    own = {**choice.options, **without_bias(dataset, start), **said}
    if own.get("embedding", "random") == "random":  # it draws its vectors
        config = dataclasses.replace(config, vectors=given.get("vectors", "drawn"))
    elif config.vectors not in ("drawn", "counted"):  # a file says how long they are
        from convarium.train.vector_files import vector_length

        own.setdefault("embedding_dim", vector_length(config.vectors))
    if said.get("constraint") == "additive" and "non_negative" not in said:
        own.pop("non_negative", None)  # which it cannot hold
    choice = dataclasses.replace(choice, options=own, config=config)
    _refuse_idle_shares(arguments, dataset)
    parts = {"validation": choice.validation, "test": choice.test, **shares(arguments)}
    how = {name: getattr(arguments, name) for name in ("group_alike", "gap", "held_out")}
    parts |= {name: value for name, value in how.items() if value is not None}
    return choice, {**parts, "seed": config.seed}


def _members(model: str, said: Mapping[str, Any]) -> int:
    """How many networks stand side by side in the one that is asked for."""
    from convarium.models.registry import find

    found = said.get("members", find(model).keywords.get("members", 1))
    # others are refused where the network is made
    return found if isinstance(found, int) and found > 1 else 1


def shares(arguments: argparse.Namespace) -> dict[str, float]:
    """The shares that the command line gives."""
    given = {"validation": arguments.validation, "test": arguments.test}
    return {name: value for name, value in given.items() if value is not None}


def _refuse_idle_shares(arguments: argparse.Namespace, dataset: Dataset) -> None:
    """A share of a part that the data itself gives would have no effect."""
    from convarium.data import given_parts

    for name in shares(arguments):
        if name in given_parts(dataset):
            raise OptionError(
                f"--{name} has no effect: the data gives its own {name} samples; leave it out."
            )


def model_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The network's options that the command line gives; the data decides its ends."""
    given = dict(arguments.option or [])
    for name in _DECIDED:
        if name in given:
            raise OptionError(f"--option {name} follows from the data; leave it out.")
    own = arguments.constraint
    return given if own is None else {**given, "constraint": own}
