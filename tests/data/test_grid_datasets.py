"""Gridded files as a data set: what is read, blocks of time, what is fitted, the card."""

import json

import numpy as np
import pytest
import torch

from convarium import data
from convarium.data import FieldOptions, FieldPreprocessing, GridOptions, Part, Preprocessing
from convarium.data.grids.fitting import climatology_of
from convarium.data.grids.kept import array_of_card, array_to_card
from convarium.errors import DataError, OptionError

xarray = pytest.importorskip("xarray")


@pytest.fixture(scope="module")
def winds(tmp_path_factory):
    """Four years of two winds on a globe of 12 x 24 cells, with a pattern of each month."""
    random = np.random.default_rng(0)
    months = np.arange(48) % 12
    patterns = random.normal(size=(2, 12, 13, 24))
    values = patterns[:, months] + 0.1 * random.normal(size=(2, 48, 13, 24))
    coords = {
        "time": xarray.date_range("1990-01-16", periods=48, freq="MS"),
        "lat": ("lat", np.linspace(-90, 90, 13), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 360, 15), {"units": "degrees_east"}),
    }
    dims, units = ("time", "lat", "lon"), {"units": "m/s"}
    variables = {name: (dims, v.astype("f4"), units) for name, v in zip("uv", values, strict=True)}
    path = tmp_path_factory.mktemp("grids") / "winds.nc"
    xarray.Dataset(variables, coords).to_netcdf(path, engine="h5netcdf")
    return path


def opened(path, **options):
    given = {"variables": ("u",), "factor": (4, 4), **options}
    return data.open_dataset(str(path), fields=FieldOptions(**given))


def test_a_field_becomes_samples_of_time(winds):
    dataset = opened(winds, predictors=("v",))
    assert (len(dataset), dataset.kind, dataset.task) == (48, "grids", "downscale")
    assert (dataset.classes, dataset.units) == (("u",), ("m/s",))
    assert dataset.name(1) == "1990-03-01"
    assert dataset.notes == ("1 of 13 rows fill no block and are left out.",)
    pair = dataset.read(0)
    blocks = pair.fine.reshape(1, 3, 4, 6, 4)
    weights = dataset.samples.pairs.areas.reshape(3, 4, 1, 1)
    means = (blocks * weights).sum((2, 4)) / (4 * weights.sum((1, 2, 3)).reshape(3, 1))
    np.testing.assert_allclose(pair.coarse[:1], means, rtol=1e-5, atol=1e-6)


def test_parts_are_blocks_of_time_with_gaps(winds):
    parts = data.split(opened(winds), validation=6, test=0.25, gap=2)
    found = [part.ids.tolist() for part in (parts.train, parts.validation, parts.test)]
    assert found == [[*range(26)], [*range(28, 34)], [*range(36, 48)]]
    assert parts.between == 4
    again = data.split(opened(winds), **parts.settings)
    assert again.counts == parts.counts
    with pytest.raises(DataError, match="too few"):
        data.split(opened(winds), validation=30, test=30)
    with pytest.raises(OptionError, match="group_alike"):
        data.split(opened(winds), group_alike=True)
    with pytest.raises(DataError, match="without folds"):
        data.split_folds(opened(winds), 3)
    with pytest.raises(OptionError, match="gap"):
        data.split(data.open_dataset("digits"), gap=1)


def test_what_is_fitted_comes_from_training_times_alone(winds):
    dataset = opened(winds)
    train = data.split(dataset).train
    steps = data.fit_preprocessing(train)
    values = dataset.samples.pairs.fine.read(train.ids)
    months = dataset.samples.pairs.fine.months[train.ids]
    expected = values[months == 5].mean(0, dtype=np.float64)
    np.testing.assert_allclose(steps.climatology.fine[4], expected, rtol=1e-5, atol=1e-6)
    mean, std = steps.statistics["targets"]
    np.testing.assert_allclose((mean, std), ([values.mean()], [values.std()]), rtol=1e-4)
    few = climatology_of(dataset.samples.pairs, np.arange(5))
    assert few.months.tolist() == [0]  # months that are missing there share one field
    mean = dataset.samples.pairs.read(np.arange(5))[1].mean(0, dtype=np.float64)
    np.testing.assert_allclose(few.fine[0], mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("start", ["delta", "coarse", "none"])
def test_a_card_brings_the_same_inputs(winds, start):
    dataset = opened(winds, predictors=("v",))
    part = data.split(dataset).train
    steps = data.fit_preprocessing(part, grids=GridOptions(start=start))
    again = Preprocessing.from_card(json.loads(json.dumps(steps.to_card())))
    assert isinstance(again, FieldPreprocessing)
    assert again.same_pixels(steps)
    assert again.network_options == steps.network_options
    pairs = zip(data.batches(part, steps), data.batches(part, again), strict=True)
    for one, other in pairs:
        assert torch.equal(one.inputs[0], other.inputs[0])
        assert one.named.keys() == other.named.keys()
        assert all(torch.equal(one.named[k], other.named[k]) for k in one.named)
        assert torch.equal(one.target, other.target)


def test_batches_hold_what_the_network_reads(winds):
    dataset = opened(winds)
    part = data.split(dataset).train
    steps = data.fit_preprocessing(part)
    batch = next(data.batches(part, steps, batch_size=5))
    assert batch.inputs[0].shape == (5, 3, 3, 6)  # with cosine and sine of the month
    assert batch.named["fine"].shape == (5, 1, 12, 24)
    assert batch.named["weights"].shape == (5, 1, 12, 24)
    assert batch.target.shape == (5, 1, 12, 24)
    assert batch.mask is None
    pairs = steps.pairs_of(dataset.samples.pairs)
    plain = pairs.batch(part.ids[:5])
    assert torch.equal(batch.inputs[0], plain.x)
    assert torch.equal(batch.named["fine"], plain.fine)
    some = batch.at(torch.tensor([3, 1]))
    assert torch.equal(some.named["fine"], plain.fine[[3, 1]])
    unkept = next(data.batches(dataset, steps, batch_size=5))
    assert torch.equal(unkept.target, plain.y)


def test_times_without_a_known_cell_are_left_out(winds, tmp_path):
    with xarray.open_dataset(winds) as source:
        gaps = source.load().copy(deep=True)
    gaps["u"][3] = np.nan
    gaps["u"][7, :6, :9] = np.nan
    gaps.to_netcdf(tmp_path / "gaps.nc", engine="h5netcdf")
    dataset = opened(tmp_path / "gaps.nc")
    parts = data.split(dataset)
    assert 3 not in parts.train.ids
    assert [item.reason for item in dataset.skipped] == ["no cell is known"]
    steps = data.fit_preprocessing(parts.train)
    assert steps.masked
    batch = next(data.batches(Part(dataset, np.array([7])), steps))
    assert not batch.mask.all()
    assert torch.isnan(batch.target).any()
    assert batch.named["weights"][torch.isnan(batch.target)].eq(0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"variables": ()}, "say which is made finer"),
        ({"variables": ("w",)}, "no variable 'w'"),
        ({"factor": None}, "--factor 4"),
        ({"factor": (1, 1)}, "rows and columns of a block"),
        ({"region": (10.0, 20.0, 3.0)}, "south, north, west and east"),
        ({"rows": (5, 5)}, "the one after the last"),
        ({"rows": (0, 99)}, "must end within"),
        ({"select": ("level",)}, "AXIS=VALUE"),
    ],
)
def test_options_that_cannot_be(winds, options, words):
    with pytest.raises(OptionError, match=words):
        opened(winds, **options)
    with pytest.raises(OptionError, match="Did you mean 'factor'"):
        FieldOptions.of({"faktor": 4})


def test_factors_that_leave_nothing_and_other_kinds_of_data(winds, tmp_path):
    with pytest.raises(DataError, match="no block"):
        opened(winds, factor=(16, 4))
    with pytest.raises(OptionError, match="does not belong to gridded fields"):
        data.open_dataset(str(winds), label_column="u", task="downscale")
    (tmp_path / "field.nc").write_text("nothing")
    with pytest.raises(DataError, match="is no NetCDF file"):
        data.open_dataset(str(tmp_path / "field.nc"))


def test_a_model_beside_observations(winds, tmp_path):
    with xarray.open_dataset(winds) as source:
        whole = source.load().isel(lat=slice(0, 12))
    coarse = whole.coarsen(lat=4, lon=4).mean()[["u"]] + 2.0  # with a bias
    coarse = coarse.assign_coords(
        lat=("lat", coarse.lat.values, {"units": "degrees_north"}),
        lon=("lon", coarse.lon.values, {"units": "degrees_east"}),
    )
    coarse["u"].attrs["units"] = "m/s"
    coarse.to_netcdf(tmp_path / "model.nc", engine="h5netcdf")
    options = {"factor": None, "fine": str(winds), "weighted": False}
    dataset = opened(tmp_path / "model.nc", **options)
    pairs = dataset.samples.pairs
    assert (pairs.factor, len(dataset)) == ((4, 4), 48)
    part = data.split(dataset).train
    steps = data.fit_preprocessing(part)
    assert steps.paired
    climatology = steps.climatology  # the model's bias is in its own one, and no anomaly
    apart = climatology.coarse - climatology.fine.reshape(-1, 1, 3, 4, 6, 4).mean((3, 5))
    np.testing.assert_allclose(apart, 2.0, atol=1e-4)
    coarse["u"].attrs["units"] = "km/h"
    coarse.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="convert one of them"):
        opened(tmp_path / "other.nc", **options)
    late = coarse.assign_coords(time=coarse.time + np.timedelta64(36500, "D"))
    late["u"].attrs["units"] = "m/s"
    late.to_netcdf(tmp_path / "late.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="no time in common"):
        opened(tmp_path / "late.nc", **options)


def test_rain_of_a_model_is_corrected_by_a_ratio_and_the_card_says_so(winds, tmp_path):
    with xarray.open_dataset(winds) as source:
        rain = source.load().isel(lat=slice(0, 12))[["u"]].clip(0)
    rain["u"].attrs["units"] = "mm/day"
    rain.to_netcdf(tmp_path / "rain.nc", engine="h5netcdf")
    coarse = 3 * rain.coarsen(lat=4, lon=4).mean()
    for name, unit in (("lat", "degrees_north"), ("lon", "degrees_east")):
        coarse[name].attrs["units"] = unit
    coarse["u"].attrs["units"] = "mm/day"
    coarse.to_netcdf(tmp_path / "model.nc", engine="h5netcdf")
    options = {"factor": None, "fine": str(tmp_path / "rain.nc"), "weighted": False}
    dataset = opened(tmp_path / "model.nc", **options)
    steps = data.fit_preprocessing(Part(dataset, np.arange(48)))
    again = Preprocessing.from_card(json.loads(json.dumps(steps.to_card())))
    x, months = dataset.samples.pairs.read(np.arange(48))[0], dataset.samples.pairs.fine.months
    for own in (steps, again):
        found = own.inputs(wrap=True).coarse(x, months)
        np.testing.assert_allclose(found, x / 3, rtol=1e-3, atol=1e-6)


def test_arrays_in_a_card():
    values = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("f4")
    values[0, 0, 0] = np.nan
    kept = json.loads(json.dumps(array_to_card("field", values)))
    np.testing.assert_array_equal(array_of_card(kept), values)
    with pytest.raises(DataError, match="damaged"):
        array_of_card({**kept, "sha256": "0"})
    with pytest.raises(DataError, match="damaged"):
        array_of_card({"shape": [1]})
    with pytest.raises(DataError, match="MiB"):
        array_to_card("field", np.broadcast_to(np.float32(0), (2**25,)))
