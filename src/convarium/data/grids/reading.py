"""Files of fields: which a name means, and what xarray makes of each."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from convarium.data.grids.grib import SUFFIXES, opened_grib
from convarium.errors import DataError, import_extra

EXTRA: Final = "grids"


def paths_of(path: str | Path) -> list[Path]:
    """The files of a pattern in the order of their names; else the path itself.

    Raises:
        DataError: nothing has such a name.
    """
    at = Path(path)
    if at.exists() or not any(sign in at.name for sign in "*?["):
        return [at]
    found = sorted(at.parent.glob(at.name))
    if not found:
        raise DataError(f"No file is called {path}.")
    return found


def is_xarray(source: object) -> bool:
    """Whether it is a data set or an array of xarray, and no path."""
    return hasattr(source, "to_dataset") or hasattr(source, "data_vars")


def axes_of(source: Any) -> tuple[str, ...]:
    """The names of all axes of a file, or of data of xarray, and of what there is one value of.

    Raises:
        DataError: it cannot be read.
    """
    if is_xarray(source):
        return tuple(map(str, (*source.sizes, *source.coords)))
    dataset, _ = opened_file(paths_of(source)[0])
    with dataset:
        return axes_of(dataset)


def axes_there(source: Any, axes: Mapping[str, str | None]) -> dict[str, str | None]:
    """The names of axes of another file, None of those that this one does not have.

    Raises:
        DataError: it cannot be read.
    """
    there = axes_of(source) if any(axes.values()) else ()
    return {kind: name if name in there else None for kind, name in axes.items()}


def opened_file(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The data set with decoded dates, or, where they cannot be decoded, with a note of that.

    Raises:
        DataError: it is missing, or cannot be read.
        MissingExtraError: xarray is not installed, or cfgrib for GRIB.
    """
    xarray = import_extra("xarray", EXTRA)
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return opened_grib(path)
    if path.is_file() and not any(
        engine.guess_can_open(str(path)) for engine in xarray.backends.list_engines().values()
    ):
        raise DataError(
            f"{path} is no NetCDF file; name one, a folder of Zarr, or GRIB by its ending .grib."
        )
    try:
        return _read(xarray, path)
    except (ValueError, OverflowError) as error:
        reason = _first_line(error)
    except (OSError, KeyError, TypeError, ImportError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}") from error
    try:
        dataset, notes = _read(xarray, path, decode_times=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}") from error
    note = f"The dates of {path.name} cannot be understood ({reason}); they are counted."
    return dataset, (*notes, note)


def _read(xarray: Any, path: Path, **decoding: bool) -> tuple[Any, tuple[str, ...]]:
    """The data set, and what the library warns of."""
    if path.is_dir():
        groups = [file.read_text("utf-8") for file in path.glob("zarr.json")]
        whole = (path / ".zmetadata").exists() or any(
            '"consolidated_metadata"' in g for g in groups
        )
        decoding |= {"consolidated": whole}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = xarray.open_dataset(path, engine="zarr" if path.is_dir() else None, **decoding)
    return dataset, tuple(dict.fromkeys(_first_line(warning.message) for warning in caught))


def _first_line(words: object) -> str:
    return (str(words).splitlines() or [type(words).__name__])[0]
