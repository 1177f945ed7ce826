"""A region that is kept for the test: nothing of its fine cells is learnt."""

import json

import numpy as np
import pytest

from convarium import data, models, predict
from convarium.cli import main
from convarium.data import GridOptions
from convarium.errors import DataError, OptionError

xarray = pytest.importorskip("xarray")

REGION = ["-30", "30", "90", "180"]
DEGREES = (-30.0, 30.0, 90.0, 180.0)


def field(inside=0.0, *, until=60):
    """Fine fields of 12 x 24 cells of 15 degrees; `inside` is added in the region, until a time."""
    random = np.random.default_rng(0)
    lat, lon = -82.5 + 15.0 * np.arange(12), 7.5 + 15.0 * np.arange(24)
    rows, columns = np.abs(lat) <= 30, (lon >= 90) & (lon <= 180)
    values = random.normal(size=(60, 12, 24))
    values[:until] += inside * random.normal(size=(60, 12, 24))[:until] * rows[:, None] * columns
    coords = {
        "time": xarray.date_range("1990-01-16", periods=60, freq="MS"),
        "lat": ("lat", lat, {"units": "degrees_north"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    array = xarray.DataArray(values.astype("f4"), coords, ("time", "lat", "lon"), "u")
    return array.assign_attrs(units="m/s").to_dataset(), rows[:, None] & columns


def parts_of(fields):
    opened = data.open_dataset(fields, fields={"factor": [2, 2]})
    return data.split(opened, validation=12, test=12, held_out=DEGREES)


@pytest.mark.parametrize("shift", [False, True])
def test_a_part_counts_the_region_or_the_rest(shift):
    parts = parts_of(field()[0])
    inside = field()[1]
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(start="coarse"))
    for part, own in ((parts.train, ~inside), (parts.validation, ~inside), (parts.test, inside)):
        batch = next(data.batches(part, steps, batch_size=8))
        assert (np.isfinite(batch.target.numpy()) == own).all()
        assert np.isfinite(batch.inputs[0].numpy()).all()  # what is coarse is known everywhere
    if shift:
        from convarium.data.grids.shifting import Shift, ShiftedPairs

        pairs = steps.pairs_of(parts.train.dataset.samples.pairs)
        moved = ShiftedPairs(pairs).moved(Shift(1, 3, (10, 24), turned=True))
        known = np.isfinite(moved.batch(np.arange(4)).y.numpy())
        assert (known == np.roll(~inside[1:11], -3, -1)).all()


def test_nothing_that_is_fitted_depends_on_the_region():
    found = []
    for inside in (0.0, 100.0):
        train = parts_of(field(inside)[0]).train
        found.append(data.fit_preprocessing(train, grids=GridOptions(start="coarse")))
    one, other = (each.statistics for each in found)
    assert one["targets"] == other["targets"]
    assert (
        one["residual"] != other["residual"] or one["inputs"] != other["inputs"]
    )  # coarse is read
    assert found[0].climatology is None


def test_what_would_know_the_cells_is_refused(tmp_path):
    train = parts_of(field()[0]).train
    for options in ({}, {"start": "coarse", "means": True}, {"start": "coarse", "places": 3}):
        with pytest.raises(OptionError, match="--start coarse"):
            data.fit_preprocessing(train, grids=GridOptions(**options))
    opened = data.open_dataset(field()[0], fields={"factor": [2, 2]})
    with pytest.raises(DataError, match="no block"):
        data.split(opened, held_out=(1.0, 2.0, 0.0, 9.0))
    with pytest.raises(DataError, match="every block"):
        data.split(opened, held_out=(-90.0, 90.0, 0.0, 360.0))
    pictures = {"x": np.zeros((20, 8, 8), np.uint8), "y": np.arange(20) % 2}
    np.savez(tmp_path / "pictures.npz", **pictures)
    with pytest.raises(OptionError, match="leave them out"):
        data.split(data.open_dataset(tmp_path / "pictures.npz"), held_out=DEGREES)


def test_the_command_measures_the_region_alone(tmp_path, capsys):
    fields, inside = field()
    path, out = tmp_path / "field.nc", tmp_path / "run"
    fields.to_netcdf(path, engine="h5netcdf")
    options = {"factor": [2, 2], "weighted": False}
    opened = data.open_dataset(str(path), fields=options)
    parts = data.split(opened, validation=12, test=12, held_out=DEGREES)
    steps = data.fit_preprocessing(parts.train, grids=GridOptions(start="coarse"))
    model = models.create("edsr_small", depth=1, width=8, **steps.network_options)
    steps.begin(model)
    card = {**data.build_card(parts, steps), "split": dict(parts.settings)}
    models.save(model, out, card)
    parts.write(out / "splits.parquet")
    words = ["evaluate", str(out), str(path), "--factor", "2", "--no-weighted", "--json"]
    assert main([*words, "--part", "test"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 12
    methods = {row["method"] for row in found["methods"]["u"] if row["group"] == "all"}
    assert "bilinear" in methods
    assert "delta" not in methods
    coarse = fields.coarsen(lat=2, lon=2).mean(keep_attrs=True)
    for name in ("lat", "lon"):
        coarse[name].attrs = fields[name].attrs
    apart = predict.fine_dataset([predict.open_run(out)], coarse).u.values - fields.u.values
    expected = np.sqrt((apart[48:, inside] ** 2).mean())
    assert found["outputs"]["u"]["rmse"] == pytest.approx(expected, rel=1e-4)
    assert main([*words, "--held-out", *REGION]) == 0
    found = json.loads(capsys.readouterr().out)["outputs"]["u"]["rmse"]
    assert found == pytest.approx(np.sqrt((apart[:, inside] ** 2).mean()), rel=1e-4)
    other = tmp_path / "other"
    models.save(model, other, {**card, "split": {**parts.settings, "held_out": [-60, 0, 0, 90]}})
    parts.write(other / "splits.parquet")
    assert main([*words[:2], str(other), *words[2:], "--part", "test"]) == 2
    assert "hold out other regions" in capsys.readouterr().err
    train = ["train", str(path), "--factor", "2", "--out", str(tmp_path / "no"), "--means"]
    assert main([*train, "--validation", "12", "--test", "12", "--held-out", *REGION]) == 2
    assert "--no-means" in capsys.readouterr().err
