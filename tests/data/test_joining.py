"""Fields of several files, and units that are written otherwise."""

import numpy as np
import pytest

from convarium import data
from convarium.data.grids import opening
from convarium.data.grids.opening import open_fields
from convarium.data.grids.units import same_units
from convarium.errors import DataError, OptionError

xarray = pytest.importorskip("xarray")


def write(path, begin, count=6, *, units="m/s", columns=12, calendar="standard"):
    """Months from a year on; each value is its month's number."""
    dates = xarray.date_range(f"{begin}-01-01", periods=count, freq="MS", calendar=calendar)
    numbers = (begin - 1990) * 12 + np.arange(count, dtype="f4")
    values = np.broadcast_to(numbers[:, None, None], (count, 8, columns)).copy()
    coords = {
        "time": dates,
        "lat": ("lat", np.linspace(-70, 70, 8), {"units": "degrees_north"}),
        "lon": ("lon", 30.0 * np.arange(columns), {"units": "degrees_east"}),
    }
    variable = (("time", "lat", "lon"), values, {"units": units})
    xarray.Dataset({"u": variable}, coords).to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("kept", [True, False])
def test_a_pattern_of_files_is_one_field_in_the_order_of_time(tmp_path, monkeypatch, kept):
    write(tmp_path / "u_a.nc", 1992, units="m s-1")
    write(tmp_path / "u_b.nc", 1990)
    write(tmp_path / "u_c.nc", 1991)
    if not kept:
        monkeypatch.setattr(opening, "_KEPT", 0)
    fields = open_fields(tmp_path / "u_*.nc")
    assert len(fields) == 18
    assert "sorted" in fields.notes[-1]
    numbers = [*range(6), *range(12, 18), *range(24, 30)]
    assert fields.read(range(18))[:, 0, 3, 5].tolist() == numbers
    part = fields.cut(slice(2, 4), slice(0, 6)).at(np.array([13, 2]))
    assert part.read([1, 0])[:, 0].mean((1, 2)).tolist() == [2, 25]
    dataset = data.open_dataset(str(tmp_path / "u_*.nc"), fields={"factor": (4, 4)})
    assert len(dataset) == 18
    assert dataset.read(7).fine.max() == 13


def test_files_that_do_not_go_together_are_refused(tmp_path):
    write(tmp_path / "a1.nc", 1990)
    write(tmp_path / "a2.nc", 1991, columns=10)
    with pytest.raises(DataError, match="different cells"):
        open_fields(tmp_path / "a*.nc")
    write(tmp_path / "a2.nc", 1991, units="km/h")
    with pytest.raises(DataError, match="different units"):
        open_fields(tmp_path / "a*.nc")
    write(tmp_path / "a2.nc", 1991, calendar="noleap")
    with pytest.raises(DataError, match="different calendar"):
        open_fields(tmp_path / "a*.nc")
    with pytest.raises((DataError, OptionError), match="No file is called"):
        open_fields(tmp_path / "b*.nc")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("m/s", "m s-1"),
        ("m s**-1", "meter second-1"),
        ("K", "degK"),
        ("kelvin", "degrees_Kelvin"),
        ("kg m-2 s-1", "kg/m2/s"),
        ("kg m^-2 s^-1", "kg m**-2 s**-1"),
        ("mm/day", "mm d-1"),
        ("hPa", "millibar"),
        ("degC", "celsius"),
        ("1", ""),
    ],
)
def test_units_that_are_the_same(one, other):
    assert same_units(one, other)
    assert same_units(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("m/s", "km/s"), ("K", "degC"), ("mm/day", "mm s-1"), ("m", "m2"), ("Pa", "hPa"), ("", "K")],
)
def test_units_that_are_not(one, other):
    assert not same_units(one, other)
