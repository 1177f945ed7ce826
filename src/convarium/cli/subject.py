"""What a command is about: a network by name, a run folder, or whatever a function of yours gives.

    NAME | RUN | module:function -> network, shape of one sample, and the run if it is one

A name comes without memory, on torch's meta device; its weights are made when they are asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.show import check_input, check_options
from convarium.errors import (
    ConvariumError,
    OptionError,
    ShapeError,
    UnknownModelError,
    did_you_mean,
)
from convarium.models import catalogue

if TYPE_CHECKING:
    from torch import nn

    from convarium.models import Network
    from convarium.predict import Run

Given = tuple[int, ...] | int | None
_SEED = 0


@dataclass(frozen=True)
class Subject:
    """A network and the input that it is looked at with.

    Attributes:
        name: as it was given.
        model: the network; without memory where only a name was given.
        shape: of one sample, `(C, *S)`; of ids `(T,)`.
        weights: which ones `with_weights` has: initial, trained, or the function's own.
        with_weights: the network with memory.
        run: the run folder, with its preprocessing, if it is one.
    """

    name: str
    model: nn.Module
    shape: tuple[int, ...]
    weights: str
    with_weights: Callable[[], nn.Module]
    run: Run | None = None


def find(text: str, given: Given, options: Mapping[str, Any]) -> Subject:
    """The network that a text stands for.

    Args:
        text: a name of the catalogue, a folder, or module:function.
        given: shape of one sample, positions along every axis, or None: its own.
        options: of a network of the catalogue.

    Raises:
        UnknownModelError: it stands for nothing.
        OptionError: an option or the function cannot be used, or a shape is missing.
        ShapeError: the shape does not fit the network.
        RunError: the folder holds no network.
    """
    known = catalogue.names()
    if text in known:
        return _by_name(text, given, options)
    if options:
        raise OptionError(
            f"--option belongs to a name of convarium list, and {text!r} is none; leave it out."
        )
    if os.path.isdir(text):  # False also for a name that is too long for a file
        return _from_folder(Path(text), given)
    if ":" in text:
        return _from_function(text, given)
    raise UnknownModelError(
        f"No network is called {text!r}.{did_you_mean(text, known)} Give a name of convarium list, "
        "a run folder, or module:function."
    )


def _by_name(name: str, given: Given, options: Mapping[str, Any]) -> Subject:
    row = catalogue.find(name)
    check_options(row, options)
    check_input(row, options, given)
    model = catalogue.without_memory(name, options)

    def with_weights() -> nn.Module:
        import torch

        from convarium import models, seeds

        with torch.random.fork_rng(devices=[]):
            seeds.torch_seed(torch.device("cpu"), _SEED, "initial weights")
            return models.create(name, **options)

    return Subject(name, model, _whole(given, model), "initial weights", with_weights)


def _from_folder(folder: Path, given: Given) -> Subject:
    """A run with its preprocessing, or only a saved network."""
    from convarium import models, predict

    run = None
    if (folder / "card.json").exists() and "preprocessing" not in models.read_card(folder):
        model = models.load(folder)
        own = model.sample_shape()
    else:
        run = predict.open_run(folder)
        model, own = run.model, run.preprocessing.input_shape
    shape = own if given is None else _whole(given, model)
    if given is not None:
        check = {"name": folder.name, "in_channels": model.in_channels}
        kind = {"spatial_dims": model.spatial_dims, "input_kind": model.input_kind}
        check_input({**check, **kind}, {}, shape)
    measured = _alone(model)
    return Subject(str(folder), measured, shape, "trained weights", lambda: measured, run)


def _alone(model: Network) -> nn.Module:
    """The network with one input: of fields the coarse one, without what is read besides."""
    from convarium.measure.field_reach import CoarseOnly
    from convarium.models import FieldToField

    return CoarseOnly(model) if isinstance(model, FieldToField) else model


def _from_function(text: str, given: Given) -> Subject:
    model = _imported(text)
    if not isinstance(given, tuple):
        raise ShapeError(
            f"{text} needs --input with the whole shape of one sample, channels first, such as "
            "3x224x224."
        )
    _give_shapes(text, model, given)
    return Subject(text, model, given, "weights as the function gives them", lambda: model)


def _give_shapes(text: str, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Lazy layers take their shapes from one batch of zeros."""
    import torch

    from convarium import seeds

    if not any(torch.nn.parameter.is_lazy(tensor) for tensor in model.parameters()):
        return
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        seeds.torch_seed(torch.device("cpu"), _SEED, "initial weights")
        with _told(text, f"for a batch of the shape {(2, *shape)}"):
            model.eval()(torch.zeros(2, *shape))


def _whole(given: Given, model: Network) -> tuple[int, ...]:
    """The shape of one sample: as it is given, or the network's own."""
    return given if isinstance(given, tuple) else model.sample_shape(given)


def _imported(text: str) -> nn.Module:
    """The module that a function or a class of the current folder gives without arguments."""
    from torch import nn

    where, _, what = text.partition(":")
    if not all(part.isidentifier() for part in [*where.split("."), *what.split(".")]):
        raise OptionError(f"{text!r} must look like module:function.")
    with _current_folder(), contextlib.redirect_stdout(sys.stderr):
        module = _module(where)
        try:
            found = functools.reduce(getattr, what.split("."), module)
        except AttributeError as error:
            near = did_you_mean(what, vars(module))
            raise OptionError(f"The module {where!r} has no {what!r}.{near}") from error
        if callable(found) and not isinstance(found, nn.Module):
            with _told(text, "when it was called without arguments"):
                found = found()
    if not isinstance(found, nn.Module):
        raise OptionError(
            f"{text} gives an object of type {type(found).__name__}, no torch.nn.Module; name a "
            "function or class that gives one when it is called without arguments."
        )
    return found


def _module(where: str) -> Any:
    with _told(where, "when it was imported"):
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{where}.".startswith(f"{error.name}."):
                raise
            raise OptionError(
                f"There is no module {error.name!r}, neither in this folder nor installed; "
                "module:function names a Python file here without its .py."
            ) from error


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """Inside, modules of the current folder can be imported."""
    before, folder = sys.path[:], os.getcwd()
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


@contextlib.contextmanager
def _told(what: str, when: str) -> Iterator[None]:
    """Whatever foreign code raises becomes one sentence."""
    try:
        yield
    except ConvariumError:
        raise
    except (Exception, SystemExit) as error:
        reason = (str(error).strip() or "no words").splitlines()[0].rstrip(".")
        raise OptionError(
            f"{what} raised {type(error).__name__} {when}: {reason}; mend it, or name another one."
        ) from error
