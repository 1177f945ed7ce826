"""The walk of gridded fields by command: train, resume, evaluate, downscale, the report."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tomllib

import numpy as np
import pytest

from convarium import data, predict
from convarium.cli import main
from convarium.cli.announcing import announce
from convarium.cli.choosing import data_of, prepared
from convarium.cli.parsing import Parser
from convarium.cli.train import add_arguments
from convarium.deploy.runtimes import SequenceRuntime

xarray = pytest.importorskip("xarray")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A field with a pattern of each month, and a run of it."""
    folder = tmp_path_factory.mktemp("fields")
    random = np.random.default_rng(0)
    months = np.arange(60) % 12
    patterns = random.normal(size=(2, 12, 12, 24))
    values = patterns[:, months] + 0.2 * random.normal(size=(2, 60, 12, 24))
    coords = {
        "time": xarray.date_range("1990-01-16", periods=60, freq="MS"),
        "lat": ("lat", -82.5 + 15.0 * np.arange(12), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 360, 15), {"units": "degrees_east"}),
    }
    dims, units = ("time", "lat", "lon"), {"units": "m/s"}
    variables = {name: (dims, v.astype("f4"), units) for name, v in zip("uv", values, strict=True)}
    xarray.Dataset(variables, coords).to_netcdf(folder / "field.nc", engine="h5netcdf")
    words = [*TRAIN, "--out", str(folder / "run")]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert main([words[0], str(folder / "field.nc"), *words[1:]]) == 0
    (folder / "told.txt").write_text(told.getvalue())
    return folder


TRAIN = [
    *("train", "--task", "downscale", "--variable", "u", "--predictors", "v", "--factor", "4"),
    *("--validation", "12", "--test", "12", "--epochs", "2", "--batch-size", "12"),
    *("--model", "edsr_small", "--option", "depth=1", "--option", "width=8"),
    *("--learning-rate", "0.0001", "--start", "delta"),
]


def test_a_run_says_what_it_learnt(folder):
    card = json.loads((folder / "run" / "card.json").read_text())
    assert card["task"] == "downscale"
    assert card["data"]["counts"] == {"train": 36, "validation": 12, "test": 12}
    assert card["data"]["times"]["test"] == ["1994-02-01", "1995-01-01"]
    assert card["targets"]["units"] == ["m/s"]
    gain = card["result"]["test"]["outputs"]["u"]["gain"]
    assert gain["over"] == "delta + constraint"
    assert card["model"]["options"]["constraint"] == "additive"
    assert card["model"]["options"]["wrap"] is True
    assert card["model"]["options"]["cell_kernel"] == 5
    assert card["places"]["score"] == card["result"]["validation"]["val_r2"]
    told = (folder / "told.txt").read_text()
    assert "read besides: the climatology of 12 months, the season\n" in told
    assert "blocks begin at any fine cell" in told
    assert "\nplaces: " in told
    stored = tomllib.loads((folder / "run" / "config.toml").read_text())
    assert stored["data"]["columns"]["fields"]["factor"] == [4, 4]
    page = (folder / "run" / "report.html").read_text()
    for words in ("smaller RMSE of u than delta + constraint", "Fine waves", "Spectra", "tropics"):
        assert words in page
    assert page.count("<img") >= 3 * 6 + 2  # maps of three times, and of all


def test_the_same_figures_come_again(folder, capsys):
    card = json.loads((folder / "run" / "card.json").read_text())
    run, field = str(folder / "run"), str(folder / "field.nc")
    capsys.readouterr()
    assert main(["evaluate", run, field, "--part", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["outputs"] == card["result"]["test"]["outputs"]
    methods = {row["method"] for row in found["methods"]["u"]}
    assert methods > {"network", "bilinear", "delta + constraint"}
    assert main(["evaluate", run, field, "--part", "test"]) == 0
    assert "conservation error" in capsys.readouterr().out
    capsys.readouterr()
    assert main(["evaluate", run, run, field, "--part", "test", "--block", "3", "--json"]) == 0
    twice = json.loads(capsys.readouterr().out)["outputs"]["u"]  # two members that are the same
    assert twice["rmse"] == pytest.approx(found["outputs"]["u"]["rmse"])
    assert twice["crps"] == pytest.approx(twice["mae"])
    assert [rank["right"] for rank in twice["ranks"]] == pytest.approx([1 / 3] * 3)
    assert main(["evaluate", run, field, "--region", "0", "90", "0", "360"]) == 2
    assert "--start coarse" in capsys.readouterr().err


def test_a_finished_run_resumes_and_refuses_other_options(folder, capsys):
    field = str(folder / "field.nc")
    resume = ["train", field, "--out", str(folder / "run"), "--resume"]
    assert main(resume) == 0
    assert main([*resume, "--factor", "2"]) == 2
    assert "another --fields" in capsys.readouterr().err
    assert main([*resume, "--start", "coarse"]) == 2
    assert "another --start: it was delta and is coarse; leave it out" in capsys.readouterr().err
    levels = ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert main([*resume, *TRAIN[1:], "--season", "--start", "delta", "--levels", *levels]) == 0


def test_maps_of_places_are_left_out_where_nothing_could_fit_them(folder, capsys):
    words = [str(folder / "field.nc"), *TRAIN[1:], "--constraint", "softmax"]
    parser = Parser(prog="convarium train")
    add_arguments(parser)
    parser.add_argument("--json")
    given = parser.parse_args([*words, "--out", str(folder / "no")])
    announce(prepared(given, data_of(given), None))
    told = capsys.readouterr().out
    assert "\nplaces: no maps of them, which the softmax constraint rules out\n" in told
    assert main(["train", *words, "--out", str(folder / "no"), "--places", "5"]) == 2
    assert "--places 5 has no effect with --constraint softmax" in capsys.readouterr().err
    assert not (folder / "no").exists()


@pytest.fixture(scope="module")
def coarse(folder):
    """The pairs of the run, the coarse fields of all times, and these as a file."""
    options = {"variables": ["u"], "predictors": ["v"], "factor": [4, 4]}
    pairs = data.open_dataset(str(folder / "field.nc"), fields=options).samples.pairs
    x, grid = pairs.read(range(60))[0], pairs.fine.grid.coarse((4, 4))
    coords = {
        "time": pairs.fine.times,
        "lat": ("lat", grid.latitude, {"units": "degrees_north"}),
        "lon": ("lon", grid.longitude, {"units": "degrees_east"}),
    }
    dims, units = ("time", "lat", "lon"), {"units": "m/s"}
    variables = {name: (dims, x[:, k], units) for k, name in enumerate("uv")}
    xarray.Dataset(variables, coords).to_netcdf(folder / "coarse.nc", engine="h5netcdf")
    return pairs, x, str(folder / "coarse.nc")


def test_coarse_fields_become_fine_ones(folder, coarse, capsys):
    pairs, _, source = coarse
    words = ["downscale", str(folder / "run"), source]
    assert main([*words, "-o", str(folder / "fine.nc"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["times"], told["rows"], told["columns"]) == (60, 12, 24)
    fields = [xarray.load_dataset(folder / f"{name}.nc").u.values for name in ("fine", "field")]
    apart = fields[0][-12:] - fields[1][-12:]
    card = json.loads((folder / "run" / "card.json").read_text())
    rmse = card["result"]["test"]["outputs"]["u"]["rmse"]
    squares = (apart**2).mean((0, 2))  # of each row of cells
    by_area = np.average(squares, weights=pairs.fine.grid.areas)
    assert np.sqrt(by_area) == pytest.approx(rmse, rel=1e-3)
    assert main([*words, "-o", str(folder / "again.zarr")]) == 0
    assert "60 fields of 12 x 24 cells (u)" in capsys.readouterr().out


def test_draws_are_as_rough_as_the_truth_and_keep_block_means(folder, coarse, capsys):
    pairs, x, source = coarse
    words = ["downscale", str(folder / "run"), source]
    assert main([*words, "-o", str(folder / "drawn.nc"), "--draws", "2"]) == 0
    assert "(u, u_draw1, u_draw2)" in capsys.readouterr().out
    found, truth = (xarray.load_dataset(folder / f"{name}.nc") for name in ("drawn", "field"))
    assert found.u_draw1.attrs["long_name"].endswith(", a draw, downscaled by edsr_small")
    rough = [float((found[name] - truth.u.values).std()) for name in ("u", "u_draw1", "u_draw2")]
    assert rough[1:] == pytest.approx([rough[0] * 2**0.5] * 2, rel=0.15)
    weights = pairs.fine.grid.areas.reshape(3, 4, 1)
    blocks = found.u_draw1.values.reshape(60, 3, 4, 6, 4).mean(4)
    means = (blocks * weights).sum(2) / weights.sum(1)
    np.testing.assert_allclose(means, x[:, 0], atol=1e-5)
    opened = [predict.open_run(folder / "run")]
    own = predict.fine_dataset(opened, source, draws=2)
    np.testing.assert_allclose(own.u, found.u, atol=1e-5)
    np.testing.assert_allclose(own.u_draw2, found.u_draw2, atol=1e-5)
    again = predict.fine_dataset(opened, source, draws=1, seed=1)
    assert 0.5 * rough[1] < float((again.u_draw1 - found.u_draw1).std())
    both = ["downscale", str(folder / "run"), *words[1:], "-o", str(folder / "no.nc")]
    assert main([*both, "--draws", "1"]) == 2
    assert "of one run: several have a spread already" in capsys.readouterr().err


def test_draws_are_evaluated_as_they_are_written(folder, coarse, capsys):
    pairs, _, source = coarse
    run, fine = predict.open_run(folder / "run"), str(folder / "field.nc")
    words = ["evaluate", str(folder / "run"), fine, "--draws"]
    assert main([*words, "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["method"]: row for row in told["methods"]["u"] if row["group"] == "all"}
    found = predict.fine_dataset([run], source, draws=1).u_draw1.values
    squares = ((found - xarray.load_dataset(fine).u.values) ** 2).mean((0, 2))
    by_area = np.average(squares, weights=pairs.fine.grid.areas)
    assert np.sqrt(by_area) == pytest.approx(rows["network, drawn"]["rmse"], rel=1e-4)
    assert rows["network, drawn"]["crps"] < rows["network"]["crps"]
    assert rows["delta + constraint, drawn"]["crps"] < rows["delta + constraint"]["crps"]
    own = told["outputs"]["u"]
    assert (own["draws"], own["crps_gain"]["over"]) == (2, "delta + constraint, drawn")
    assert len(own["ranks"]) == 3
    absent = str(folder / "absent.nc")  # what is refused before any data is read
    assert main(["evaluate", str(folder / "run"), absent, "--draws", "1"]) == 2
    assert "draws (=1) must be 2 or more" in capsys.readouterr().err
    assert main(["evaluate", str(folder / "run"), absent, "--seed", "5"]) == 2
    assert "give --draws too" in capsys.readouterr().err


def test_the_next_verbs_say_what_helps(folder, capsys):
    run = str(folder / "run")
    assert main(["predict", run, str(folder / "field.nc")]) == 2
    assert "convarium downscale" in capsys.readouterr().err
    assert main(["data", str(folder / "field.nc"), "--variable", "u", "--factor", "4"]) == 0
    assert "60" in capsys.readouterr().out
    assert main(["train", "digits", "--factor", "4", "--out", str(folder / "no")]) == 2
    assert "digits" in capsys.readouterr().err
    words = ["train", str(folder / "field.nc"), "--variable", "u", "--factor", "4"]
    assert main([*words, "--model", "resnet18", "--out", str(folder / "no")]) == 2
    assert "become fields" in capsys.readouterr().err
    assert main([*words, "--option", "factor=2", "--out", str(folder / "no")]) == 2
    assert "follows from the data" in capsys.readouterr().err
    assert main([*words, "--axis", "height=z", "--out", str(folder / "no")]) == 2
    assert "latitude=NAME" in capsys.readouterr().err
    assert main([*words[:3], "w", *words[4:], "--out", str(folder / "no")]) == 2
    assert "no variable 'w'" in capsys.readouterr().err


def test_which_fields_count_and_how_far_a_run_sees(folder, capsys):
    run, field = str(folder / "run"), str(folder / "field.nc")
    words = ["explain", run, field, "-o", str(folder / "explained"), "--json"]
    capsys.readouterr()
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["times"] == 12  # the test part
    rows = {row["name"]: row for row in told["fields"]}
    assert set(rows) == {"u", "v", "season"}
    assert rows["u"]["rmse"] > rows["v"]["rmse"]
    assert (folder / "explained" / "importance.html").read_text().count("<img") == 3
    assert main([*words, "--target", "u"]) == 2
    assert "for classes" in capsys.readouterr().err
    for flag, value in (("--most", "3"), ("--text", "u"), ("--id", "u")):
        assert main([*words, flag, value]) == 2
        assert f"{flag} is for samples" in capsys.readouterr().err
    for flag, value in (("--maps", "stem"), ("--exciting", "stem:0")):
        assert main([*words, flag, value]) == 2
        assert "gives fields; leave them out" in capsys.readouterr().err
    assert main(["measure", run]) == 0
    out = capsys.readouterr().out
    assert "km from north to south" in out


def test_a_part_of_several_runs_is_what_all_have_in_it(folder, tmp_path, capsys):
    import pyarrow as pa
    import pyarrow.parquet as pq

    run, other, field = folder / "run", tmp_path / "other", str(folder / "field.nc")
    shutil.copytree(run, other)
    rows = pq.read_table(run / "splits.parquet")
    ids, parts = (rows[name].to_pylist() for name in ("id", "part"))

    def write(part_of):
        named = [part_of(i, part) for i, part in zip(ids, parts, strict=True)]
        place = rows.column_names.index("part")
        pq.write_table(rows.set_column(place, "part", pa.array(named)), other / "splits.parquet")

    words = ["evaluate", str(run), str(other), field, "--part", "test", "--json"]
    write(lambda i, part: "train" if i < 52 else part)  # 4 of the 12 that the first one tests on
    capsys.readouterr()
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 8
    write(lambda i, part: {"test": "validation", "validation": "test"}.get(part, part))
    assert main(words) == 2
    assert "No sample is in the part 'test'" in capsys.readouterr().err


def test_fields_without_dates_are_refused_where_the_month_is_read(folder, tmp_path, capsys):
    with xarray.open_dataset(folder / "field.nc") as dated:
        dated.load().drop_vars("time").to_netcdf(tmp_path / "undated.nc", engine="h5netcdf")
    assert main(["evaluate", str(folder / "run"), str(tmp_path / "undated.nc")]) == 2
    assert "has no dates that say it" in capsys.readouterr().err


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_run_is_exported_with_its_constraint(folder, format, tmp_path, capsys):
    path = tmp_path / {"onnx": "m.onnx", "openvino": "m.xml"}[format]
    words = ["export", str(folder / "run"), "--to", format, "-o", str(path)]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["inputs"], told["constraint"]) == (["input", "fine", "weights"], "additive")
    assert (told["free"], told["sizes"]) == (False, [[3, 6]])
    assert told["apart"] < 1e-5
    given = predict.field_samples(predict.open_run(folder / "run"))
    y = SequenceRuntime(path, 1e-4).run([*given.values()])[0]
    areas = given["weights"][0, 0].numpy()
    whole = (y * areas).reshape(len(y), 3, 4, 6, 4).sum((2, 4))
    means = whole / areas.reshape(3, 4, 6, 4).sum((1, 3))
    assert np.abs(means - given["input"][:, 0].numpy()).max() < 1e-4
    for wrong, hint in ((["--int8"], "read maps"), (["--samples", "no.nc"], "no.nc")):
        assert main([*words, *wrong]) == 2
        assert hint in capsys.readouterr().err.strip().splitlines()[-1]
    assert main(["export", str(folder / "run"), "--to", "torch"]) == 2
    assert "fields take onnx or openvino" in capsys.readouterr().err
