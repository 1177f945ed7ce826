"""What a run that goes on was started with, and flags that say something else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.choosing import model_options, shares
from convarium.cli.gridded import said_of_grids
from convarium.cli.parsing import given_options
from convarium.cli.reading import given_series, given_tokens
from convarium.errors import OptionError
from convarium.train.config import TrainConfig

if TYPE_CHECKING:
    from convarium.data import Preprocessing
    from convarium.train import Choice


def stored_choice(arguments: argparse.Namespace, out: Path) -> tuple[Choice, dict[str, Any]]:
    """The choice that the run was started with, with what the command line says put over it.

    What differs is refused by `train.fit`, but for the options that do not change the result.
    """
    from convarium import train

    settings = train.read_settings(out)
    split = {**settings["split"], **shares(arguments)}
    if arguments.group_alike is not None:
        split["group_alike"] = arguments.group_alike
    if arguments.gap is not None:
        split["gap"] = arguments.gap
    config = TrainConfig.from_mapping({**settings["train"], **given_options(arguments)})
    preprocessing = train.read_preprocessing(out)
    _refuse_grid(arguments, preprocessing)
    model, own = settings["model"]["name"], settings["model"]["options"]
    if arguments.model not in (None, "auto", model):
        raise OptionError(
            f"Cannot resume with another network: it was {model!r} and is {arguments.model!r}; "
            "leave it out, or start a new run."
        )
    choice = train.Choice(
        model=model,
        options={**own, **model_options(arguments)},
        size=_grid(preprocessing),
        validation=split["validation"],
        test=split.get("test", 0.0),
        config=config,
        reason="as the run was started",
    )
    return choice, {**split, "seed": config.seed}


def _grid(preprocessing: Preprocessing) -> int | tuple[int, ...] | None:
    """What `--size` would be: one side of images, three of volumes, none of texts and series."""
    sides = preprocessing.input_shape[1:]
    if preprocessing.kind in ("texts", "series", "grids"):
        return None
    return sides if preprocessing.kind == "volumes" else sides[-1]


def spacing_of(preprocessing: Preprocessing) -> str | tuple[float, ...] | None:
    """What `--spacing` was."""
    own: tuple[float, ...] | None = getattr(preprocessing, "spacing", None)
    return "median" if getattr(preprocessing, "median", False) else own


def fitted_with(preprocessing: Preprocessing) -> dict[str, Any]:
    """The keywords of `fit_preprocessing` that give one of the same kind."""
    options = getattr(preprocessing, "options", None)
    if options is not None:
        word = {"texts": "tokens"}.get(preprocessing.kind, preprocessing.kind)
        return {word: options}
    return {"size": preprocessing.input_shape[1:], "spacing": spacing_of(preprocessing)}


def _refuse_grid(arguments: argparse.Namespace, preprocessing: Preprocessing) -> None:
    """A resumed run keeps its size, its spacing and its tokens."""
    if given_tokens(arguments) is not None:
        raise OptionError("A resumed run keeps its tokens; leave what is said about them out.")
    if given_series(arguments) is not None:
        raise OptionError(
            "A resumed run prepares series as before; leave --normalise and --missing out."
        )
    if said_of_grids(arguments):
        raise OptionError("A resumed run prepares fields as before; leave what is said out.")
    was = {"size": _grid(preprocessing), "spacing": spacing_of(preprocessing)}
    for name, value in was.items():
        given = getattr(arguments, name)
        same = (value, value[0]) if isinstance(value, tuple) and len({*value}) == 1 else (value,)
        if given is not None and given not in same:
            raise OptionError(
                f"Cannot resume with another {name}: it was {value} and is {given}; leave it out, "
                "or start a new run."
            )
