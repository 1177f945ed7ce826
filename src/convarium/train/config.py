"""How to train, as one frozen table of options; the command's flags are made from it.

This file does not import torch, so that `convarium train --help` stays quick.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from convarium.errors import OptionError, did_you_mean

_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "low": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
    "high": (operator.le, "at most"),
}


def _option(default: Any, help: str, **limits: Any) -> Any:
    """A field with its help text and its limits: `choices`, `low`, `above`, `below`, `high`.

    What is `free` changes nothing in the result, so a resumed run may change it.
    """
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of a training run; None switches an option off.

    Raises:
        OptionError: a value is of the wrong type or outside its limits.

    >>> TrainConfig(epochs=5, optimizer="sgd").learning_rate
    0.003
    """

    epochs: int = _option(20, "passes over the training data", low=1)
    batch_size: int = _option(128, "samples a step", low=1)
    optimizer: str = _option("adamw", "update rule", choices=("adamw", "sgd"))
    learning_rate: float = _option(3e-3, "peak learning rate", above=0)
    momentum: float = _option(0.9, "Nesterov momentum of sgd", low=0, below=1)
    weight_decay: float = _option(0.02, "decay of weights, not of norms and biases", low=0)
    layer_decay: float = _option(
        1.0, "factor on the learning rate from each stage to the one before it", above=0, high=1
    )
    warmup: float = _option(0.2, "share of all steps that the rate rises", low=0, below=1)
    milestones: tuple[int, ...] | None = _option(
        None, "steps from which on the rate is multiplied by gamma, instead of a cosine", low=1
    )
    gamma: float = _option(0.1, "factor on the rate at each of the milestones", above=0, high=1)
    label_smoothing: float = _option(0.0, "share of the target spread evenly", low=0, below=1)
    clip_norm: float | None = _option(None, "largest norm of the gradient", above=0)
    ema: float | None = _option(None, "decay of averaged weights, such as 0.999", above=0, below=1)
    flip: bool = _option(True, "mirror half of the training images")
    pad_crop: int = _option(0, "pad by so many pixels and crop at random", low=0)
    precision: str = _option("fp32", "arithmetic of the forward pass", choices=("fp32", "bf16"))
    layout: str = _option(
        "channels_last", "memory order of images", choices=("channels_last", "contiguous")
    )
    patience: int | None = _option(
        None, "stop after so many epochs without a better validation score", low=1
    )
    checkpoint_seconds: float = _option(60.0, "seconds between checkpoints", low=0, free=True)
    workers: int = _option(1, "threads that decode images ahead", low=0, free=True)
    device: str = _option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    seed: int = _option(0, "the one number that all randomness follows from", low=0)

    def __post_init__(self) -> None:
        given: Any = self.milestones
        if isinstance(given, list):  # as TOML and JSON have it
            object.__setattr__(self, "milestones", tuple(given))
        for option in dataclasses.fields(self):
            _check(option.name, getattr(self, option.name), option)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainConfig:
        """A configuration from names and values, as `config.toml` holds them.

        Raises:
            OptionError: a name or value is not allowed.
        """
        known = {option.name for option in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                allowed = ", ".join(sorted(known))
                raise OptionError(
                    f"Unknown option {name!r}.{did_you_mean(name, known)} Allowed: {allowed}."
                )
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Names and values; what is None is left out."""
        values = dataclasses.asdict(self)
        if self.milestones is not None:
            values["milestones"] = list(self.milestones)
        return {name: value for name, value in values.items() if value is not None}


def options() -> Iterator[tuple[str, type, bool, dataclasses.Field[Any]]]:
    """Name, type, whether None is allowed, and field of each option, for the command's flags.

    The type is int, float, str or bool; `tuple` stands for several whole numbers.
    """
    for option in dataclasses.fields(TrainConfig):
        kind, optional = _type_of(option.name)
        yield option.name, kind, optional, option


def free_options() -> set[str]:
    """Names of the options that do not change the result."""
    return {
        option.name for option in dataclasses.fields(TrainConfig) if option.metadata.get("free")
    }


def _type_of(name: str) -> tuple[type, bool]:
    hint = typing.get_type_hints(TrainConfig)[name]
    if isinstance(hint, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        return typing.get_origin(kinds[0]) or kinds[0], True
    return hint, False


def _check(name: str, value: Any, option: dataclasses.Field[Any]) -> None:
    """Type and limits of a value, or of each of several."""
    kind, optional = _type_of(name)
    if value is None and optional:
        return
    if kind is not tuple:
        _check_one(name, value, kind, option)
        return
    if not isinstance(value, tuple):
        raise OptionError(
            f"{name} (={value!r}) must be several whole numbers, such as (800, 1200)."
        )
    for one in value:
        _check_one(name, one, int, option)


def _check_one(name: str, value: Any, kind: type, option: dataclasses.Field[Any]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{name} (={value!r}) must be a finite number.")
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (kind is not bool and isinstance(value, bool)):
        raise OptionError(f"{name} (={value!r}) must be of type {kind.__name__}.")
    limits = option.metadata
    if "choices" in limits and value not in limits["choices"]:
        allowed = " or ".join(repr(choice) for choice in limits["choices"])
        near = did_you_mean(value, limits["choices"])
        raise OptionError(f"{name} (={value!r}) must be {allowed}.{near}")
    for limit, (holds, words) in _LIMITS.items():
        if limit in limits and not holds(value, limits[limit]):
            raise OptionError(f"{name} (={value!r}) must be {words} {limits[limit]}.")
