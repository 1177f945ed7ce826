"""Fields from files: NetCDF 3 and 4, Zarr, and what else xarray of the user can open.

file -> variables -> axes (CF) -> times, months, grid -> Fields
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.coordinates import axis_name, says_where
from convarium.data.grids.fields import Fields, without_endless
from convarium.data.grids.further import Selection, at_one, refuse_unknown
from convarium.data.grids.grid import Grid
from convarium.data.grids.joining import in_order, joined
from convarium.data.grids.reading import is_xarray, opened_file, paths_of
from convarium.errors import DataError, OptionError, did_you_mean

_NAMED: Final = ("latitude", "longitude", "time")
_KEPT_NAMES: Final = ("standard_name", "long_name", "cell_methods")
_KEPT: Final = 2**27  # numbers of fields that are kept in memory
HERE: Final = "the data set"  # what an xarray object is called


def open_fields(
    path: Any,
    variables: Sequence[str] | None = None,
    *,
    select: Selection | None = None,
    usual: Selection | None = None,
    latitude: str | None = None,
    longitude: str | None = None,
    time: str | None = None,
) -> Fields:
    """Variables of a file over time, on one regular grid.

    Up to 512 MiB are read at once; of more, each field when it is asked for. Times are brought into
    order, longitudes rise, and a last column that is the first one again is left out.

    Args:
        path: a NetCDF file, a Zarr folder, or GRIB where cfgrib is installed; a pattern of such,
            as winds_*.nc, whose times are put together; or a data set or an array of xarray, with
            chunks of dask or without.
        variables: their names, in any case of letters; None is all that have both axes.
        select: one value of each further axis, such as {"level": 850}; the nearest is taken.
        usual: likewise, where there is such an axis and `select` does not say it.
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
    given = {} if usual is None else usual, {} if select is None else select
    opened: list[tuple[str, Any, tuple[str, ...]]]
    if is_xarray(path):
        whole = path if hasattr(path, "data_vars") else path.to_dataset(name=path.name or "field")
        opened = [(HERE, whole, ())]
    else:
        opened = [(str(each), *opened_file(each)) for each in paths_of(path)]
    found = [
        _of_dataset(dataset, name, notes, _chosen(dataset, variables, told), given, told)
        for name, dataset, notes in opened
    ]
    if sum(variable.size for each in found for variable in each.source.values()) <= _KEPT:
        found = [_in_memory(each) for each in found]
        for name, dataset, _ in opened:
            if name != HERE:
                dataset.close()
    return in_order(joined(found))


def _of_dataset(
    dataset: Any,
    path: str,
    notes: Sequence[str],
    names: Sequence[str],
    given: tuple[Selection, Selection],
    told: Mapping[str, str | None],
) -> Fields:
    """Variables of an xarray data set, not read yet."""
    chosen = [dataset[name] for name in names]
    places = {axis_name(variable, kind, told[kind]) for variable in chosen for kind in _NAMED}
    usual, select = given
    refuse_unknown(select, chosen, places)
    found, said = {}, [*notes]
    for name, whole in zip(names, chosen, strict=True):
        variable, near = at_one(whole, {**usual, **select}, places)
        axes = {kind: axis_name(variable, kind, told[kind]) for kind in _NAMED}
        found[name], more = _eastward(_ordered(variable, axes, path))
        said += [*near, *more]
    _check_alike(found)
    first = found[names[0]]
    times, months, calendar = _times(first)
    return Fields(
        source=found,
        grid=Grid(*(first[dim].values.astype(np.float64) for dim in first.dims[1:])),
        times=times,
        months=months,
        units={name: str(variable.attrs.get("units", "")) for name, variable in found.items()},
        calendar=calendar,
        attributes=dict(dataset.attrs),
        notes=tuple(dict.fromkeys(said)),
        axis=_axis_attributes(first),
        described={name: _described(variable.attrs) for name, variable in found.items()},
    )


def _in_memory(fields: Fields) -> Fields:
    """The same as arrays, with notes of what is not known."""
    source, notes = {}, []
    for name, variable in fields.source.items():
        source[name], count = without_endless(np.asarray(variable))
        if count:
            notes.append(f"{count} numbers of {name} are infinite or beyond 1e30: missing.")
    return replace(fields, source=source, notes=(*fields.notes, *notes, *_empty(source)))


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


def _empty(source: Mapping[str, NDArray[np.float32]]) -> list[str]:
    """A note for each variable with fields that have no known cell."""
    counts = {name: int(np.isnan(v).all((1, 2)).sum()) for name, v in source.items()}
    return [
        f"{count} of {len(source[name])} fields of {name} have no known cell; they do not count."
        for name, count in counts.items()
        if count
    ]


def _chosen(
    dataset: Any, variables: Sequence[str] | None, told: Mapping[str, str | None]
) -> list[str]:
    """The names of variables as the file writes them."""
    known = [str(name) for name in dataset.data_vars]
    fitting = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if axis_name(variable, "latitude") and axis_name(variable, "longitude")
    ]
    if variables is None:
        if not fitting and not any(told.values()):
            raise DataError(
                "No variable has latitudes and longitudes; name the axes: --axis latitude=NAME "
                f"(in Python latitude=...). There are: {', '.join(known)}."
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


def _ordered(variable: Any, axes: Mapping[str, str | None], path: Any) -> Any:
    """A variable as (time, latitude, longitude)."""
    for kind in ("latitude", "longitude"):
        if axes[kind] is None or axes[kind] not in variable.coords:
            wide = [
                str(name)
                for name, each in variable.coords.items()
                if each.ndim > 1 and says_where(variable, str(name))
            ]
            if wide:
                raise DataError(
                    f"{variable.name} in {path} lies on a curvilinear grid ({', '.join(wide)} have "
                    "two axes); bring it to a regular grid of latitudes and longitudes first."
                )
            raise DataError(
                f"{variable.name} in {path} has no {kind}: its axes are "
                f"{', '.join(map(str, variable.dims))}; name the axis with --axis {kind}=NAME (in "
                f"Python {kind}=...), and give it coordinates in degrees."
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
    missing = int(coordinate.isnull().sum())
    if missing:
        raise DataError(f"{missing} of {count} times are missing; leave those fields out.")
    if values.dtype.kind != "M" and not hasattr(values.flat[0], "month"):
        return values, np.zeros(count, np.int64), ""
    months = np.asarray(coordinate.dt.month.values, np.int64)
    return values, months, str(coordinate.dt.calendar)
