"""Whether two units are the same, whichever way they are written: m/s, m s-1, meter second**-1."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

_NAMES: Final = {
    "m": ("meter", "meters", "metre", "metres"),
    "s": ("sec", "second", "seconds"),
    "K": ("kelvin", "kelvins", "degk", "deg_k", "degree_kelvin", "degrees_kelvin", "degkelvin"),
    "degC": ("c", "celsius", "degc", "deg_c", "degree_celsius", "degrees_celsius", "degree_c"),
    "Pa": ("pascal", "pascals"),
    "hPa": ("hpa", "hectopascal", "hectopascals", "mb", "mbar", "millibar", "millibars"),
    "kg": ("kilogram", "kilograms"),
    "mm": ("millimeter", "millimeters", "millimetre", "millimetres"),
    "d": ("day", "days"),
    "h": ("hr", "hour", "hours"),
    "%": ("percent", "per_cent"),
    "1": ("", "none", "dimensionless", "unitless"),
}
_SHORT: Final = {name: short for short, names in _NAMES.items() for name in names}
_PART: Final = re.compile(r"(?P<name>[^\s\d^*.+-][^\s\d^*.+-]*|1)(?:\^|\*\*)?(?P<power>[+-]?\d+)?")


def same_units(one: str, other: str) -> bool:
    """Whether two units are the same, as far as common names and ways of writing go.

    >>> same_units("m/s", "m s-1"), same_units("degK", "K"), same_units("kg m**-2 s**-1", "kg/m2/s")
    (True, True, True)
    >>> same_units("K", "degC")
    False
    """
    return one == other or _parts(one) == _parts(other)


def _parts(unit: str) -> Counter[str]:
    """The powers of the parts of a unit; those of what cannot be read are the whole of it."""
    found: Counter[str] = Counter()
    for k, piece in enumerate(unit.strip().split("/")):
        rest = _PART.sub("", piece)
        if rest.strip(" .*"):
            return Counter({unit: 1})
        for match in _PART.finditer(piece):
            name = match["name"]
            short = _SHORT.get(name.lower(), name)
            found[short] += int(match["power"] or 1) * (-1 if k else 1)
    return Counter({name: power for name, power in found.items() if power and name != "1"})
