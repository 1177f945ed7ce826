"""What the functions of this room take: whole numbers, sizes, tensors, words from a list.

Anything else is refused in one sentence: the argument, its value, what is allowed.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Collection, Iterable, Mapping, Set
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor

from convarium.errors import OptionError, ShapeError, did_you_mean

Sizes: TypeAlias = tuple[int, ...]

_MOST: Final = 2**50  # numbers in an input; no memory holds so many
_SUCH_AS: Final = "such as (1, 3, 224, 224)"


def whole(low: int | None = None, most: float = math.inf, /, **values: Any) -> int:
    """One named value as an `int`, of any library; True and False are none.

    Raises:
        OptionError: it is no whole number, below `low` or above `most`.

    >>> whole(1, batch=8)
    8
    """
    ((name, value),) = values.items()
    number = _index(value)
    if number is None or number > most or (low is not None and number < low):
        limits = "" if low is None else f" of {low} or more"
        limits = limits if most == math.inf else f" from {low} to {most}"
        raise OptionError(f"{name} (={shown(value)}) must be a whole number{limits}.")
    return number


def real(value: Any) -> float:
    """The value as a `float`; NaN where it is no number, as True, False and words are none."""
    try:
        return math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return math.nan


def finite(**values: Any) -> float:
    """One named value as a `float`; True, False and words are none.

    Raises:
        OptionError: it is no finite number.

    >>> finite(baseline=0)
    0.0
    """
    ((name, value),) = values.items()
    number = real(value)
    if not math.isfinite(number):
        raise OptionError(f"{name} (={shown(value)}) must be a finite number.")
    return number


def one_of(allowed: Collection[str], **values: Any) -> None:
    """Refuse a named value that is none of these words.

    Raises:
        OptionError: it is not.
    """
    ((name, value),) = values.items()
    if not isinstance(value, str) or value not in allowed:
        near = did_you_mean(str(value), allowed) if isinstance(value, str) else ""
        words = ", ".join(allowed)
        raise OptionError(f"{name} (={shown(value)}) must be one of {words}.{near}")


def sizes(given: Any) -> Sizes:
    """The whole numbers in a list, as `int`; nothing where it holds anything else.

    >>> sizes([3, 8]), sizes([3, 8.0]), sizes(8)
    ((3, 8), (), ())
    """
    if not isinstance(given, Iterable) or isinstance(given, str | bytes | Mapping | Set):
        return ()
    try:
        numbers = [_index(n) for n in given]
    except (TypeError, RuntimeError):  # a tensor without axes, or without values
        return ()
    known = tuple(n for n in numbers if n is not None)
    return known if len(known) == len(numbers) else ()


def shape(input_shape: Any, least: int = 2, most: int | None = None) -> Sizes:
    """The shape of an input, batch included, with `least` to `most` sizes; also as a list of one.

    Raises:
        ShapeError: it is none.
        OptionError: no memory holds such an input.
    """
    found = sizes(input_shape)
    if not found and isinstance(input_shape, list | tuple) and len(input_shape) == 1:
        found = sizes(input_shape[0])
    if not least <= len(found) <= (most or len(found)) or min(found) < 1:
        many = f"{least} to {most}" if most else f"{least} or more"
        raise ShapeError(
            f"input_shape (={shown(input_shape)}) must be (B, C, *S), the whole shape, batch "
            f"included: {many} whole numbers of 1 or more, {_SUCH_AS}."
        )
    return _possible(found)


def shapes(input_shape: Any) -> list[Sizes]:
    """The shape of a model's input, or of each of several.

    Raises:
        ShapeError: it is none.
        OptionError: no memory holds such an input.
    """
    several = isinstance(input_shape, list | tuple) and not any(_index(n) for n in input_shape)
    found = [sizes(each) for each in (input_shape if several else [input_shape])]
    if not found or not all(each and min(each) > 0 for each in found):
        raise ShapeError(
            f"input_shape (={shown(input_shape)}) must be the sizes of the whole input, batch "
            f"included, {_SUCH_AS}, or a list of them, one an input."
        )
    return [_possible(each) for each in found]


def tensor(**values: Any) -> Tensor:
    """One named value, if it is a plain tensor with numbers in memory.

    Raises:
        OptionError: it is not.
    """
    ((name, value),) = values.items()
    plain = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_nested
    if not plain or value.is_meta:
        raise OptionError(
            f"{name} (={shown(value)}) must be a dense torch.Tensor on a device with memory."
        )
    found: Tensor = value
    return found


def batch(x: Any, least: int = 2, most: int | None = None, *, floating: bool = True) -> Tensor:
    """A tensor of at least one sample, with `least` to `most` axes.

    Raises:
        OptionError: it is no tensor with numbers in memory.
        ShapeError: it has other axes, another type, or nothing along an axis.
    """
    found = tensor(x=x)
    fits = least <= found.ndim <= (most or found.ndim) and 0 not in found.shape
    if not fits or (floating and not found.is_floating_point()):
        axes = "(B, C, *S)" if least > 2 else "(B, ...)"
        limit = f", {least} to {most} axes" if most else ""
        kind = " of floating-point numbers" if floating else ""
        raise ShapeError(
            f"x (={shown(x)}) must be a batch {axes}{kind}{limit}, with at least one sample."
        )
    return found


def shown(value: Any) -> str:
    """A value on one line, and cut short where it is long.

    >>> shown((1, 3)), shown(torch.zeros(2, 3))
    ('(1, 3)', 'tensor of shape (2, 3) and torch.float32 on cpu')
    """
    if isinstance(value, Tensor) and not value.is_nested:
        layout = "" if value.layout == torch.strided else f", {value.layout},"
        told = f"tensor of shape {tuple(value.shape)} and {value.dtype}"
        return f"{told}{layout} on {value.device}"
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # Python writes no whole number of thousands of digits
        return f"a {type(value).__name__} too long to be shown"


def _index(value: Any) -> int | None:
    """The value as an `int` if it is a whole number."""
    truth = isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool
    try:
        return None if truth else operator.index(value)
    except (TypeError, RuntimeError):
        return None


def _possible(found: Sizes) -> Sizes:
    """Refuse a shape of more numbers than any memory holds."""
    if math.prod(found) > _MOST:
        raise OptionError(
            f"input_shape (={shown(found)}) has more numbers than any memory holds; give a smaller "
            "one."
        )
    return found
