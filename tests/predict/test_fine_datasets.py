"""Fine fields of runs together, of xarray and dask; jobs that must not be taken for others."""

import shutil

import numpy as np
import pytest
import torch

from convarium import data, models, predict, tasks
from convarium.data import FieldOptions, GridOptions
from convarium.errors import OptionError

xarray = pytest.importorskip("xarray")


def coarse_field(count=10, rows=8, columns=12, *, levels=None):
    """Coarse fields of months on a region."""
    random = np.random.default_rng(1)
    coords = {
        "time": xarray.date_range("2001-01-16", periods=count, freq="MS"),
        "lat": ("lat", 31.0 + 4.0 * np.arange(rows), {"units": "degrees_north"}),
        "lon": ("lon", 1.0 + 4.0 * np.arange(columns), {"units": "degrees_east"}),
    }
    shape, dims = (count, rows, columns), ("time", "lat", "lon")
    if levels is not None:
        coords["level"] = np.array(levels)
        shape, dims = (len(levels), *shape), ("level", *dims)
    values = random.normal(size=shape).astype("f4")
    return xarray.DataArray(values, coords, dims, "u", {"units": "m/s"}).to_dataset()


def fine_field():
    """Two years of fields that are twice as fine."""
    return coarse_field(24, 16, 24).assign_coords(
        lat=("lat", np.arange(30.0, 62, 2), {"units": "degrees_north"}),
        lon=("lon", np.arange(0.0, 48, 2), {"units": "degrees_east"}),
    )


def write_run(folder, *, start="coarse", rows=None, season=True):
    """A run of a network with random weights, of a field twice as fine."""
    options = {"variables": ["u"], "factor": [2, 2], **({"rows": rows} if rows else {})}
    parts = data.split(data.open_dataset(fine_field(), fields=options))
    grids = GridOptions(start=start, places=0, season=season)
    steps = data.fit_preprocessing(parts.train, grids=grids)
    torch.manual_seed(0)
    model = models.create("edsr_small", depth=1, width=8, **steps.network_options)
    steps.begin(model)
    models.save(model, folder, data.build_card(parts, steps))
    return predict.open_run(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


def test_xarray_in_is_xarray_out_as_the_file_has_it(run, tmp_path):
    coarse = coarse_field()
    coarse.to_netcdf(tmp_path / "coarse.nc", engine="h5netcdf")
    predict.downscale([run], tmp_path / "coarse.nc", tmp_path / "fine.nc")
    found = predict.fine_dataset([run], coarse)
    with xarray.open_dataset(tmp_path / "fine.nc") as file:
        xarray.testing.assert_allclose(found, file.load())
        assert found.u.attrs == file.u.attrs
    xarray.testing.assert_allclose(found, predict.fine_dataset([run], coarse["u"]))
    with pytest.raises(OptionError, match="fine_dataset"):
        predict.downscale([run], coarse, tmp_path / "other.nc")


def test_dask_makes_what_is_asked_for(run, monkeypatch):
    pytest.importorskip("dask")
    from convarium.predict import fine_datasets

    monkeypatch.setattr(fine_datasets, "PIECE", 3 * 16 * 24)  # 3 times a chunk
    coarse = coarse_field()
    whole = predict.fine_dataset([run], coarse)
    inner, calls = fine_datasets.made, []

    def counted(networks, opened, ids, *more):
        calls.append(ids.tolist())
        return inner(networks, opened, ids, *more)

    monkeypatch.setattr(fine_datasets, "made", counted)
    lazy = predict.fine_dataset([run], coarse.chunk(time=5))
    assert lazy.u.chunks[0] == (3, 3, 3, 1)
    other = coarse.assign(v=coarse.u.chunk(time=3), u=coarse.u.chunk(time=5))
    assert predict.fine_dataset([run], other).u.chunks[0] == (3, 3, 3, 1)
    assert calls == []
    one = lazy.u.isel(time=4).values
    assert calls == [[3, 4, 5]]
    np.testing.assert_allclose(one, whole.u.values[4], atol=1e-6)
    xarray.testing.assert_allclose(lazy.compute(), whole, atol=1e-5)


def test_runs_of_different_domains_are_no_ensemble(tmp_path):
    coarse = coarse_field()
    coarse.to_netcdf(tmp_path / "coarse.nc", engine="h5netcdf")
    runs = [write_run(tmp_path / f"{k}", start="delta", rows=[8 * k, 8 * k + 8]) for k in (0, 1)]
    with pytest.raises(OptionError, match=r"30 to 44 north.*; give runs of one domain"):
        predict.downscale(runs, tmp_path / "coarse.nc", tmp_path / "fine.nc")
    taller = write_run(tmp_path / "taller", start="delta", rows=[0, 12])
    with pytest.raises(OptionError, match="one domain"):
        predict.fine_dataset([runs[0], taller], coarse)
    twice = predict.fine_dataset([runs[0], runs[0]], coarse)
    assert float(abs(twice.u_spread).max()) < 1e-6


def stopped(monkeypatch, call):
    """Let a job be stopped after two pieces of three times each."""
    from convarium.predict import downscaling

    inner, calls = downscaling.made, []

    def some(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return inner(*arguments)

    monkeypatch.setattr(downscaling, "PIECE", 3 * 16 * 24)
    with monkeypatch.context() as here:
        here.setattr(downscaling, "made", some)
        with pytest.raises(KeyboardInterrupt):
            call()


def test_another_level_or_a_changed_store_is_another_job(run, tmp_path, monkeypatch):
    coarse, target = tmp_path / "coarse.zarr", tmp_path / "fine.nc"
    coarse_field(levels=[850.0, 500.0]).to_zarr(coarse, zarr_format=2)

    def of(level):
        options = FieldOptions(select=(f"level={level}",))
        return predict.downscale([run], coarse, target, fields=options)

    stopped(monkeypatch, lambda: of(850))
    assert of(500).made == 4
    own = predict.fine_dataset([run], coarse_field(levels=[850.0, 500.0]).sel(level=500))
    with xarray.open_dataset(target) as found:
        np.testing.assert_allclose(found.u, own.u, atol=1e-6)
    stopped(monkeypatch, lambda: of(850))
    assert of(850).made == 2  # the same job goes on
    stopped(monkeypatch, lambda: of(850))
    chunk = next(at for at in sorted((coarse / "u").iterdir()) if at.name[0].isdigit())
    chunk.write_bytes(chunk.read_bytes())  # another time of change within the folder
    assert of(850).made == 4


def test_files_of_a_person_are_not_removed_and_not_read_twice(run, tmp_path):
    coarse_field().to_netcdf(tmp_path / "u_1.nc", engine="h5netcdf")
    parts = tmp_path / "fine.nc.parts"
    parts.mkdir()
    (parts / "000000.npy").write_bytes(b"of a job")
    (parts / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match=r"thesis\.txt; move it away"):
        predict.downscale([run], tmp_path / "u_1.nc", tmp_path / "fine.nc")
    assert (parts / "thesis.txt").read_text() == "years of work"
    shutil.rmtree(parts)
    shutil.copy(tmp_path / "u_1.nc", tmp_path / "u_2.nc")
    with pytest.raises(OptionError, match="the coarse file itself"):
        predict.downscale([run], tmp_path / "u_*.nc", tmp_path / "u_2.nc")


def test_the_delta_method_takes_no_part_without_months(tmp_path):
    run = write_run(tmp_path / "run", season=False)
    options = {"variables": ["u"], "factor": [2, 2]}
    found = {}
    for name, fields in (("dated", fine_field()), ("undated", fine_field().drop_vars("time"))):
        dataset = data.open_dataset(fields, fields=options)
        evaluation = run.predictor.evaluate(dataset)
        compared = tasks.beside_baselines(evaluation, dataset, run.preprocessing)
        found[name] = set(compared.comparisons["u"].values)
    assert found["dated"] - found["undated"] == {"delta", "delta + constraint"}
