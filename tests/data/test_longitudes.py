"""Longitudes count the same cells whichever turn they are counted in, and time only once."""

import numpy as np
import pytest
import torch

from convarium import data
from convarium.data.grids.coarse import open_coarse
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import fields_of_arrays
from convarium.data.grids.grid import Grid
from convarium.data.grids.matching import match_fields
from convarium.data.grids.opening import open_fields
from convarium.data.grids.pairs import model_pairs

xarray = pytest.importorskip("xarray")


def made(count=4, columns=24, seed=0):
    """Fields on a globe of 12 rows."""
    grid = Grid(-82.5 + 15 * np.arange(12.0), 360 * (np.arange(columns) + 0.5) / columns)
    values = np.random.default_rng(seed).normal(size=(count, 12, columns)).astype("f4")
    months = np.arange(count) % 12 + 1
    return fields_of_arrays({"u": values}, grid, months=months, units={"u": "m/s"})


def write(path, fields, longitude=None, *, times=None):
    """A file of fields, with longitudes as they are told."""
    lon = fields.grid.longitude if longitude is None else longitude
    dates = xarray.date_range("2001-01-16", periods=len(fields), freq="MS")
    coords = {
        "time": dates if times is None else times,
        "lat": ("lat", fields.grid.latitude, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    values = fields.read(range(len(fields)))[:, 0]
    variable = (("time", "lat", "lon"), values, {"units": "m/s", "standard_name": "eastward_wind"})
    xarray.Dataset({"u": variable}, coords).to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("start", [-180.0, -7.0, 0.0, 100.0, 350.0, 720.0])
def test_a_circle_begins_where_it_is_asked_to(start):
    fields = made(2)
    turned = fields.turned(start)
    lon = turned.grid.longitude
    assert turned.grid.wraps
    assert start <= lon[0] < start + 15
    for cell in (0, 7, 23):
        place = np.flatnonzero(np.abs((lon - fields.grid.longitude[cell]) % 360) < 1e-9)
        np.testing.assert_array_equal(turned.read([1])[..., place[0]], fields.read([1])[..., cell])
    part = fields.cut(columns=slice(10, 14)).turned(start)
    assert start <= part.grid.longitude[-1] < start + 360
    np.testing.assert_array_equal(part.read([0]), fields.read([0])[..., 10:14])


@pytest.mark.parametrize("west_east", [(-20, 40), (340, 40), (340, 400)])
def test_regions_may_reach_over_the_first_longitude(west_east):
    fields = made()
    part = fields.region(-30, 30, *west_east)
    np.testing.assert_allclose(part.grid.longitude % 360, [352.5, 7.5, 22.5, 37.5])
    expected = fields.read([2])[..., 4:8, [23, 0, 1, 2]]
    np.testing.assert_array_equal(part.read([2]), expected)
    again = fields.turned(-180).region(-30, 30, *west_east)
    np.testing.assert_array_equal(again.read([2]), expected)


def test_a_model_and_observations_may_count_from_elsewhere():
    fine = made(6)
    x = coarsen(fine.read(range(6)), (4, 4))
    whole = fields_of_arrays({"u": x[:, 0]}, fine.grid.coarse((4, 4)), units={"u": "m/s"})
    for coarse in (whole, whole.turned(-180), whole.turned(100)):
        pairs = model_pairs(coarse, fine, ["u"])
        assert pairs.wrap
        read, y = pairs.read([3])
        np.testing.assert_allclose(coarsen(y, (4, 4)), read, atol=1e-6)
    part = fine.region(-90, 90, -60, 60).turned(300)
    for coarse in (whole, whole.turned(-180)):
        one, other, factor = match_fields(coarse, part)
        assert (one.grid.shape, other.grid.shape, factor) == ((3, 2), (12, 8), (4, 4))
        np.testing.assert_allclose(coarsen(other.read([3]), (4, 4)), one.read([3]), atol=1e-6)


def test_files_say_each_column_once_from_west_to_east(tmp_path):
    fields = made()
    lon = fields.grid.longitude
    cyclic = fields_of_arrays(
        {"u": np.concatenate([fields.source["u"], fields.source["u"][..., :1]], -1)},
        Grid(fields.grid.latitude, np.append(lon, lon[0] + 360)),
    )
    found = open_fields(write(tmp_path / "cyclic.nc", cyclic))
    assert found.grid.wraps
    assert "367.5 is the one at 7.5 again" in found.notes[0]
    jump = np.where(lon > 180, lon - 360, lon)  # 7.5 to 172.5, and on from -172.5
    broken = open_fields(write(tmp_path / "jump.nc", fields, jump))
    falling = fields_of_arrays({"u": fields.source["u"][..., ::-1]}, fields.grid)
    turned = open_fields(write(tmp_path / "falling.nc", falling, lon[::-1]))
    for each in (found, broken, turned):
        np.testing.assert_allclose(each.grid.longitude, lon)
        np.testing.assert_array_equal(each.read([1, 2]), fields.read([1, 2]))


def test_a_network_of_one_circle_reads_others(tmp_path):
    fields = made(24)
    dataset = data.open_dataset(str(write(tmp_path / "fine.nc", fields)), fields={"factor": (4, 4)})
    steps = data.fit_preprocessing(data.split(dataset).train)
    x = fields_of_arrays(
        {"u": coarsen(fields.read(range(24)), (4, 4), fields.grid.areas)[:, 0]},
        fields.grid.coarse((4, 4)),
    )
    own = open_coarse(write(tmp_path / "own.nc", x), steps).batch([5])
    other = open_coarse(write(tmp_path / "other.nc", x.turned(-180)), steps).batch([5])
    assert torch.equal(own.x, other.x)
    assert torch.equal(own.fine, other.fine)
    path = write(tmp_path / "turned.nc", fields.turned(-100))
    turned = data.open_dataset(str(path), fields={"factor": (4, 4)})
    for one, other in zip(data.batches(dataset, steps), data.batches(turned, steps), strict=True):
        assert torch.equal(one.inputs[0], other.inputs[0])
        assert torch.equal(one.target, other.target)


def test_times_are_sorted_and_no_time_is_in_two_parts(tmp_path):
    fields = made(24)
    dates = xarray.date_range("2001-01-16", periods=24, freq="MS").values
    order = np.random.default_rng(0).permutation(24)
    path = write(tmp_path / "mixed.nc", fields.at(order), times=dates[order])
    found = open_fields(path)
    assert found.notes == ("The times do not rise; they are sorted.",)
    np.testing.assert_array_equal(found.times, dates)
    np.testing.assert_array_equal(found.read([0, 9]), fields.read([0, 9]))
    assert found.described["u"] == {"standard_name": "eastward_wind"}
    twice = np.repeat(dates[:12], 2)
    path = write(tmp_path / "twice.nc", fields, times=twice)
    dataset = data.open_dataset(str(path), fields={"factor": (4, 4)})
    assert "12 times are there again" in dataset.notes[0]
    parts = data.split(dataset, validation=5, test=5)
    times = [set(twice[part.ids]) for part in (parts.train, parts.validation, parts.test)]
    assert times[0].isdisjoint(times[1])
    assert times[1].isdisjoint(times[2])
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [14, 4, 5]
