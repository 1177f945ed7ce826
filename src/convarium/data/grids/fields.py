"""Variables on one regular grid over time, in memory or read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.grid import Grid
from convarium.errors import DataError

Values = NDArray[np.float32]

_PIECE = 64  # times that are read together
_DAY = 86400.0  # seconds
_ENDLESS = 1e30  # what files without a mark write where nothing is known lies beyond


@dataclass(frozen=True, eq=False)
class Fields:
    """Some variables over the same times and cells.

    Args:
        source: by name, arrays or lazy xarray variables (T, H, W).
        grid: the cells.
        times: dates, as numpy or cftime has them, or numbers where the file has no dates, (T,).
        months: 1 to 12, or 0 where no month is known, (T,).
        units: by name; empty where there are none.
        calendar: of the dates, as CF names it; empty where there are none.
        attributes: what the file says of itself.
        notes: what was found on the way that its user may want to know, a sentence each.
        axis: attributes of the time axis, with its units and its calendar.
        described: by name, what the file says of a variable besides, such as its standard name.

    Example:
        >>> grid = Grid(np.arange(4.0), np.arange(6.0))
        >>> winds = fields_of_arrays({"u": np.ones((5, 4, 6))}, grid, units={"u": "m/s"})
        >>> len(winds), winds.read([0, 1]).shape
        (5, (2, 1, 4, 6))
    """

    source: Mapping[str, Any]
    grid: Grid
    times: NDArray[Any]
    months: NDArray[np.int64]
    units: Mapping[str, str]
    calendar: str = ""
    attributes: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    axis: Mapping[str, Any] = field(default_factory=dict)
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables, in order."""
        return tuple(self.source)

    def read(self, ids: Sequence[int] | NDArray[np.int64]) -> Values:
        """The fields of some times; what is missing, infinite or beyond 1e30 is NaN.

        Args:
            ids: numbers of the times, in any order.

        Shape:
            -> (n, C, H, W), C variables
        """
        chosen = np.asarray(ids, np.int64)
        fields = [np.asarray(variable[chosen]) for variable in self.source.values()]
        return np.stack([without_endless(values)[0] for values in fields], 1)

    def cut(self, rows: slice = slice(None), columns: slice = slice(None)) -> Fields:
        """Some rows and columns."""
        return replace(
            self,
            source={name: v[:, rows, columns] for name, v in self.source.items()},
            grid=self.grid.cut(rows, columns),
        )

    def turned(self, start: float) -> Fields:
        """The same cells with longitudes counted from another one; see `Grid.eastward`."""
        longitude, first = self.grid.eastward(start)
        order = np.roll(np.arange(len(longitude)), -first)
        source = {name: v[:, :, order] for name, v in self.source.items()} if first else self.source
        return replace(self, source=source, grid=Grid(self.grid.latitude, longitude))

    def region(self, south: float, north: float, west: float, east: float) -> Fields:
        """The cells whose middles lie within these degrees, from west to east.

        Longitudes may be counted from elsewhere: -10 to 40 is 350 to 400, and 350 to 40 as well.

        Raises:
            DataError: there are none.
        """
        east += 360.0 * (west > east)
        fields = self.turned(west) if east - west < 360.0 else self
        lat, lon = fields.grid.latitude, fields.grid.longitude
        rows = np.flatnonzero((lat >= south) & (lat <= north))
        columns = np.flatnonzero((lon >= west) & (lon <= east))
        if not len(rows) or not len(columns):
            own = self.grid.longitude
            raise DataError(
                f"No cell lies within {south:g} to {north:g} degrees north and {west:g} to "
                f"{east:g} east; the grid has {lat.min():g} to {lat.max():g} and {own.min():g} to "
                f"{own.max():g}."
            )
        return fields.cut(slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))

    def at(self, ids: NDArray[np.int64]) -> Fields:
        """The fields of some times."""
        return replace(
            self,
            source={name: v[ids] for name, v in self.source.items()},
            times=self.times[ids],
            months=self.months[ids],
        )

    def only(self, names: Sequence[str]) -> Fields:
        """Some of the variables, in the order of the names."""
        return replace(self, source={name: self.source[name] for name in names})


def without_endless(values: NDArray[Any]) -> tuple[Values, int]:
    """Numbers as float32 with NaN for those that are infinite or beyond 1e30, and their count.

    >>> without_endless(np.array([1.0, np.inf, -1e34]))[1]
    2
    """
    if values.size and values.dtype.kind == "f":
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if low < -_ENDLESS or high > _ENDLESS:
            endless = np.abs(values) > _ENDLESS
            return np.where(endless, np.nan, values).astype(np.float32), int(endless.sum())
    return np.asarray(values, np.float32), 0


def days_apart(times: NDArray[Any]) -> float | None:
    """The usual distance of dates in days, their median; None of one time, or where there are none.

    >>> days_apart(np.arange("2000-01", "2004-01", dtype="datetime64[M]"))
    31.0
    """
    if len(times) < 2 or not (times.dtype.kind == "M" or hasattr(times[0], "year")):
        return None
    dates = np.sort(times)
    if dates.dtype.kind == "M":
        seconds = np.diff(dates.astype("datetime64[s]")).astype(np.float64)
    else:
        seconds = np.array([each.total_seconds() for each in np.diff(dates)])
    return float(np.median(seconds)) / _DAY


def pieces(ids: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Numbers of times, as many at once as are read together."""
    return (ids[start : start + _PIECE] for start in range(0, len(ids), _PIECE))


def fields_of_arrays(
    source: Mapping[str, NDArray[Any]],
    grid: Grid,
    *,
    times: NDArray[Any] | None = None,
    months: NDArray[np.int64] | None = None,
    units: Mapping[str, str] | None = None,
) -> Fields:
    """Fields from arrays in memory.

    Args:
        source: by name, (T, H, W) each.
        grid: the cells.
        times: of the fields; None counts them.
        months: 1 to 12; None is unknown.
        units: by name; None is none.

    Raises:
        DataError: arrays of other sizes than the grid, or of unequal lengths.
    """
    lengths = {len(values) for values in source.values()}
    shapes = {values.shape[1:] for values in source.values()}
    if len(lengths) != 1 or shapes != {grid.shape}:
        raise DataError(
            f"Fields of shapes {sorted(v.shape for v in source.values())} do not fit a grid of "
            f"{grid.shape} cells; give (T, H, W) each, with one T."
        )
    count = lengths.pop()
    return Fields(
        source=source,
        grid=grid,
        times=np.arange(count) if times is None else times,
        months=np.zeros(count, np.int64) if months is None else np.asarray(months, np.int64),
        units=units or dict.fromkeys(source, ""),
    )
