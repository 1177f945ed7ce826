"""Options as fields of a frozen dataclass: each with its help text, its type and its limits.

This file does not import torch, so that `convarium train --help` stays quick.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Callable
from dataclasses import field
from typing import Any

from convarium.errors import OptionError, did_you_mean

_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "low": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
    "high": (operator.le, "at most"),
}


def option(default: Any, help: str, **limits: Any) -> Any:
    """A field with its help text and its limits: `choices`, `low`, `above`, `below`, `high`.

    What is `free` changes nothing in the result, so a resumed run may change it. `of` names the
    option, and its values, without which this one has no effect. `unit` is what the command reads:
    "seconds" may be given as 90, 10m or 1h30m. What has no `flag` is not for the command line.
    """
    return field(default=default, metadata={"help": help, **limits})


def check_options(config: Any) -> None:
    """Type and limits of each field of a configuration.

    Raises:
        OptionError: a value is of the wrong type or outside its limits.
    """
    kinds = types_of(type(config))
    for each in dataclasses.fields(config):
        kind, optional = kinds[each.name]
        _check(each.name, getattr(config, each.name), kind, optional, each.metadata)


def types_of(table: type) -> dict[str, tuple[type, bool]]:
    """By option: its type (int, float, str, bool or tuple), and whether None is allowed."""
    found: dict[str, tuple[type, bool]] = {}
    for name, hint in typing.get_type_hints(table).items():
        if isinstance(hint, types.UnionType):
            kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
            found[name] = (typing.get_origin(kinds[0]) or kinds[0], True)
        else:
            found[name] = (hint, False)
    return found


def _check(name: str, value: Any, kind: type, optional: bool, limits: Any) -> None:
    """Type and limits of a value, or of each of several."""
    if value is None and optional:
        return
    if kind is not tuple:
        _check_one(name, value, kind, limits)
        return
    if not isinstance(value, tuple):
        raise OptionError(
            f"{name} (={value!r}) must be several whole numbers, such as (800, 1200)."
        )
    for one in value:
        _check_one(name, one, int, limits)


def _check_one(name: str, value: Any, kind: type, limits: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{name} (={value!r}) must be a finite number.")
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (kind is not bool and isinstance(value, bool)):
        raise OptionError(f"{name} (={value!r}) must be of type {kind.__name__}.")
    if "choices" in limits and value not in limits["choices"]:
        allowed = " or ".join(repr(choice) for choice in limits["choices"])
        near = did_you_mean(value, limits["choices"])
        raise OptionError(f"{name} (={value!r}) must be {allowed}.{near}")
    for limit, (holds, words) in _LIMITS.items():
        if limit in limits and not holds(value, limits[limit]):
            raise OptionError(f"{name} (={value!r}) must be {words} {limits[limit]}.")
