"""GRIB files: what cfgrib makes of their messages, each on axes of its own.

Nothing is written beside a file: its messages are looked through each time it is opened.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from convarium.errors import DataError, import_extra

EXTRA: Final = "grib"
SUFFIXES: Final = (".grib", ".grib2", ".grb", ".grb2")
_LEVEL: Final = "GRIB_typeOfLevel"


class GribFields:
    """The variables of a file, each on axes of its own, as far as a data set is asked for them.

    As one data set they would be on the axes of all, with values that no message has.
    """

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.data_vars: dict[str, Any] = {}
        self.attrs = dict(attributes)
        self._several: set[str] = set()

    def add(self, name: str, variable: Any) -> None:
        """Take one more."""
        if name in self.data_vars:
            self._several.add(name)
        self.data_vars[name] = variable

    def __getitem__(self, name: str) -> Any:
        """A variable.

        Raises:
            DataError: there are several of that name.
        """
        if name in self._several:
            raise DataError(
                f"{name} is there several times, on other grids or with other kinds of means; "
                "write each to a file of its own, for example with grib_copy."
            )
        return self.data_vars[name]

    @property
    def sizes(self) -> dict[str, int]:
        """Of all axes; of an axis that variables share, that of the last."""
        return {dim: n for each in self.data_vars.values() for dim, n in each.sizes.items()}

    @property
    def coords(self) -> dict[str, Any]:
        """Of all variables, likewise."""
        return {name: c for each in self.data_vars.values() for name, c in each.coords.items()}

    def close(self) -> None:
        """Close the file."""
        for variable in self.data_vars.values():
            variable.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opened_grib(path: Path) -> tuple[GribFields, tuple[str, ...]]:
    """All variables of a file, and what cfgrib warns of.

    A variable that is there on several kinds of levels has the kind behind its name. The steps of
    one forecast are its times.

    Raises:
        MissingExtraError: cfgrib is not installed.
        DataError: a message cannot be read, or there is none.
    """
    cfgrib = import_extra("cfgrib", EXTRA)
    damaged = import_extra("eccodes", EXTRA).CodesInternalError
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            given = {"indexpath": "", "errors": "raise"}
            parts = cfgrib.open_datasets(str(path), backend_kwargs=given)
        except (damaged, ValueError, EOFError, OSError, RuntimeError, KeyError) as error:
            raise DataError(f"{path} cannot be read as GRIB: {error}; is it whole?") from error
    if not any(len(part.data_vars) for part in parts):
        raise DataError(f"{path} has no message that can be read as GRIB; is it whole?")
    several = [str(name) for part in parts for name in part.data_vars]
    found = GribFields(parts[0].attrs)
    for part in parts:
        if "step" in part.dims and "time" not in part.dims:
            part = part.drop_vars("time").swap_dims({"step": "valid_time"})
        for name, variable in part.data_vars.items():
            level = variable.attrs.get(_LEVEL, "")
            own = str(name) if several.count(str(name)) == 1 else f"{name}_{level}"
            found.add(own, variable)
    notes = tuple(dict.fromkeys(str(warning.message).split("\n")[0] for warning in caught))
    return found, notes
