"""Fields from files: NetCDF 3 and 4 and Zarr, axes by CF, calendars, and what is refused."""

import numpy as np
import pytest

from convarium.data.grids import opening
from convarium.data.grids.opening import open_fields
from convarium.errors import DataError, OptionError

xarray = pytest.importorskip("xarray")


def dataset(count=24, *, calendar="standard", lat="lat", lon="lon", **attributes):
    """Two variables on a small grid, a field each month."""
    dates = xarray.date_range("1999-01-01", periods=count, freq="MS", calendar=calendar)
    rows, columns = np.linspace(60, -60, 7), np.arange(0, 360, 30.0)
    values = np.arange(count * 7 * 12, dtype="f4").reshape(count, 7, 12)
    coords = {
        "time": dates,
        lat: (lat, rows, {"units": "degrees_north"}),
        lon: (lon, columns, {"units": "degrees_east"}),
    }
    return xarray.Dataset(
        {
            "UWND": (("time", lat, lon), values, {"units": "m/s"}),
            "vwnd": (("time", lat, lon), -values, {"units": "m/s"}),
        },
        coords,
        {"title": "made", **attributes},
    )


FORMATS = {"three.nc": "NETCDF3_64BIT", "four.nc": "NETCDF4"}


@pytest.mark.parametrize("name", [*FORMATS, "store.zarr"])
def test_every_format_gives_the_same_fields(name, tmp_path):
    path, made = tmp_path / name, dataset()
    if name.endswith("zarr"):
        made.to_zarr(path, consolidated=False)
    else:
        engine = "scipy" if FORMATS[name] == "NETCDF3_64BIT" else "h5netcdf"
        made.to_netcdf(path, format=FORMATS[name], engine=engine)
    fields = open_fields(path, ["uwnd", "vwnd"])
    assert fields.names == ("UWND", "vwnd")
    assert fields.units == {"UWND": "m/s", "vwnd": "m/s"}
    assert (len(fields), fields.grid.shape, fields.grid.wraps) == (24, (7, 12), True)
    assert fields.months.tolist() == [*range(1, 13)] * 2
    assert fields.attributes["title"] == "made"
    assert fields.notes == ()
    expected = np.stack([made.UWND.values, made.vwnd.values], 1)
    np.testing.assert_array_equal(fields.read([5, 0, 5]), expected[[5, 0, 5]])
    south = fields.region(-90, 0, 0, 360).at(np.array([2, 3]))
    np.testing.assert_array_equal(south.read([1]), expected[[3]][:, :, 3:])


@pytest.mark.parametrize("calendar", ["360_day", "noleap", "julian"])
def test_calendars_of_models_have_months(calendar, tmp_path):
    dataset(calendar=calendar).to_netcdf(tmp_path / "model.nc", engine="h5netcdf")
    fields = open_fields(tmp_path / "model.nc")
    assert fields.calendar == calendar
    assert fields.months.tolist() == [*range(1, 13)] * 2


def test_unknown_dates_are_counted_with_a_note(tmp_path):
    made = dataset()
    made["time"] = ("time", np.arange(24.0), {"units": "days since 1999-01-01", "calendar": "moon"})
    made.to_netcdf(tmp_path / "moon.nc", engine="h5netcdf")
    fields = open_fields(tmp_path / "moon.nc")
    assert fields.months.tolist() == [0] * 24
    assert "cannot be understood" in fields.notes[0]


def test_missing_values_are_nan(tmp_path):
    made = dataset()
    made.UWND[3, 2, 1] = np.nan
    made.vwnd[5:7] = np.nan
    made.to_netcdf(
        tmp_path / "holes.nc",
        engine="h5netcdf",
        encoding={"UWND": {"_FillValue": -999.0, "dtype": "f4"}},
    )
    found = np.isnan(open_fields(tmp_path / "holes.nc", ["UWND"]).read(range(24)))
    assert open_fields(tmp_path / "holes.nc").notes == (
        "2 of 24 fields of vwnd have no known cell; they do not count.",
    )
    assert found.sum() == 1
    assert found[3, 0, 2, 1]


def test_packed_numbers_are_unpacked(tmp_path):
    made = dataset(4)
    packing = {"dtype": "i2", "scale_factor": 0.5, "add_offset": 100.0, "_FillValue": -1}
    made.to_netcdf(tmp_path / "packed.nc", engine="h5netcdf", encoding={"UWND": packing})
    found = open_fields(tmp_path / "packed.nc", ["UWND"]).read([1])
    np.testing.assert_allclose(found[0, 0], made.UWND.values[1], atol=0.25)


@pytest.mark.parametrize(("lat", "lon"), [("LAT1", "LON2_1"), ("y", "x"), ("rows", "columns")])
def test_axes_are_found_by_units_and_names(lat, lon, tmp_path):
    dataset(lat=lat, lon=lon).to_netcdf(tmp_path / "named.nc", engine="h5netcdf")
    assert open_fields(tmp_path / "named.nc").grid.shape == (7, 12)


def test_axes_can_be_told_and_further_axes_are_chosen_from(tmp_path):
    made = dataset().drop_attrs()
    made = made.rename(lat="rows", lon="columns").expand_dims(level=[1000.0, 850.0, 500.0])
    made = made * (made.level / 1000)
    made.to_netcdf(tmp_path / "levels.nc", engine="h5netcdf")
    told = {"latitude": "rows", "longitude": "columns"}
    fields = open_fields(tmp_path / "levels.nc", ["UWND"], select={"level": 840}, **told)
    np.testing.assert_allclose(fields.read([1])[0, 0], 0.85 * made.UWND[0, 1].values, rtol=1e-6)
    with pytest.raises(OptionError, match=r"further axis 'level' of 3.*select=\{'level': 1000\}"):
        open_fields(tmp_path / "levels.nc", ["UWND"], **told)
    with pytest.raises(DataError, match="No variable has latitudes and longitudes"):
        open_fields(tmp_path / "levels.nc")
    with pytest.raises(DataError, match=r"has no axis 'row'\. Did you mean 'rows'"):
        open_fields(tmp_path / "levels.nc", ["UWND"], latitude="row", longitude="columns")


def test_what_cannot_be_read_is_told_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_fields(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no data")
    with pytest.raises(DataError, match=r"text.nc is no NetCDF file"):
        open_fields(tmp_path / "text.nc")
    dataset().to_netcdf(tmp_path / "good.nc", engine="h5netcdf")
    (tmp_path / "cut.nc").write_bytes((tmp_path / "good.nc").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"cut.nc cannot be read: .*truncated"):
        open_fields(tmp_path / "cut.nc")
    with pytest.raises(OptionError, match=r"no variable 'uwind'. Did you mean 'UWND'|no variable"):
        open_fields(tmp_path / "good.nc", ["uwind"])
    dataset().drop_vars("lat").to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="has no latitude"):
        open_fields(tmp_path / "bare.nc", ["UWND"])
    curved = dataset().rename(lat="y", lon="x").drop_vars(["y", "x"])
    curved = curved.assign_coords(
        {name: (("y", "x"), np.zeros((7, 12))) for name in ("lat", "lon")}
    )
    curved.to_netcdf(tmp_path / "curved.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"curvilinear grid \(lat, lon have two axes\)"):
        open_fields(tmp_path / "curved.nc", ["UWND"])
    reduced = dataset().drop_vars(["lat", "lon"])  # dates of two axes say nothing of places
    reduced = reduced.assign_coords(valid_time=(("lat", "lon"), np.zeros((7, 12))))
    reduced.to_netcdf(tmp_path / "reduced.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="has no latitude"):
        open_fields(tmp_path / "reduced.nc", ["UWND"])
    mixed = dataset()
    mixed["coarse"] = (("time", "lat2", "lon2"), np.zeros((24, 2, 3)))
    mixed = mixed.assign_coords(lat2=[0.0, 1.0], lon2=[0.0, 1.0, 2.0])
    mixed.to_netcdf(tmp_path / "mixed.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="is on another grid"):
        open_fields(tmp_path / "mixed.nc", ["UWND", "coarse"])


def test_large_files_are_read_field_by_field(tmp_path, monkeypatch):
    made = dataset()
    made.to_netcdf(tmp_path / "large.nc", engine="h5netcdf")
    whole = open_fields(tmp_path / "large.nc")
    monkeypatch.setattr(opening, "_KEPT", 100)
    lazy = open_fields(tmp_path / "large.nc")
    assert not isinstance(lazy.source["UWND"], np.ndarray)
    np.testing.assert_array_equal(lazy.read([7, 2]), whole.read([7, 2]))
    part = lazy.region(-90, 0, 0, 100).at(np.array([3, 9]))
    np.testing.assert_array_equal(part.read([1]), whole.read([9])[:, :, 3:, :4])
    for variable in lazy.source.values():
        variable.close()
