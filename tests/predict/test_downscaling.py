"""Coarse files to fine ones: tiles without seams, pieces to go on with, files for others."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from convarium import data, models, predict
from convarium.data import FieldPreprocessing, GridOptions
from convarium.data.grids.coarse import CoarseBatch, open_coarse
from convarium.data.grids.grid import Grid
from convarium.data.grids.writing import held
from convarium.errors import DataError, OptionError, RunError
from convarium.layers import block_mean
from convarium.measure.field_reach import kilometres, reach_of
from convarium.predict import Tiling
from convarium.predict.tiles import fine_fields

xarray = pytest.importorskip("xarray")

NETWORKS = [
    ("srcnn", {}),
    ("espcn", {"upsampling": "resize"}),
    ("edsr_small", {"depth": 2, "width": 8}),
    ("unet", {"widths": [4, 8]}),
]


def made(name, options, **more):
    torch.manual_seed(0)
    keywords = {"in_channels": 2, "factor": [2, 4], "constraint": "additive", **options, **more}
    network = models.create(name, **keywords)
    network.eval()
    return network


def tiling(network, size=8):
    return Tiling(size, reach_of(network), network.smallest_input)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_tiles_give_what_the_whole_field_gives(name, options):
    network = made(name, options, masked=True, fine_channels=1)
    x = torch.randn(2, 2, 40, 56)
    mask, fine = torch.rand(2, 40, 56) > 0.1, torch.randn(2, 1, 80, 224)
    batch = CoarseBatch(x, mask, fine, torch.rand(1, 1, 80, 224))
    with torch.no_grad():
        whole = network(x, mask, fine, batch.weights)
    tiled = fine_fields(network, batch, tiling(network), wraps=False)
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_tiles_close_the_circle(name, options):
    network = made(name, options, wrap=True)
    x = torch.randn(1, 2, 24, 48)
    batch = CoarseBatch(x, None, None, None)
    with torch.no_grad():
        whole = network(x)
    tiled = fine_fields(network, batch, tiling(network), wraps=True)
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)


def test_the_circle_is_closed_without_a_network_that_does_it():
    network = made("edsr_small", {"depth": 1, "width": 8})
    x = torch.randn(1, 2, 8, 24)
    plain = CoarseBatch(x, None, None, None)
    found = fine_fields(network, plain, tiling(network, 99), wraps=True)
    turned = CoarseBatch(x.roll(5, -1), None, None, None)
    again = fine_fields(network, turned, tiling(network, 99), wraps=True)
    torch.testing.assert_close(again, found.roll(20, -1), rtol=1e-5, atol=1e-5)
    wrapped = made("edsr_small", {"depth": 1, "width": 8}, wrap=True)
    one = fine_fields(wrapped, plain, tiling(wrapped, 99), wraps=False)
    x[..., -1] += 9  # a regional field has nothing to do with its other end
    other = fine_fields(wrapped, CoarseBatch(x, None, None, None), tiling(wrapped, 99), wraps=False)
    assert torch.equal(one[..., :20], other[..., :20])


def test_reach_is_what_a_changed_cell_changes():
    network = made("edsr_small", {"depth": 1, "width": 8, "constraint": "none"})
    rows, columns = reach_of(network)
    x = torch.randn(1, 2, 41, 41)
    other = x.clone()
    other[..., 20, 20] += 1
    with torch.no_grad():
        apart = (network(other) - network(x)).abs()[0, 0] > 1e-6
    changed = apart.nonzero()
    reached = (changed // torch.tensor([2, 4]) - 20).abs().amax(0)
    assert reached[0] <= rows <= reached[0] + 2
    assert reached[1] <= columns <= reached[1] + 2
    assert reach_of(made("espcn", {}, cells=[4, 4])) is None
    assert kilometres(2, 2.5, 60.0) == pytest.approx(kilometres(1, 2.5))
    with pytest.raises(OptionError, match="1 coarse cell"):
        Tiling(0)
    with pytest.raises(OptionError, match="need a halo"):
        Tiling(16)


# A run without training: what is tested is the way from file to file.


def write_run(folder, source, *, seed=0, start="coarse", outputs="value", **network):
    """A run of a network with random weights, for the fields of a file."""
    dataset = data.open_dataset(str(source), fields={"variables": ["u"], "factor": [2, 2]})
    parts = data.split(dataset)
    options = GridOptions(start=start, outputs=outputs)
    steps = data.fit_preprocessing(parts.train, grids=options)
    torch.manual_seed(seed)
    keywords = {"constraint": "additive", "depth": 1, "width": 8, **steps.network_options}
    model = models.create("edsr_small", **{**keywords, **network})
    steps.begin(model)
    models.save(model, folder, data.build_card(parts, steps))
    return predict.open_run(folder)


def values_of(path, name="u"):
    """The values of a variable of a file."""
    with xarray.open_dataset(path) as found:
        return found[name].values


@pytest.fixture(scope="module")
def fine_file(tmp_path_factory):
    """Two years of a wind on a region of 16 x 24 cells."""
    random = np.random.default_rng(0)
    coords = {
        "time": xarray.date_range("1990-01-16", periods=24, freq="MS"),
        "lat": ("lat", np.arange(30.0, 62, 2), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 48, 2), {"units": "degrees_east"}),
    }
    values = random.normal(size=(24, 16, 24)).astype("f4")
    field = xarray.DataArray(values, coords, ("time", "lat", "lon"), "u", {"units": "m/s"})
    path = tmp_path_factory.mktemp("fine") / "fine.nc"
    field.to_dataset().to_netcdf(path, engine="h5netcdf")
    return path


def write_coarse(path, count=10, rows=8, columns=12, *, step=4.0, falling=False, **more):
    """Coarse fields on any domain."""
    random = np.random.default_rng(1)
    lat = 31.0 + step * np.arange(rows)
    coords = {
        "time": xarray.date_range("2001-01-16", periods=count, freq="MS", **more),
        "lat": ("lat", lat[::-1] if falling else lat, {"units": "degrees_north"}),
        "lon": ("lon", 1.0 + step * np.arange(columns), {"units": "degrees_east"}),
    }
    values = random.normal(size=(count, rows, columns)).astype("f4")
    values = values[:, ::-1] if falling else values
    field = xarray.DataArray(values, coords, ("time", "lat", "lon"), "u", {"units": "m/s"})
    dataset = field.to_dataset().assign_attrs(title="made", history="2001 born")
    dataset["time"].encoding |= {"units": "hours since 1900-01-01"}
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_file_that_other_tools_read(fine_file, tmp_path, suffix):
    run = write_run(tmp_path / "run", fine_file)
    coarse = write_coarse(tmp_path / "coarse.nc", rows=9, columns=13)
    target = tmp_path / f"fine.{suffix}"
    found = predict.downscale([run], coarse, target, history="convarium downscale run coarse.nc")
    assert (found.times, found.shape, found.variables) == (10, (18, 26), ("u",))
    with xarray.open_dataset(target, engine="zarr" if suffix == "zarr" else None) as fine:
        assert dict(fine.sizes) == {"time": 10, "latitude": 18, "longitude": 26}
        assert fine.u.attrs["units"] == "m/s"
        assert fine.attrs["title"] == "made"
        assert fine.attrs["history"].startswith("2001 born\n")
        assert fine.attrs["history"].endswith("convarium downscale run coarse.nc")
        with xarray.open_dataset(coarse) as source:
            assert (fine.time.values == source.time.values).all()
            values = torch.from_numpy(fine.u.values).unsqueeze(1)
            lat = np.asarray(fine.latitude)
            np.testing.assert_allclose(lat.reshape(-1, 2).mean(1), source.lat)
            weights = torch.from_numpy(Grid(lat, fine.longitude.values).areas).float()
            means = block_mean(values, (2, 2), weights.view(-1, 1))
            np.testing.assert_allclose(means[:, 0], source.u, atol=1e-5)
        assert fine.time.encoding["units"] == "hours since 1900-01-01"
        assert fine.u.encoding.get("chunksizes") or fine.u.encoding.get("chunks")
    assert not list(tmp_path.glob("*.parts"))


def test_falling_latitudes_give_the_same_fields(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file)
    fields = []
    for falling in (False, True):
        coarse = write_coarse(tmp_path / "coarse.nc", falling=falling)
        predict.downscale([run], coarse, tmp_path / "fine.nc")
        with xarray.open_dataset(tmp_path / "fine.nc") as fine:
            fields.append(fine.load())
    assert fields[1].latitude[0] > fields[1].latitude[-1]
    np.testing.assert_allclose(fields[1].u.values[:, ::-1], fields[0].u.values, atol=1e-6)


def test_tiles_of_a_file_are_its_whole(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file)
    coarse = write_coarse(tmp_path / "coarse.nc", count=2, rows=30, columns=33, step=1.0)
    reach = reach_of(run.model)
    whole = predict.downscale([run], coarse, tmp_path / "whole.nc", tiling=Tiling(None, reach))
    predict.downscale([run], coarse, tmp_path / "tiled.nc", tiling=Tiling(8, reach))
    assert whole.tile is None
    assert "the network has not seen this" in whole.notes[0]
    one, other = (values_of(tmp_path / name) for name in ("whole.nc", "tiled.nc"))
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_several_runs_give_their_mean_and_what_lies_between(fine_file, tmp_path):
    runs = [write_run(tmp_path / f"run{k}", fine_file, seed=k) for k in range(3)]
    coarse = write_coarse(tmp_path / "coarse.nc")
    members = []
    for run in runs:
        predict.downscale([run], coarse, tmp_path / "one.nc")
        with xarray.open_dataset(tmp_path / "one.nc") as one:
            members.append(one.u.values)
    found = predict.downscale(runs, coarse, tmp_path / "all.nc")
    assert found.variables == ("u", "u_spread")
    with xarray.open_dataset(tmp_path / "all.nc") as fine:
        np.testing.assert_allclose(fine.u, np.mean(members, 0), atol=1e-5)
        np.testing.assert_allclose(fine.u_spread, np.std(members, 0, ddof=1), atol=1e-5)
    other = write_run(tmp_path / "other", fine_file, outputs="normal")
    with pytest.raises(OptionError, match="different parts"):
        predict.downscale([runs[0], other], coarse, tmp_path / "all.nc")
    named = predict.downscale([other], coarse, tmp_path / "both.nc").variables
    assert named == ("u", "u_spread")
    quantiles = write_run(tmp_path / "quantiles", fine_file, outputs="quantiles")
    named = predict.downscale([quantiles], coarse, tmp_path / "q.nc").variables
    assert named == ("u_p5", "u_p25", "u_p50", "u_p75", "u_p95")
    with xarray.open_dataset(tmp_path / "q.nc") as fine:
        assert (fine.u_p5 <= fine.u_p50).all()
        assert (fine.u_p50 <= fine.u_p95).all()


def test_a_network_of_one_domain_takes_it_out_of_a_larger_file(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file, start="delta")
    own = write_coarse(tmp_path / "own.nc")
    predict.downscale([run], own, tmp_path / "fine.nc")
    with xarray.open_dataset(own) as source:
        wider = source.load().pad(lon=(0, 2), mode="edge")
        lon = 1.0 + 4.0 * np.arange(14)
        wider = wider.assign_coords(lon=("lon", lon - 360, {"units": "degrees_east"}))
    wider.to_netcdf(tmp_path / "wider.nc", engine="h5netcdf")
    predict.downscale([run], tmp_path / "wider.nc", tmp_path / "again.nc")
    one, other = (values_of(tmp_path / name) for name in ("fine.nc", "again.nc"))
    np.testing.assert_allclose(one, other, atol=1e-6)
    elsewhere = write_coarse(tmp_path / "elsewhere.nc", step=3.0)
    with pytest.raises(DataError, match="--start coarse"):
        predict.downscale([run], elsewhere, tmp_path / "no.nc")


def test_a_job_that_was_stopped_goes_on(fine_file, tmp_path, monkeypatch):
    monkeypatch.setattr("convarium.predict.downscaling.PIECE", 16 * 24 * 3)  # 3 times a piece
    run = write_run(tmp_path / "run", fine_file)
    coarse = write_coarse(tmp_path / "coarse.nc")
    predict.downscale([run], coarse, tmp_path / "whole.nc")
    from convarium.predict import downscaling

    inner, calls = downscaling.made, []

    def stopped(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return inner(*arguments)

    monkeypatch.setattr(downscaling, "made", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict.downscale([run], coarse, tmp_path / "fine.nc")
    assert not (tmp_path / "fine.nc").exists()
    monkeypatch.setattr(downscaling, "made", inner)
    found = predict.downscale([run], coarse, tmp_path / "fine.nc")
    assert (found.made, found.pieces) == (2, 4)
    np.testing.assert_array_equal(values_of(tmp_path / "fine.nc"), values_of(tmp_path / "whole.nc"))
    # pieces of another file are not taken
    parts = tmp_path / "fine.nc.parts"
    parts.mkdir()
    (parts / "about.json").write_text("{}")
    (parts / "000000.npy").write_bytes(b"no")
    assert predict.downscale([run], coarse, tmp_path / "fine.nc").made == 4


def test_sigkill_leaves_no_file_and_loses_no_piece(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file)
    coarse = write_coarse(tmp_path / "coarse.nc", count=400)
    code = (
        "from convarium import predict\n"
        "from convarium.predict import downscaling\n"
        "downscaling.PIECE = 16 * 24 * 20\n"
        f"run = predict.open_run({str(run.folder)!r})\n"
        f"print(predict.downscale([run], {str(coarse)!r}, {str(tmp_path / 'fine.nc')!r}).made)\n"
    )
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    first = tmp_path / "fine.nc.parts" / "000000.npy"
    end = time.monotonic() + 60
    while not first.exists() and time.monotonic() < end and job.poll() is None:
        time.sleep(0.005)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert not (tmp_path / "fine.nc").exists()
    kept = len(list((tmp_path / "fine.nc.parts").glob("[0-9]*.npy")))
    assert kept >= 1
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(again.stdout) == 20 - kept
    with xarray.open_dataset(tmp_path / "fine.nc") as fine:
        assert np.isfinite(fine.u).all()


def test_what_does_not_fit_is_one_sentence(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file)
    coarse = write_coarse(tmp_path / "coarse.nc")
    target = tmp_path / "fine.nc"
    with xarray.open_dataset(coarse) as source:
        field = source.load()
    field["u"].attrs["units"] = "km/h"
    field.to_netcdf(tmp_path / "units.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"km/h .* trained on m/s"):
        predict.downscale([run], tmp_path / "units.nc", target)
    field["u"].attrs["units"] = "m/s"
    field.rename(u="w").to_netcdf(tmp_path / "names.nc", engine="h5netcdf")
    with pytest.raises(OptionError, match="no variable 'u'"):
        predict.downscale([run], tmp_path / "names.nc", target)
    gaps = field.copy(deep=True)
    gaps["u"][0, 0, 0] = np.nan
    gaps.to_netcdf(tmp_path / "gaps.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="without gaps"):
        predict.downscale([run], tmp_path / "gaps.nc", target)
    field.drop_vars("lat").to_netcdf(tmp_path / "axes.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="latitude"):
        predict.downscale([run], tmp_path / "axes.nc", target)
    undated = field.assign_coords(time=("time", np.arange(10), {"units": "months of Mars"}))
    undated.to_netcdf(tmp_path / "dates.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="days since"):
        predict.downscale([run], tmp_path / "dates.nc", target)
    with pytest.raises(OptionError, match=r"\.nc or \.zarr"):
        predict.downscale([run], coarse, tmp_path / "fine.tif")
    assert not list(tmp_path.glob("fine.*"))


def test_nothing_of_others_is_lost_or_mixed(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file)
    coarse = write_coarse(tmp_path / "coarse.nc")
    with pytest.raises(OptionError, match="the coarse file itself"):
        predict.downscale([run], coarse, coarse)
    folder = tmp_path / "mine.zarr"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match="something else"):
        predict.downscale([run], coarse, folder)
    assert (folder / "thesis.txt").read_text() == "years of work"
    found = []
    for _ in range(2):  # the second takes the first one's place
        predict.downscale([run], coarse, tmp_path / "fine.zarr")
        found.append(values_of(tmp_path / "fine.zarr"))
    np.testing.assert_array_equal(*found)
    assert not list(tmp_path.glob(".fine.zarr.old"))
    with held(tmp_path / "fine.nc"), pytest.raises(RunError, match="Another process is writing"):
        predict.downscale([run], coarse, tmp_path / "fine.nc")


def test_other_calendars_are_taken_with_a_note(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file)
    pytest.importorskip("cftime")
    more = {"calendar": "360_day", "use_cftime": True}
    coarse = write_coarse(tmp_path / "coarse.nc", **more)
    found = predict.downscale([run], coarse, tmp_path / "fine.nc")
    assert "360_day" in found.notes[0]
    with xarray.open_dataset(tmp_path / "fine.nc") as fine:
        assert fine.time.dt.calendar == "360_day"


def test_coarse_fields_give_what_the_pairs_gave(fine_file, tmp_path):
    run = write_run(tmp_path / "run", fine_file, start="delta")
    steps = run.preprocessing
    assert isinstance(steps, FieldPreprocessing)
    dataset = data.open_dataset(str(fine_file), fields={"variables": ["u"], "factor": [2, 2]})
    pairs = steps.pairs_of(dataset.samples.pairs)
    ids = np.arange(24)
    x = pairs.read(ids)[0][:, 0]
    grid = steps.grid.coarse(steps.factor)
    coords = {
        "time": xarray.date_range("1990-01-16", periods=24, freq="MS"),
        "lat": ("lat", grid.latitude, {"units": "degrees_north"}),
        "lon": ("lon", grid.longitude, {"units": "degrees_east"}),
    }
    field = xarray.DataArray(x, coords, ("time", "lat", "lon"), "u", {"units": "m/s"})
    field.to_dataset().to_netcdf(tmp_path / "coarse.nc", engine="h5netcdf")
    found = open_coarse(tmp_path / "coarse.nc", steps).batch(ids)
    expected = pairs.batch(ids)
    assert torch.equal(found.x, expected.x)
    assert torch.equal(found.fine, expected.fine)
    torch.testing.assert_close(found.weights[0, 0], expected.weights[0, 0])
