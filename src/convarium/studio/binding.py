"""From the values of a request to the arguments of a function, by their names and types."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

from convarium.errors import OptionError, did_you_mean

_WORDS: Final[Mapping[type, str]] = types.MappingProxyType(
    {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
)
_TRUTH: Final = types.MappingProxyType({"true": True, "1": True, "false": False, "0": False})


def bound(
    function: Callable[..., Any], given: Mapping[str, Any], own: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a function.

    Args:
        function: whose parameters are annotated with int, float, bool, str, each also `| None`, or
            with a list or mapping that only JSON can send.
        given: by the one who asks: texts, or values of JSON.
        own: by the studio; no request can set them.

    Raises:
        OptionError: a value is missing, of the wrong type, or not asked for.

    >>> def scaled(size: int, *, factor: float = 1.0) -> float: ...
    >>> bound(scaled, {"size": "3"}, {})
    {'size': 3}
    """
    wanted = _parameters(function)
    found = {name: own[name] for name in wanted if name in own}
    for name, value in given.items():
        if name not in wanted or name in own:
            open_names = [each for each in wanted if each not in own]
            raise OptionError(f"There is no option {name!r}.{did_you_mean(name, open_names)}")
        found[name] = _value(name, value, wanted[name][0])
    for name, (_, needed) in wanted.items():
        if needed and name not in found:
            raise OptionError(f"The option {name!r} is missing.")
    return found


@functools.cache
def _parameters(function: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    """The type of each parameter, and whether it must be given."""
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    return {each.name: (hints[each.name], each.default is each.empty) for each in parameters}


def _value(name: str, value: Any, kind: Any) -> Any:
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and value in (None, ""):
        return None
    for each in options:
        base = typing.get_origin(each) or each
        if base is not types.NoneType and _fits(value, base):
            return _read(name, value, base) if base is float else value
        if isinstance(value, str) and base in (int, float, bool):
            return _read(name, value, base)
    words = next((_WORDS[each] for each in options if each in _WORDS), "of another type")
    raise OptionError(f"{name} (={_shown(value)}) must be {words}.")


def _fits(value: Any, base: type) -> bool:
    if base is float:
        return type(value) in (int, float)
    return isinstance(value, base) and (base is bool or not isinstance(value, bool))


def _read(name: str, text: Any, base: type) -> Any:
    """A value that came as text, as all in a query do; or a number."""
    try:
        found = _TRUTH[text.lower()] if base is bool else base(text)
    except (KeyError, ValueError, OverflowError) as error:
        raise OptionError(f"{name} (={_shown(text)}) must be {_WORDS[base]}.") from error
    if base is float and not math.isfinite(found):
        raise OptionError(f"{name} (={_shown(text)}) must be a finite number.")
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
