"""What a run that goes on was started with, and flags that say something else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.choosing import model_options, shares
from convarium.cli.gridded import FIELDS
from convarium.cli.parsing import given_options
from convarium.cli.reading import SERIES, TOKENS
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
    for name in ("gap", "held_out"):
        if getattr(arguments, name) is not None:
            split[name] = getattr(arguments, name)
    config = TrainConfig.from_mapping({**settings["train"], **given_options(arguments)})
    preprocessing = train.read_preprocessing(out)
    _refuse_other(arguments, preprocessing)
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


def _refuse_other(arguments: argparse.Namespace, preprocessing: Preprocessing) -> None:
    """A resumed run keeps its size and spacing, and how it prepares texts, series and fields."""
    was: dict[str, Any] = {"size": _grid(preprocessing), "spacing": spacing_of(preprocessing)}
    options = getattr(preprocessing, "options", None)
    prepared = {**TOKENS, **SERIES, **FIELDS}
    was |= {flag: getattr(options, name, None) for flag, name in prepared.items()}
    for name, value in was.items():
        given = getattr(arguments, name)
        given = tuple(given) if isinstance(given, list) else given
        same = (value, value[0]) if isinstance(value, tuple) and len({*value}) == 1 else (value,)
        if given is not None and given not in same:
            what = f"--{name.replace('_', '-')}" if name in prepared else name
            raise OptionError(
                f"Cannot resume with another {what}: it was {value} and is {given}; leave it out, "
                "or start a new run."
            )
