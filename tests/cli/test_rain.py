"""Precipitation by command: never below 0, block means kept, dry blocks dry."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pytest

from convarium.cli import main

xarray = pytest.importorskip("xarray")

LAT, LON = -66.0 + 12 * np.arange(12), np.arange(0.0, 360, 15)


def dataset(values, factor=1):
    """Fields (n, H, W) of rain; of the coarse cells the middles of their blocks."""
    lat, lon = LAT.reshape(-1, factor).mean(1), LON.reshape(-1, factor).mean(1)
    coords = {
        "time": xarray.date_range("1990-01-16", periods=len(values), freq="MS"),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    about = {"units": "mm/day"}
    return xarray.Dataset({"pr": (("time", "lat", "lon"), values.astype("f4"), about)}, coords)


def means(values):
    """Of blocks of 3 x 3 cells, by area."""
    half = np.deg2rad(6)
    areas = np.sin(np.deg2rad(LAT) + half) - np.sin(np.deg2rad(LAT) - half)
    blocks = values.astype("f8").reshape(-1, 4, 3, 8, 3)
    weights = np.broadcast_to(areas.reshape(4, 3, 1, 1), blocks.shape)
    return (blocks * weights).sum((2, 4)) / weights.sum((2, 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rain with a desert, in a file whose zeros are off by what packing leaves; a run of it."""
    folder = tmp_path_factory.mktemp("rain")
    random = np.random.default_rng(3)
    values = random.gamma(0.6, 2.0, size=(48, 12, 24)) * (random.random((48, 12, 24)) > 0.4)
    values *= np.kron(random.random((48, 4, 8)) > 0.2, np.ones((3, 3)))
    values[:, 3:6, 6:12] = 0
    np.save(folder / "rain.npy", values)
    off = np.where((values == 0) & (random.random(values.shape) < 0.1), -1e-9, values)
    dataset(off).to_netcdf(folder / "rain.nc", engine="h5netcdf")
    words = ("--factor", "3", "--epochs", "1", "--validation", "8", "--test", "8")
    out = str(folder / "run")
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert (
            main(["train", str(folder / "rain.nc"), "--task", "downscale", *words, "--out", out])
            == 0
        )
    (folder / "told.txt").write_text(told.getvalue())
    return folder


def test_rain_is_not_negative_and_keeps_its_block_means(folder, capsys):
    card = json.loads((folder / "run" / "card.json").read_text())
    assert card["model"]["options"]["constraint"] == "multiplicative"
    assert card["model"]["options"]["non_negative"] is True
    assert "pr: ratio scaled" in (folder / "told.txt").read_text()
    coarse = means(np.load(folder / "rain.npy")[-8:])
    dry = coarse == 0
    assert dry.mean() > 0.2
    off = dataset(np.where(dry, -1e-9, coarse), 3)
    off.to_netcdf(folder / "coarse.nc", engine="h5netcdf")
    words = ["downscale", str(folder / "run"), str(folder / "coarse.nc")]
    assert main([*words, "-o", str(folder / "fine.nc")]) == 0
    fine = xarray.open_dataset(folder / "fine.nc").pr.values
    assert fine.min() == 0
    np.testing.assert_allclose(means(fine)[~dry], coarse[~dry], rtol=1e-5)
    assert (fine[np.kron(dry, np.ones((1, 3, 3))) > 0] == 0).all()
    below = off.copy(deep=True)
    below.pr[0, 0, 0] = -3
    below.to_netcdf(folder / "below.nc", engine="h5netcdf")
    capsys.readouterr()
    assert main([*words[:2], str(folder / "below.nc"), "-o", str(folder / "no.nc")]) == 2
    assert "pr is as low as -3, and the network was trained" in capsys.readouterr().err


def test_rain_of_a_model_that_is_too_wet(folder, capsys):
    """Its bias is taken off by a ratio: dry blocks are dry, and the others have the right mean."""
    coarse = means(np.load(folder / "rain.npy"))
    dataset(np.where(coarse > 0, 3 * coarse + 1, 0), 3).to_netcdf(
        folder / "model.nc", engine="h5netcdf"
    )
    words = ("--fine", str(folder / "rain.nc"), "--epochs", "1", "--validation", "8", "--test", "8")
    out = str(folder / "paired")
    given = ["train", str(folder / "model.nc"), "--task", "downscale", *words, "--out", out]
    assert main(given) == 0
    assert "pr: quantile mapping scaled" in capsys.readouterr().out
    assert main(["downscale", out, str(folder / "model.nc"), "-o", str(folder / "own.nc")]) == 0
    fine = xarray.open_dataset(folder / "own.nc").pr.values
    assert fine.min() == 0
    assert fine[:32].mean() == pytest.approx(np.load(folder / "rain.npy")[:32].mean(), rel=0.1)
    dry = np.kron(coarse == 0, np.ones((1, 3, 3))) > 0
    assert (fine[dry] == 0).all()
