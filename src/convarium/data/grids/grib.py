"""GRIB files: what cfgrib makes of their messages, as one data set.

Nothing is written beside a file: its messages are looked through each time it is opened.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from convarium.errors import DataError, import_extra

EXTRA: Final = "grib"
SUFFIXES: Final = (".grib", ".grib2", ".grb", ".grb2")
_LEVEL: Final = "GRIB_typeOfLevel"


def opened_grib(path: Path) -> tuple[Any, tuple[str, ...]]:
    """All variables of a file, and what cfgrib warns of.

    A variable that is there on several kinds of levels has the kind behind its name. The steps of
    one forecast are its times.

    Raises:
        MissingExtraError: cfgrib is not installed.
        DataError: no message can be read.
    """
    xarray = import_extra("xarray", "grids")
    cfgrib = import_extra("cfgrib", EXTRA)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parts = cfgrib.open_datasets(str(path), backend_kwargs={"indexpath": ""})
        except (ValueError, EOFError, OSError, RuntimeError) as error:
            raise DataError(f"{path} cannot be read as GRIB: {error}") from error
    if not any(len(part.data_vars) for part in parts):
        raise DataError(f"{path} has no message that can be read as GRIB; is it whole?")
    several = [str(name) for part in parts for name in part.data_vars]
    found: dict[str, Any] = {}
    for part in parts:
        if "step" in part.dims and "time" not in part.dims:
            part = part.drop_vars("time").swap_dims({"step": "valid_time"})
        for name, variable in part.data_vars.items():
            level = variable.attrs.get(_LEVEL, "")
            own = str(name) if several.count(str(name)) == 1 else f"{name}_{level}"
            found[own] = variable.drop_vars([n for n, c in variable.coords.items() if _loose(n, c)])
    notes = tuple(dict.fromkeys(str(warning.message).split("\n")[0] for warning in caught))
    return xarray.Dataset(found, attrs=dict(parts[0].attrs)), notes


def _loose(name: Any, coordinate: Any) -> bool:
    """Whether it is the single value of something else than time, in which variables differ."""
    return not coordinate.ndim and name != "time"
