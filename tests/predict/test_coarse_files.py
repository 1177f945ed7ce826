"""What coarse files say besides their fields: poles, names, further axes, patterns of files."""

import numpy as np
import pytest
import torch

from convarium import data, models, predict
from convarium.cli import main
from convarium.data import GridOptions
from convarium.data.grids.coarse import CoarseBatch
from convarium.errors import DataError
from convarium.layers import block_mean
from convarium.measure.field_reach import reach_of
from convarium.predict import Tiling
from convarium.predict.tiles import fine_fields

xarray = pytest.importorskip("xarray")

LEVELS = (1000.0, 850.0)


def write(path, latitude, longitude, *, level=False, units="m/s", years=2, bounds=False):
    """Winds of months, with a standard name."""
    random = np.random.default_rng(0)
    time = xarray.date_range("1990-01-16", periods=12 * years, freq="MS")
    coords = {
        "time": time,
        "lat": ("lat", np.asarray(latitude, float), {"units": "degrees_north"}),
        "lon": ("lon", np.asarray(longitude, float), {"units": "degrees_east"}),
    }
    dims, shape = ["time", "lat", "lon"], [len(time), len(latitude), len(longitude)]
    if level:
        coords["level"] = ("level", np.array(LEVELS))
        dims, shape = ["time", "level", "lat", "lon"], [shape[0], 2, *shape[1:]]
    told = {"units": units, "standard_name": "eastward_wind", "cell_methods": "time: mean"}
    values = random.normal(size=shape).astype("f4")
    dataset = xarray.Dataset({"u": (dims, values, told)}, coords)
    if bounds:
        dataset["time_bnds"] = (("time", "bnds"), np.stack([time.values] * 2, 1))
        dataset.time.attrs["bounds"] = "time_bnds"
        dataset.time.encoding["units"] = "hours since 1990-01-01"
    dataset.to_netcdf(path, engine="h5netcdf")
    return path


def run_of(folder, source, *, outputs="value"):
    """A run of a network with random weights that serves any domain."""
    dataset = data.open_dataset(str(source), fields={"variables": ["u"], "factor": [4, 4]})
    parts = data.split(dataset)
    steps = data.fit_preprocessing(
        parts.train, grids=GridOptions(start="coarse", outputs=outputs, season=False)
    )
    torch.manual_seed(0)
    model = models.create("espcn", constraint="additive", **steps.network_options)
    steps.begin(model)
    models.save(model, folder, data.build_card(parts, steps))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a regional file."""
    folder = tmp_path_factory.mktemp("run")
    fine = write(folder / "fine.nc", np.arange(0.5, 16), np.arange(0.5, 24))
    return run_of(folder / "run", fine)


def test_rows_beyond_the_poles_are_left_out(run, tmp_path):
    coarse = write(tmp_path / "c.nc", np.arange(-90, 91, 4.0), np.arange(0.0, 360, 4), years=1)
    opened = predict.open_run(run)
    found = predict.downscale([opened], coarse, tmp_path / "fine.nc")
    assert "4 fine rows would lie beyond the poles" in "".join(found.notes)
    assert found.shape == (180, 360)
    with xarray.open_dataset(tmp_path / "fine.nc") as fine, xarray.open_dataset(coarse) as source:
        assert float(abs(fine.latitude).max()) == 89.5
        values = torch.from_numpy(fine.u.values)[:, None]
        caps = values[:, 0, :2].reshape(12, 2, 90, 4).mean((1, 3))  # half of a cell is there
        weights = torch.from_numpy(data.Grid(fine.latitude.values, fine.longitude.values).areas)
        inner = block_mean(values[:, :, 2:-2], (4, 4), weights[2:-2].view(-1, 1).float())
        np.testing.assert_allclose(inner[:, 0], source.u.values[:, 1:-1], atol=1e-5)
        assert caps.isfinite().all()


def test_fields_of_no_place_or_no_time_are_refused(run, tmp_path):
    opened, cells = predict.open_run(run), np.arange(0.0, 360, 4)
    metres = write(tmp_path / "m.nc", np.arange(1000.0, 9000, 400), cells, years=1)
    with pytest.raises(DataError, match="all beyond the poles; give degrees"):
        predict.downscale([opened], metres, tmp_path / "fine.nc")
    same = write(tmp_path / "s.nc", np.full(20, 10.0), cells, years=1)
    with pytest.raises(DataError, match="is 10 everywhere"):
        predict.downscale([opened], same, tmp_path / "fine.nc")
    write(tmp_path / "t.nc", np.arange(-38, 39, 4.0), cells, years=1)
    with xarray.open_dataset(tmp_path / "t.nc") as source:
        source.isel(time=slice(0)).to_netcdf(tmp_path / "none.nc")
    with pytest.raises(DataError):
        predict.downscale([opened], tmp_path / "none.nc", tmp_path / "fine.nc")


def test_standard_names_stay_and_bounds_go(run, tmp_path):
    coarse = write(
        tmp_path / "c.nc", 4.0 * np.arange(8), 4.0 * np.arange(9), units="m s-1", bounds=True
    )
    predict.downscale([predict.open_run(run)], coarse, tmp_path / "fine.nc")
    with xarray.open_dataset(tmp_path / "fine.nc") as fine:
        assert fine.u.attrs["standard_name"] == "eastward_wind"
        assert fine.u.attrs["cell_methods"] == "time: mean"
        assert fine.u.attrs["long_name"] == "u, downscaled by espcn"
        assert "bounds" not in fine.time.attrs
        assert "bounds" not in fine.time.encoding


def test_further_axes_and_patterns_by_command(run, tmp_path, capsys):
    lat, lon = 4.0 * np.arange(8), 4.0 * np.arange(9)
    coarse = write(tmp_path / "levels.nc", lat, lon, level=True)
    words = ["downscale", str(run), str(coarse), "-o", str(tmp_path / "fine.nc")]
    assert main(words) == 2
    assert "further axis 'level'" in capsys.readouterr().err
    assert main([*words, "--select", "level=850", "--axis", "latitude=lat"]) == 0
    with xarray.open_dataset(tmp_path / "fine.nc") as fine, xarray.open_dataset(coarse) as source:
        own = source.u.sel(level=850).values
        weights = data.Grid(fine.latitude.values, fine.longitude.values).areas
        means = block_mean(
            torch.from_numpy(fine.u.values)[:, None],
            (4, 4),
            torch.from_numpy(weights).view(-1, 1).float(),
        )
        np.testing.assert_allclose(means[:, 0], own, atol=1e-5)
    write(tmp_path / "part_1.nc", lat, lon, years=1)
    found = predict.downscale([predict.open_run(run)], tmp_path / "part_*.nc", tmp_path / "all.nc")
    assert found.times == 12


def test_tiles_with_places_give_the_whole_field():
    torch.manual_seed(0)
    network = models.create(
        "espcn", in_channels=2, factor=[2, 4], constraint="additive", masked=True, fine_channels=1,
        cells=[40, 56], cell_features=0, cell_kernel=5,
    ).eval()  # fmt: skip
    torch.nn.init.normal_(network.places.local.weight, std=0.1)
    x, fine = torch.randn(2, 2, 40, 56), torch.randn(2, 1, 80, 224)
    mask = torch.rand(2, 2, 40, 56) > 0.1
    batch = CoarseBatch(x, mask, fine, torch.rand(1, 1, 80, 224))
    with torch.no_grad():
        whole = network(x, mask, fine, batch.weights)
    reach = reach_of(network)
    assert reach == reach_of(models.create("espcn", factor=[2, 4]))
    tiled = fine_fields(network, batch, Tiling(8, reach), wraps=False)
    torch.testing.assert_close(tiled, whole, rtol=1e-5, atol=1e-5)
