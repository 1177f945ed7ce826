"""The signature is the configuration: a constructor's annotations say what it takes.

`complete` turns the options of a call into the whole configuration, defaults filled in, after it
has checked every name and every type. The constructors check ranges with the functions below it.
"""

from __future__ import annotations

import copy
import inspect
import operator
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from convarium.errors import OptionError, did_you_mean

_TOO_MANY: Final = 2**31  # no memory holds weights for so many channels or classes
_MOST_BLOCKS: Final = 2000  # three times the deepest published network has, and built in seconds


def complete(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of `cls(**options)`: every keyword with its value, as JSON has it.

    Raises:
        OptionError: an option is unknown, or its value is of the wrong kind.
    """
    known = signature(cls)
    for name, value in options.items():
        if name not in known:
            raise OptionError(
                f"{cls.__name__} has no option {name!r}."
                + did_you_mean(name, known)
                + f" It takes: {', '.join(known)}."
            )
        kind, _ = known[name]
        if not _fits(value, kind):
            raise OptionError(
                f"{name} (={value!r}) must be {describe(kind)}." + _close_choice(value, kind)
            )
    values = {name: default for name, (_, default) in known.items()} | dict(options)
    return {name: plain(value) for name, value in values.items() if value is not _REQUIRED}


def plain(value: Any) -> Any:
    """A copy as JSON gives it back: lists for tuples, `int` for whole numbers of any library.

    Example:
        >>> import numpy as np
        >>> plain((np.int64(3), True, "a"))
        [3, True, 'a']
    """
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return copy.deepcopy(value) if value is not _REQUIRED else value
    try:
        return operator.index(value)
    except TypeError:  # an array or a tensor of other than one whole number
        return copy.deepcopy(value)


def whole(**values: Any) -> int:
    """One named value as an `int`.

    Raises:
        OptionError: it is no whole number.
    """
    ((name, value),) = values.items()
    number = plain(value)
    if type(number) is not int:
        raise OptionError(f"{name} (={value!r}) must be a whole number.")
    return number


def choices(cls: type) -> dict[str, list[Any]]:
    """The allowed values of each option that has a closed list of them."""
    lists = {name: _literals(kind) for name, (kind, _) in signature(cls).items()}
    return {name: values for name, values in lists.items() if values}


@cache
def signature(cls: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (annotation, default) of the constructor's keywords.

    A constructor with `**keywords` hands them to its base class, whose own come first.
    """
    constructor = cls.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(constructor)
    parameters = list(inspect.signature(constructor).parameters.values())[1:]
    handed_on = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return (signature(cls.__mro__[1]) if handed_on else {}) | {
        p.name: (hints.get(p.name, Any), _REQUIRED if p.default is p.empty else p.default)
        for p in parameters
        if p.kind is not p.VAR_KEYWORD
    }


def at_least(low: int, **values: int | Sequence[int]) -> None:
    """Refuse numbers, or lists with numbers, below `low` or above what any layer can have.

    Raises:
        OptionError: a value is too small or too large, or a list is empty.
    """
    for name, value in values.items():
        numbers = [value] if isinstance(value, int) else list(value)
        if not numbers:
            raise OptionError(f"{name} (={value!r}) must have at least one entry.")
        if min(numbers) < low:
            raise OptionError(f"{name} (={value!r}) must be {low} or more.")
        if max(numbers) >= _TOO_MANY:
            raise OptionError(f"{name} (={value!r}) must be below {_TOO_MANY}.")


def block_counts(**lists: Sequence[int]) -> None:
    """Refuse lists of blocks, one entry a stage, with none in a stage or more than 2000 in all.

    Raises:
        OptionError: a list is empty, an entry is below 1, or the sum is too large.
    """
    at_least(1, **lists)
    for name, counts in lists.items():
        total = sum(counts)
        if total > _MOST_BLOCKS:
            raise OptionError(
                f"{name} (={counts!r}) must have a sum of {_MOST_BLOCKS} or less, not {total}."
            )


def probability(**values: float) -> None:
    """Refuse numbers outside [0, 1).

    Raises:
        OptionError: a value is outside.
    """
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise OptionError(f"{name} (={value!r}) must be at least 0 and below 1.")


def equal_lengths(**lists: Sequence[int]) -> None:
    """Refuse lists of different lengths, naming each.

    Raises:
        OptionError: the lengths differ.
    """
    if len({len(values) for values in lists.values()}) > 1:
        shown = " and ".join(f"{name} (={list(v)}, {len(v)} long)" for name, v in lists.items())
        raise OptionError(f"{shown} must have the same length, one entry a stage.")


def describe(kind: Any) -> str:
    """An annotation in words.

    Example:
        >>> describe(Sequence[int]), describe(bool)
        ('a list of whole numbers', 'true or false')
    """
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    plural = {int: "whole numbers", float: "numbers", str: "texts"}
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(part) for part in inner)
    if origin is Literal:
        return "one of " + ", ".join(repr(value) for value in inner)
    if _is_sequence(origin):
        return f"a list of {plural.get(inner[0], 'values')}"
    if kind is types.NoneType:
        return "left out"
    return words.get(kind, getattr(kind, "__name__", str(kind)))


_REQUIRED = object()


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in inner)
    if _is_sequence(origin):
        return isinstance(value, list | tuple) and all(_fits(v, inner[0]) for v in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)


def _is_sequence(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _literals(kind: Any) -> list[Any]:
    if typing.get_origin(kind) is Literal:
        return list(typing.get_args(kind))
    return [value for part in typing.get_args(kind) for value in _literals(part)]


def _close_choice(value: Any, kind: Any) -> str:
    words: Iterable[str] = [v for v in _literals(kind) if isinstance(v, str)]
    return did_you_mean(value, words) if isinstance(value, str) else ""
