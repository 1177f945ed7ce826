"""Options as fields of a frozen dataclass: each with its help text, its type and its limits.

This file does not import torch, so that `convarium train --help` stays quick.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

from convarium.errors import OptionError, did_you_mean

_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "low": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
    "high": (operator.le, "at most"),
}


class Kind(NamedTuple):
    """What an option takes.

    Args:
        base: int, float, str, bool, or tuple for several.
        optional: whether None is allowed.
        part: the type of each of several.
    """

    base: type
    optional: bool
    part: type


def option(default: Any, help: str = "", **limits: Any) -> Any:
    """A field with its help text and its limits: `choices`, `low`, `above`, `below`, `high`.

    What is `free` changes nothing in the result, so a resumed run may change it. `of` names the
    option, and its values, without which this one has no effect. `unit` is what the command reads:
    "seconds" may be given as 90, 10m or 1h30m. What has no `flag` is not for the command line.
    """
    return field(default=default, metadata={"help": help, **limits})


def check_options(table: Any) -> None:
    """Type and limits of each field of a table of options.

    Raises:
        OptionError: a value is of the wrong type or outside its limits.
    """
    kinds = kinds_of(table.__class__)
    for each in dataclasses.fields(table):
        kind, value = kinds[each.name], getattr(table, each.name)
        if value is None and kind.optional:
            continue
        if kind.base is not tuple:
            _check(each.name, value, kind.base, each.metadata)
        elif not isinstance(value, tuple):
            what = "whole numbers, such as (800, 1200)"
            if kind.part is float:
                what = "numbers, such as (0.5, 2.0)"
            raise OptionError(f"{each.name} (={value!r}) must be several {what}.")
        else:
            for one in value:
                _check(each.name, one, kind.part, each.metadata)


@functools.cache
def kinds_of(table: type) -> dict[str, Kind]:
    """What each option of a table takes, by its name."""
    found = {}
    for name, hint in typing.get_type_hints(table).items():
        union = isinstance(hint, types.UnionType)
        kinds = [each for each in typing.get_args(hint) if each is not types.NoneType]
        kind = kinds[0] if union else hint
        parts = typing.get_args(kind)
        found[name] = Kind(typing.get_origin(kind) or kind, union, parts[0] if parts else kind)
    return found


def _check(name: str, value: Any, kind: type, limits: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{name} (={value!r}) must be a finite number.")
    fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not fits or (kind is not bool and isinstance(value, bool)):
        raise OptionError(f"{name} (={value!r}) must be of type {kind.__name__}.")
    if "choices" in limits and value not in limits["choices"]:
        allowed = " or ".join(repr(choice) for choice in limits["choices"])
        near = did_you_mean(value, limits["choices"])
        raise OptionError(f"{name} (={value!r}) must be {allowed}.{near}")
    if not all(holds(value, limits[k]) for k, (holds, _) in _LIMITS.items() if k in limits):
        allowed = " and ".join(f"{w} {limits[k]}" for k, (_, w) in _LIMITS.items() if k in limits)
        raise OptionError(f"{name} (={value!r}) must be {allowed}.")
