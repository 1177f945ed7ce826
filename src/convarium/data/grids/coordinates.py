"""Which axis of a data set is which: by the CF conventions, by common names, or as told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from convarium.errors import DataError, did_you_mean

_NAMES: Final = {
    "latitude": ("latitude", "lat", "nav_lat", "y"),
    "longitude": ("longitude", "lon", "long", "nav_lon", "x"),
    "time": ("time", "t", "date", "valid_time"),
}
_UNITS: Final = {
    "latitude": ("degrees_north", "degree_north", "degrees_n", "degree_n", "degreen", "degreesn"),
    "longitude": ("degrees_east", "degree_east", "degrees_e", "degree_e", "degreee", "degreese"),
    "time": (),
}
_AXES: Final = {"latitude": "y", "longitude": "x", "time": "t"}


def axis_name(variable: Any, kind: str, told: str | None = None) -> str | None:
    """The dimension of an xarray variable that is its latitude, longitude or time.

    A standard name counts first, then units, then the letter of the axis, then a common name.

    Args:
        variable: a `DataArray`.
        kind: "latitude", "longitude" or "time".
        told: the name that the user gave.

    Raises:
        DataError: the told name is no dimension of the variable.
    """
    if told is not None:
        if told not in variable.dims:
            raise DataError(
                f"{variable.name} has no axis {told!r}."
                + did_you_mean(told, map(str, variable.dims))
                + f" It has: {', '.join(map(str, variable.dims))}."
            )
        return told
    given = {str(dim): _attributes(variable, str(dim)) for dim in variable.dims}
    for rule in (_by_standard_name, _by_units, _by_letter):
        found = [dim for dim, attributes in given.items() if rule(attributes, kind)]
        if len(found) == 1:
            return found[0]
    by_name = [dim for dim in given if _bare(dim) in _NAMES[kind]]
    return by_name[0] if by_name else None


def says_where(variable: Any, name: str) -> bool:
    """Whether a coordinate of an xarray variable has latitudes or longitudes."""
    attributes = _attributes(variable, name)
    return any(
        _bare(name) in _NAMES[kind]
        or _by_standard_name(attributes, kind)
        or _by_units(attributes, kind)
        for kind in ("latitude", "longitude")
    )


def _attributes(variable: Any, dim: str) -> Mapping[str, Any]:
    """What is said of a coordinate; decoded times have their units elsewhere."""
    if dim not in variable.coords:
        return {}
    coordinate = variable.coords[dim]
    return {**coordinate.encoding, **coordinate.attrs}


def _by_standard_name(attributes: Mapping[str, Any], kind: str) -> bool:
    return str(attributes.get("standard_name", "")).lower() == kind


def _by_units(attributes: Mapping[str, Any], kind: str) -> bool:
    units = str(attributes.get("units", "")).lower()
    return " since " in units if kind == "time" else units in _UNITS[kind]


def _by_letter(attributes: Mapping[str, Any], kind: str) -> bool:
    return str(attributes.get("axis", "")).lower() == _AXES[kind]


def _bare(name: str) -> str:
    """A name without case and without a number behind it, as in LAT1 or TIME2."""
    return name.lower().rstrip("0123456789_")
