"""Axes that are neither time nor place, such as levels: one value of each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError, did_you_mean

Selection = Mapping[str, float | str]

_SAME = 1e-6  # of a value: what float32 may differ by
_SHOWN = 8  # values of an axis that an error names


def at_one(variable: Any, select: Selection, places: Collection[Any]) -> tuple[Any, list[str]]:
    """A variable at one value of each further axis, and a note for each that is not the said one.

    Args:
        variable: a `DataArray`.
        select: values by the names of axes; of numbers the nearest is taken, of spans of time their
            hours, and of an axis without coordinates the number of an entry. An axis of one entry
            needs none.
        places: the axes of time and place.

    Raises:
        OptionError: a value is missing, or lies outside of its axis.
    """
    notes = []
    for name in [name for name in select if name not in variable.dims and name in variable.coords]:
        if variable[name].ndim == 0:  # the one value that there is
            _entry(name, _labels(variable[name]), select[name])
    for dim in [dim for dim in variable.dims if dim not in places]:
        size = variable.sizes[dim]
        labels = _labels(variable[dim]) if dim in variable.coords else np.arange(size)
        entry = 0
        if dim in select:
            entry = _entry(dim, labels, select[dim])
            if not _same(labels[entry], select[dim]):
                notes.append(f"{dim} is {_text(labels[entry])}, the nearest to {select[dim]}.")
        elif size > 1:
            first = _text(labels[0])
            typed = first if labels.dtype.kind in "iuf" else repr(first)
            raise OptionError(
                f"{variable.name} has a further axis {dim!r} of {size}; choose one value: --select "
                f"{dim}={first} (in Python select={{{dim!r}: {typed}}})."
            )
        variable = variable.isel({dim: entry})
    return variable, notes


def refuse_unknown(
    select: Iterable[str], variables: Iterable[Any], places: Collection[Any]
) -> None:
    """Refuse values of axes that no variable has.

    Raises:
        OptionError: so.
    """
    known: dict[str, None] = {}
    for variable in variables:
        single = (name for name, each in variable.coords.items() if not each.ndim)
        known |= dict.fromkeys(str(n) for n in (*variable.dims, *single) if n not in places)
    for name in select:
        if name not in known:
            found = ", ".join(known) or "none"
            raise OptionError(
                f"select ({name!r}) is no further axis.{did_you_mean(name, known)} "
                f"There are: {found}."
            )


def _labels(coordinate: Any) -> NDArray[Any]:
    """The values of an axis, or the one that there is; spans of time as hours."""
    values = np.atleast_1d(coordinate.values)
    return values / np.timedelta64(1, "h") if values.dtype.kind == "m" else values


def _entry(dim: str, labels: NDArray[Any], value: float | str) -> int:
    """The number of the entry that is meant."""
    names = [_text(label) for label in labels]
    if labels.dtype.kind not in "iuf":
        if str(value) not in names:
            raise _outside(dim, value, names, did_you_mean(str(value), names))
        return names.index(str(value))
    try:
        number = float(value)
    except ValueError as error:
        raise _outside(dim, value, names) from error
    apart = np.abs(labels.astype(np.float64) - number)
    entry = int(np.nanargmin(apart))
    steps = np.abs(np.diff(labels.astype(np.float64)))[max(entry - 1, 0) : entry + 1]
    if apart[entry] > max([_SAME * abs(number), *(steps / 2)]):
        raise _outside(dim, value, names)
    return entry


def _outside(dim: str, value: float | str, names: list[str], meant: str = "") -> OptionError:
    more = f", ... {names[-1]}" if len(names) > _SHOWN else ""
    return OptionError(
        f"select ({dim}={value}) is not on the axis.{meant} It has: "
        f"{', '.join(names[:_SHOWN])}{more}."
    )


def _same(label: Any, value: float | str) -> bool:
    """Whether a label is what was said."""
    if np.asarray(label).dtype.kind not in "iuf":
        return True
    return abs(float(label) - float(value)) <= _SAME * abs(float(value))


def _text(label: Any) -> str:
    """A label as it is typed."""
    kind = np.asarray(label).dtype.kind
    if kind in "iuf":
        return f"{float(label):g}"
    if kind == "M":
        return str(np.datetime_as_string(label, unit="auto"))
    return label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
