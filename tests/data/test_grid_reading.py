"""What is read of gridded files: further axes, several files, GRIB, xarray and dask, gaps."""

import numpy as np
import pytest

from convarium import data
from convarium.data.grids import opening
from convarium.data.grids.opening import open_fields
from convarium.data.grids.reading import axes_there
from convarium.errors import DataError, OptionError
from convarium.serve import field_process

xarray = pytest.importorskip("xarray")


def field(count=6, *, first="2000-01-01", freq="MS", shape=(4, 6), levels=None, name="u"):
    """A field whose values are the number of the time, and 1000 times that of the level more."""
    lat, lon = np.linspace(-30, 30, shape[0]), 10.0 * np.arange(shape[1])
    coords = {
        "time": xarray.date_range(first, periods=count, freq=freq),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    values = np.broadcast_to(np.arange(count, dtype="f4")[:, None, None], (count, *shape)).copy()
    dims = ("time", "lat", "lon")
    if levels is not None:
        values = np.stack([values + 1000 * k for k in range(len(levels))], 1)
        coords["level"], dims = np.array(levels), ("time", "level", "lat", "lon")
    return xarray.DataArray(values, coords, dims, name, {"units": "m/s"}).to_dataset()


def first_of(found):
    return found.read([0])[0, 0, 0, 0]


def test_a_value_of_a_further_axis_is_on_that_axis():
    fields = field(levels=[1000.0, 850.0, 500.0])
    assert first_of(open_fields(fields, select={"level": 850})) == 1000
    near = open_fields(fields, select={"level": 480})
    assert first_of(near) == 2000
    assert "level is 500, the nearest to 480." in near.notes
    with pytest.raises(OptionError, match=r"level=85000.* is not on the axis.* 1000, 850, 500"):
        open_fields(fields, select={"level": 85000})
    with pytest.raises(OptionError, match=r"'levle'.*Did you mean 'level'"):
        open_fields(fields, select={"levle": 850})
    with pytest.raises(OptionError, match=r"--select level=1000 \(in Python select=\{'level'"):
        open_fields(fields)
    with pytest.raises(OptionError, match="is not on the axis"):
        open_fields(field(levels=[1000.0]), select={"level": 500})
    single = fields.isel(level=1)  # a file of one level says so without an axis
    assert len(open_fields(single, select={"level": 850})) == 6
    with pytest.raises(OptionError, match="is not on the axis"):
        open_fields(single, select={"level": 500})
    assert len(open_fields(field(), usual={"level": 850})) == 6  # of another file


def test_members_are_chosen_by_name():
    fields = field(levels=["r1i1p1", "r2i1p1"]).rename(level="member")
    assert first_of(open_fields(fields, select={"member": "r2i1p1"})) == 1000
    with pytest.raises(OptionError, match="Did you mean 'r2i1p1'"):
        open_fields(fields, select={"member": "r2i1p"})
    with pytest.raises(OptionError, match="--select member=r1i1p1"):
        open_fields(fields)
    digits = field(levels=["1", "01"]).rename(level="member")
    chosen = data.FieldOptions(select=("member=01",)).chosen
    assert first_of(open_fields(digits, select=chosen)) == 1000
    assert data.FieldOptions(select=("member=r2i1p1",)).chosen == {"member": "r2i1p1"}
    with pytest.raises(OptionError, match="AXIS=VALUE"):
        _ = data.FieldOptions(select=("member",)).chosen


def test_spans_of_time_are_chosen_by_their_hours():
    spans = np.array([0, 6, 12], "timedelta64[h]").astype("timedelta64[ns]")
    fields = field(levels=spans).rename(level="step")
    for said in (6, 6.0, "6"):
        assert first_of(open_fields(fields, select={"step": said})) == 1000
    with pytest.raises(OptionError, match=r"step=0 \(in Python"):
        open_fields(fields)
    with pytest.raises(OptionError, match=r"step=48.* It has: 0, 6, 12"):
        open_fields(fields.isel(step=slice(3)), select={"step": "48"})
    with pytest.raises(OptionError, match="It has: 6"):
        open_fields(fields.isel(step=1), select={"step": 12})


def test_axes_of_a_model_and_of_observations_are_told_apart(tmp_path):
    fine = field(shape=(8, 12)).assign_coords(
        lat=("lat", np.linspace(-35, 35, 8), {"units": "degrees_north"}),
        lon=("lon", 5.0 * np.arange(12) - 2.5, {"units": "degrees_east"}),
    )
    coarse = field(levels=[1000.0, 850.0]).assign_coords(
        lat=("lat", np.linspace(-30, 30, 4), {"units": "degrees_north"})
    )
    coarse.to_netcdf(tmp_path / "coarse.nc", engine="h5netcdf")
    fine.to_netcdf(tmp_path / "fine.nc", engine="h5netcdf")
    options = {"fine": str(tmp_path / "fine.nc"), "select": ["level=850"]}
    opened = data.open_dataset(str(tmp_path / "coarse.nc"), fields=options)
    assert opened.samples.pairs.factor == (2, 2)
    assert opened.read(3).coarse.max() == 1003
    with pytest.raises(OptionError, match="'levle'"):
        data.open_dataset(str(tmp_path / "coarse.nc"), fields={**options, "select": ["levle=850"]})


def test_axes_that_only_another_file_has_are_looked_for(tmp_path):
    fields = field()
    fields.to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
    learnt = {"latitude": "rows", "longitude": "lon", "time": None}
    for source in (fields, tmp_path / "u.nc"):
        assert axes_there(source, learnt) == {**learnt, "latitude": None}
    content = (tmp_path / "u.nc").read_bytes()
    request = field_process.Request(content, ("u",), 10**6, axes=learnt)
    assert field_process.opened(request).grid.shape == (4, 6)


@pytest.mark.parametrize("kept", [True, False])
def test_numbers_that_are_none_are_missing(monkeypatch, kept):
    fields = field()
    fields["u"][0, 0, :4] = [np.inf, -np.inf, 9.96921e36, -1e34]
    if not kept:
        monkeypatch.setattr(opening, "_KEPT", 0)
    found = open_fields(fields)
    assert np.isnan(found.read([0])[0, 0, 0]).tolist() == [True] * 4 + [False] * 2
    assert not np.isnan(found.read([1])).any()
    assert any("4 numbers of u are infinite" in note for note in found.notes) == kept


def test_what_is_kept_in_memory_is_the_sum_of_all_files(tmp_path, monkeypatch):
    for k in range(3):
        path = tmp_path / f"u_{k}.nc"
        field(first=f"200{k}-01-01").to_netcdf(path, engine="h5netcdf")
    monkeypatch.setattr(opening, "_KEPT", 2 * 6 * 24)
    found = open_fields(tmp_path / "u_*.nc")
    assert not isinstance(found.source["u"], np.ndarray)
    assert found.read([3, 13])[:, 0, 0, 0].tolist() == [3, 1]
    monkeypatch.setattr(opening, "_KEPT", 3 * 6 * 24)
    assert isinstance(open_fields(tmp_path / "u_*.nc").source["u"], np.ndarray)


def test_times_that_are_numbers_are_brought_into_order(tmp_path):
    fields = field()
    numbered = fields.assign_coords(time=np.array([5, 3, 4, 1, 1, 0]))
    found = open_fields(numbered)
    assert found.times.tolist() == [0, 1, 1, 3, 4, 5]
    assert found.read(range(6))[:, 0, 0, 0].tolist() == [5, 3, 4, 1, 2, 0]
    assert any("sorted" in note for note in found.notes)
    assert any("1 times are there again" in note for note in found.notes)
    for k in range(2):  # files that only count their fields are counted on
        plain = (fields + 10 * k).drop_vars("time")
        plain.to_netcdf(tmp_path / f"n_{k}.nc", engine="h5netcdf")
    counted = open_fields(tmp_path / "n_*.nc")
    assert counted.times.tolist() == list(range(12))
    assert counted.read([5, 6])[:, 0, 0, 0].tolist() == [5, 10]
    for k in range(2):  # numbers from different origins cannot be put together
        units = {"units": f"months since {1990 + k}-01-01"}
        own = fields.assign_coords(time=("time", np.arange(6), units))
        own.to_netcdf(tmp_path / f"o_{k}.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="origins of times"):
        open_fields(tmp_path / "o_*.nc")
    dates = fields.time.values.copy()
    dates[2] = np.datetime64("NaT")
    with pytest.raises(DataError, match="1 of 6 times are missing"):
        open_fields(fields.assign_coords(time=dates))


def test_days_are_no_means_of_months():
    daily, monthly = field(60, freq="D"), field(2)
    with pytest.raises(DataError, match=r"every 1 days and the fine ones every 31; bring both"):
        data.model_pairs(open_fields(daily), open_fields(monthly), ["u"])
    pairs = data.model_pairs(open_fields(monthly), open_fields(field(4)), ["u"])
    assert len(pairs) == 2
    often, noon = field(40, freq="6h"), field(10, first="2000-01-01 12:00", freq="D")
    pairs = data.model_pairs(open_fields(often), open_fields(noon), ["u"])
    assert pairs.read([0, 3])[0][:, 0, 0, 0].tolist() == [2, 14]
    for other in (field(2), field(5, freq="5D")):  # whose first stamps may be those of means
        with pytest.raises(DataError, match=r"every 0.25 days"):
            data.model_pairs(open_fields(field(400, freq="6h")), open_fields(other), ["u"])


def test_a_target_that_never_changes_is_refused():
    fields = field(12)
    parts = data.split(data.open_dataset(fields * 0 + 2, fields={"factor": (2, 2)}))
    with pytest.raises(DataError, match="u is 2 in all cells and times of the training"):
        data.fit_preprocessing(parts.train)


def test_data_of_xarray_is_read_as_its_file_is(tmp_path):
    fields = field()
    fields.to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
    options = {"factor": (2, 2)}
    one = data.open_dataset(str(tmp_path / "u.nc"), fields=options)
    for given in (fields, fields["u"]):
        other = data.open_dataset(given, fields=options)
        assert other.fingerprint() == one.fingerprint()
        assert other.name(2) == "2000-03-01"


def test_chunks_of_dask_are_read_when_they_are_asked_for(monkeypatch):
    pytest.importorskip("dask")
    from dask.callbacks import Callback

    class Counted(Callback):
        asked = 0

        def _pretask(self, key, dsk, state):
            type(self).asked += 1

    monkeypatch.setattr(opening, "_KEPT", 0)
    with Counted():
        found = open_fields(field().chunk(time=2))
        assert Counted.asked == 0
        assert found.read([4, 1])[:, 0, 0, 0].tolist() == [4, 1]
        assert Counted.asked > 0


def grib(path, values, *, levels=(850,), level_kind="isobaricInhPa", step=0, name="u"):
    """Messages at 00 UTC of days and at levels, as eccodes writes them."""
    eccodes = pytest.importorskip("eccodes")
    count, rows, columns = values.shape
    with open(path, "ab") as file:
        for day in range(count):
            for level in levels:
                message = eccodes.codes_grib_new_from_samples("regular_ll_pl_grib2")
                for key, value in {
                    "shortName": name,
                    "typeOfLevel": level_kind,
                    "level": level,
                    "dataDate": 20000101 + day,
                    "step": step,
                    "Ni": columns,
                    "Nj": rows,
                    "latitudeOfFirstGridPointInDegrees": 30.0,
                    "latitudeOfLastGridPointInDegrees": 30.0 - 5 * (rows - 1),
                    "longitudeOfFirstGridPointInDegrees": 0.0,
                    "longitudeOfLastGridPointInDegrees": 5.0 * (columns - 1),
                    "iDirectionIncrementInDegrees": 5.0,
                    "jDirectionIncrementInDegrees": 5.0,
                    "bitsPerValue": 24,
                }.items():
                    eccodes.codes_set(message, key, value)
                eccodes.codes_set_values(message, (values[day] + level).reshape(-1))
                eccodes.codes_write(message, file)
                eccodes.codes_release(message)


def test_grib_is_read_and_nothing_is_written_beside_it(tmp_path):
    pytest.importorskip("cfgrib")
    values = np.random.default_rng(0).normal(size=(4, 6, 8))
    path = tmp_path / "u.grib2"
    grib(path, values, levels=(850, 500))
    found = open_fields(path, select={"isobaricInhPa": 850})
    np.testing.assert_allclose(found.read(range(4))[:, 0], values + 850, atol=1e-3)
    assert found.grid.latitude.tolist() == [30, 25, 20, 15, 10, 5]
    assert (found.months.tolist(), found.units) == ([1] * 4, {"u": "m s**-1"})
    assert [each.name for each in tmp_path.iterdir()] == ["u.grib2"]
    opened = data.open_dataset(
        str(path), fields={"factor": (2, 2), "select": ["isobaricInhPa=500"]}
    )
    assert opened.read(1).fine.shape == (1, 6, 8)
    grib(path, values, levels=(300,), level_kind="heightAboveSea")
    at_ground = open_fields(path, ["u_heightAboveSea"])
    np.testing.assert_allclose(at_ground.read([2])[0, 0], values[2] + 300, atol=1e-3)
    (tmp_path / "no.grib").write_bytes(b"no GRIB")
    with pytest.raises(DataError, match="GRIB"):
        open_fields(tmp_path / "no.grib")


def test_steps_of_a_forecast_are_its_times(tmp_path):
    pytest.importorskip("cfgrib")
    path = tmp_path / "steps.grb"
    for hours in (0, 6, 12):
        grib(path, np.full((1, 4, 4), hours), step=hours)
    found = open_fields(path)
    hours = (found.times - found.times[0]) / np.timedelta64(1, "h")
    assert hours.tolist() == [0, 6, 12]
    assert found.read([2]).mean() == pytest.approx(862)


def test_a_damaged_file_is_refused(tmp_path):
    pytest.importorskip("cfgrib")
    path = tmp_path / "u.grib2"
    grib(path, np.zeros((4, 6, 8)))
    assert len(open_fields(path)) == 4
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"u.grib2 cannot be read as GRIB: .*is it whole"):
        open_fields(path)


def test_variables_of_a_grib_file_keep_their_own_axes(tmp_path):
    pytest.importorskip("cfgrib")
    path, values = tmp_path / "both.grib2", np.random.default_rng(0).normal(size=(3, 6, 8))
    grib(path, values, levels=(850, 500))
    grib(path, 2 * values, levels=(1000, 850), name="v")
    for level, name, factor in ((500, "u", 1), (850, "u", 1), (850, "v", 2), (1000, "v", 2)):
        found = open_fields(path, [name], select={"isobaricInhPa": level})
        np.testing.assert_allclose(found.read(range(3))[:, 0], factor * values + level, atol=1e-3)
    assert open_fields(path, ["u", "v"], select={"isobaricInhPa": 850}).names == ("u", "v")
    with pytest.raises(OptionError, match=r"isobaricInhPa=500.* is not on the axis"):
        open_fields(path, ["u", "v"], select={"isobaricInhPa": 500})


def test_a_grib_file_of_one_level_says_which(tmp_path):
    pytest.importorskip("cfgrib")
    grib(tmp_path / "500.grib2", np.zeros((2, 6, 8)), levels=(500,))
    for given in ("select", "usual"):
        with pytest.raises(OptionError, match=r"isobaricInhPa=850.* is not on the axis.* 500"):
            open_fields(tmp_path / "500.grib2", **{given: {"isobaricInhPa": "850"}})
    assert len(open_fields(tmp_path / "500.grib2", usual={"isobaricInhPa": "500"})) == 2


def test_a_grib_variable_that_is_there_twice_is_refused_where_it_is_asked_for(tmp_path):
    pytest.importorskip("cfgrib")
    path = tmp_path / "grids.grib2"
    for rows in (6, 4):
        grib(path, np.zeros((2, rows, 8)))
    grib(path, np.zeros((2, 6, 8)), name="v")
    assert len(open_fields(path, ["v"])) == 2
    with pytest.raises(DataError, match="u_isobaricInhPa is there several times"):
        open_fields(path, ["u_isobaricInhPa"])
