"""Look, of gridded fields: a coarse field beside what a run makes of it, on one scale."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data, models, predict
from convarium.data import GridOptions
from convarium.data.grids.coarse import open_coarse
from convarium.errors import ConvariumError, DataError, OptionError
from convarium.studio import Desk, look, look_fields

xarray = pytest.importorskip("xarray")


def written(path, rows, columns, step, *, count=3, falling=False):
    """A field that rises to the north, some times."""
    latitude = 30 + step / 2 + step * np.arange(rows)[:: -1 if falling else 1]
    coords = {
        "time": xarray.date_range("2001-01-16", periods=count, freq="MS"),
        "lat": ("lat", latitude, {"units": "degrees_north"}),
        "lon": ("lon", step / 2 + step * np.arange(columns), {"units": "degrees_east"}),
    }
    values = np.broadcast_to(latitude[:, None], (count, rows, columns)).astype("f4")
    field = xarray.DataArray(values, coords, ("time", "lat", "lon"), "u", {"units": "m/s"})
    field.to_dataset().to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture(scope="module")
def wind(tmp_path_factory):
    """A run whose network gives each coarse cell's value to its fine cells."""
    folder = tmp_path_factory.mktemp("wind")
    fine = written(folder / "fine.nc", 16, 24, 2.0, count=8)
    dataset = data.open_dataset(str(fine), fields={"variables": ["u"], "factor": [2, 2]})
    parts = data.split(dataset, validation=1, test=1)
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(start="coarse"))
    torch.manual_seed(0)
    options = {"constraint": "additive", "depth": 1, "width": 8, **steps.network_options}
    model = models.create("edsr_small", **options)
    steps.begin(model)
    return models.save(model, folder / "wind", data.build_card(parts, steps))


def pixels_of(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_coarse_and_fine_lie_beside_one_another_with_the_north_above(wind, tmp_path):
    desk = Desk([wind])
    assert look.about(desk, "wind")["kind"] == "grids"
    content = written(tmp_path / "coarse.nc", 8, 12, 4.0).read_bytes()
    found = look_fields.show_fields(desk, "wind", content, time=1)
    assert (found["count"], found["coarse_size"], found["fine_size"]) == (3, [8, 12], [16, 24])
    assert found["when"].startswith("2001-03-01")
    (row,) = found["fields"]
    coarse, fine = pixels_of(row["coarse"]), pixels_of(row["fine"])
    assert coarse.shape == fine.shape
    brightness = coarse[:, 0].sum(-1).astype(int)
    assert (np.diff(brightness) <= 0).all()  # viridis is brighter for more, here to the north
    assert brightness[0] > brightness[-1]


@pytest.mark.parametrize("falling", [False, True])
def test_values_without_a_file_are_those_that_downscale_writes(wind, tmp_path, falling):
    run = predict.open_run(wind)
    coarse = written(tmp_path / "coarse.nc", 9, 13, 4.0, falling=falling)
    predict.downscale([run], coarse, tmp_path / "fine.nc")
    found = predict.fine_values(run, open_coarse(coarse, run.preprocessing), [2, 0])
    with xarray.open_dataset(tmp_path / "fine.nc") as fine:
        np.testing.assert_allclose(found["u"], fine.u.values[[2, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "time", "kind"),
    [(b"", 0, DataError), (b"no file of fields", 0, DataError), (None, 3, OptionError)],
)
def test_what_is_no_field_is_said(wind, tmp_path, content, time, kind):
    if content is None:
        content = written(tmp_path / "coarse.nc", 8, 12, 4.0).read_bytes()
    with pytest.raises(kind) as caught:
        look_fields.show_fields(Desk([wind]), "wind", content, time)
    assert "/tmp" not in str(caught.value)


def test_runs_of_other_kinds_take_no_fields(photos):
    with pytest.raises(ConvariumError, match="takes images"):
        look_fields.show_fields(Desk([photos]), "photos", b"x")
