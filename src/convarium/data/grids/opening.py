"""Fields from files: NetCDF 3 and 4, Zarr, and what else xarray of the user can open.

file -> variables -> axes (CF) -> times, months, grid -> Fields
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.coordinates import axis_name
from convarium.data.grids.fields import Fields
from convarium.data.grids.grid import Grid
from convarium.data.grids.joining import in_order, joined
from convarium.errors import DataError, OptionError, did_you_mean, import_extra

EXTRA: Final = "grids"
_NAMED: Final = ("latitude", "longitude", "time")
_KEPT_NAMES: Final = ("standard_name", "long_name", "cell_methods")
_KEPT: Final = 2**27  # numbers of fields that are kept in memory


def open_fields(
    path: str | Path,
    variables: Sequence[str] | None = None,
    *,
    select: Mapping[str, float] | None = None,
    latitude: str | None = None,
    longitude: str | None = None,
    time: str | None = None,
) -> Fields:
    """Variables of a file over time, on one regular grid.

    Up to 512 MiB are read at once; of more, each field when it is asked for. Times are brought into
    order, longitudes rise, and a last column that is the first one again is left out.

    Args:
        path: a NetCDF file, a Zarr folder, or GRIB where cfgrib is installed; or a pattern of such,
            as winds_*.nc, whose times are put together.
        variables: their names, in any case of letters; None is all that have both axes.
        select: one value of each further axis, such as {"level": 850}; the nearest is taken.
        latitude: the axis of that name; None looks for it.
        longitude: likewise.
        time: likewise.

    Raises:
        DataError: a file cannot be read, an axis cannot be found, the grid is not regular, or files
            do not go together.
        OptionError: no variable has a name, or an axis is not to be chosen from.
        MissingExtraError: xarray is not installed.
    """
    told = {"latitude": latitude, "longitude": longitude, "time": time}
    paths = paths_of(path)
    return in_order(joined([_of_file(each, variables, select or {}, told) for each in paths]))


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


def _of_file(
    path: Path,
    variables: Sequence[str] | None,
    select: Mapping[str, float],
    told: Mapping[str, str | None],
) -> Fields:
    """The variables of one file as they stand in it."""
    dataset, notes = _opened(path)
    names = _chosen(dataset, variables, told)
    found = {}
    for name in names:
        variable = _selected(dataset[name], select, told)
        axes = {kind: axis_name(variable, kind, told[kind]) for kind in _NAMED}
        found[name], more = _eastward(_ordered(variable, axes, path))
    _check_alike(found)
    first = found[names[0]]
    times, months, calendar = _times(first)
    source: dict[str, Any] = found
    if sum(variable.size for variable in found.values()) <= _KEPT:
        source = {name: np.asarray(variable, np.float32) for name, variable in found.items()}
        dataset.close()
        more = [*more, *_empty(source)]
    return Fields(
        source=source,
        grid=Grid(*(first[dim].values.astype(np.float64) for dim in first.dims[1:])),
        times=times,
        months=months,
        units={name: str(variable.attrs.get("units", "")) for name, variable in found.items()},
        calendar=calendar,
        attributes=dict(dataset.attrs),
        notes=(*notes, *more),
        axis=_axis_attributes(first),
        described={name: _described(variable.attrs) for name, variable in found.items()},
    )


def _eastward(variable: Any) -> tuple[Any, list[str]]:
    """A variable (time, latitude, longitude) whose longitudes rise and say each place once."""
    axis = variable.dims[2]
    if variable[axis].ndim != 1 or variable.sizes[axis] < 2:
        return variable, []
    if (np.diff(variable[axis].values) < 0).all():
        variable = variable.isel({axis: slice(None, None, -1)})
    longitude = variable[axis].values.astype(np.float64)
    jumps = np.append(0, np.diff(longitude) < 0)
    if jumps.sum() == 1:  # such as 0 to 180 and on from -180
        longitude = longitude + 360.0 * jumps.cumsum()
        variable = variable.assign_coords({axis: longitude})
    if abs(longitude[-1] - longitude[0] - 360.0) > 1e-3:
        return variable, []
    note = f"The column at {longitude[-1]:g} is the one at {longitude[0]:g} again, and is left out."
    return variable.isel({axis: slice(0, -1)}), [note]


def _described(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of a variable that is true of its fine fields as well."""
    return {name: attributes[name] for name in _KEPT_NAMES if name in attributes}


def _opened(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The data set with decoded dates, or, where they cannot be decoded, with a note of that."""
    xarray = import_extra("xarray", EXTRA)
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    if path.is_file() and not any(
        engine.guess_can_open(str(path)) for engine in xarray.backends.list_engines().values()
    ):
        raise DataError(
            f"{path} is no NetCDF file; name one, or a folder of Zarr; GRIB needs cfgrib."
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


def _empty(source: Mapping[str, NDArray[np.float32]]) -> list[str]:
    """A note for each variable with fields that have no known cell."""
    counts = {name: int(np.isnan(v).all((1, 2)).sum()) for name, v in source.items()}
    return [
        f"{count} of {len(source[name])} fields of {name} have no known cell; they do not count."
        for name, count in counts.items()
        if count
    ]


def _first_line(words: object) -> str:
    return (str(words).splitlines() or [type(words).__name__])[0]


def _chosen(
    dataset: Any, variables: Sequence[str] | None, told: Mapping[str, str | None]
) -> list[str]:
    """The names of variables as the file writes them."""
    known = [str(name) for name in dataset.data_vars]
    fitting = [
        name
        for name in known
        if axis_name(dataset[name], "latitude") and axis_name(dataset[name], "longitude")
    ]
    if variables is None:
        if not fitting and not any(told.values()):
            raise DataError(
                f"No variable has latitudes and longitudes; name the axes, for example "
                f"latitude='y'. There are: {', '.join(known)}."
            )
        return fitting or known
    by_letters = {name.lower(): name for name in known}
    for name in variables:
        if name not in known and name.lower() not in by_letters:
            raise OptionError(
                f"There is no variable {name!r}.{did_you_mean(name, known)} "
                f"There are: {', '.join(fitting or known)}."
            )
    return [name if name in known else by_letters[name.lower()] for name in variables]


def _selected(variable: Any, select: Mapping[str, float], told: Mapping[str, str | None]) -> Any:
    """A variable without the axes that are neither time nor place."""
    places = {axis_name(variable, kind, told[kind]) for kind in _NAMED}
    for dim in [dim for dim in variable.dims if dim not in places]:
        if dim in select:
            variable = variable.sel({dim: select[dim]}, method="nearest")
        elif variable.sizes[dim] == 1:
            variable = variable.isel({dim: 0})
        else:
            raise OptionError(
                f"{variable.name} has a further axis {dim!r} of {variable.sizes[dim]}; choose one "
                f"value, for example select={{{dim!r}: {float(variable[dim][0]):g}}}."
            )
    return variable


def _ordered(variable: Any, axes: Mapping[str, str | None], path: Any) -> Any:
    """A variable as (time, latitude, longitude)."""
    for kind in ("latitude", "longitude"):
        if axes[kind] is None or axes[kind] not in variable.coords:
            raise DataError(
                f"{variable.name} in {path} has no {kind}: its axes are "
                f"{', '.join(map(str, variable.dims))}; name the axis with {kind}=..., and give it "
                "coordinates in degrees."
            )
    if axes["time"] is None:
        variable = variable.expand_dims("time")
    return variable.transpose(axes["time"] or "time", axes["latitude"], axes["longitude"])


def _check_alike(found: Mapping[str, Any]) -> None:
    """Refuse variables of one file that are on other grids or at other times."""
    first, *others = found.values()
    for variable in others:
        same = variable.shape == first.shape and all(
            np.array_equal(variable[dim].values, first[dim].values)
            for dim in first.dims
            if dim in variable.coords and dim in first.coords
        )
        if not same:
            raise DataError(
                f"{variable.name} {variable.shape} is on another grid or at other times than "
                f"{first.name} {first.shape}; open them one by one."
            )


def _axis_attributes(variable: Any) -> dict[str, Any]:
    """What the file says of its time axis."""
    axis = variable.dims[0]
    if axis not in variable.coords:
        return {}
    coordinate = variable[axis]
    kept = {k: v for k, v in coordinate.encoding.items() if k in ("units", "calendar")}
    own = {k: v for k, v in coordinate.attrs.items() if k not in ("bounds", "climatology")}
    return {**own, **kept}  # the variables of bounds are not read


def _times(variable: Any) -> tuple[NDArray[Any], NDArray[np.int64], str]:
    """Times, months and the calendar's name."""
    count, axis = variable.shape[0], variable.dims[0]
    if axis not in variable.coords:
        return np.arange(count), np.zeros(count, np.int64), ""
    coordinate = variable[axis]
    values = coordinate.values
    if values.dtype.kind != "M" and not hasattr(values.flat[0], "month"):
        return values, np.zeros(count, np.int64), ""
    months = np.asarray(coordinate.dt.month.values, np.int64)
    return values, months, str(coordinate.dt.calendar)
