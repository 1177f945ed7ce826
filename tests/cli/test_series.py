"""The walk over series from the command: train, evaluate, predict, embed, explain, data, export."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from sequences import waves, write_pair, write_ts

from convarium import create, data, explain, open_run, train
from convarium.cli import main
from convarium.cli.choosing import chosen
from convarium.cli.parsing import Parser
from convarium.cli.train import add_arguments
from convarium.report import draw_series
from convarium.report.viewed_sequences import exciting_sequences, map_sequences
from convarium.train.checks import field_advice

SMALL = ["--model", "fcn", "--option", "channels=[8,8,8]", "--precision", "fp32"]
QUICK = [*SMALL, "--epochs", "4", "--batch-size", "8"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_pair(tmp_path_factory.mktemp("walk"), length=-40, channels=2)
    series, labels = waves(4, seed=5, channels=2)
    series[1][:, 3:6] = np.nan
    write_ts(folder / "new.ts", series, labels)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    words = ["train", str(folder / "Ramps_TRAIN.ts"), *QUICK, "--out", str(folder / "run")]
    assert main(words) == 0
    return folder / "run"


def test_the_run_says_what_it_learnt_from_and_shows_curves(run):
    card = json.loads((run / "card.json").read_text())
    steps = [step["op"] for step in card["preprocessing"]["steps"]]
    assert steps == ["read_series", "fill", "normalize", "pad"]
    assert card["data"]["counts"]["test"] == 12
    assert card["data"]["series"]["missing"] == 0
    page = (run / "report.html").read_text()
    assert page.count('class="sequence"') >= 4
    assert "test series" in page


def test_evaluate_predict_and_embed_go_by_the_names_of_the_series(run, folder, capsys):
    assert main(["evaluate", str(run), str(folder / "Ramps_TRAIN.ts"), "--part", "test"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["predict", str(run), str(folder / "new.ts"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["predictions"]] == [f"new/{k}" for k in range(4)]
    target = folder / "vectors.parquet"
    assert main(["embed", str(run), str(folder / "new.ts"), "-o", str(target)]) == 0
    assert len(pq.read_table(target)["vector"][0]) == 8


def test_explain_draws_the_heat_along_the_series(run, folder, capsys):
    out = folder / "heat"
    words = ["explain", str(run), str(folder / "new.ts"), "-o", str(out), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    first = told["explanations"][0]
    assert len(first["heat"]) == 30
    assert max(first["heat"]) == 1
    assert (out / "heatmaps.html").read_text().count("<svg") == 4
    names = [each["files"]["overlay"] for each in told["explanations"]]
    assert names == [f"{k + 1:03}-{k}.png" for k in range(4)]
    assert {path.name for path in out.glob("*.png")} == {"heatmaps.png", *names}
    assert (told["method"], told["layer"]) == ("hires_cam", first["layer"])
    assert main([*words, "--shared-scale", "--target", first["target"], "--faithfulness"]) == 0
    told = json.loads(capsys.readouterr().out)
    highest = sorted(max(each["heat"]) for each in told["explanations"])
    assert highest[0] < highest[-1] == 1
    assert set(told["faithfulness"]) == {"deletion", "insertion", "average_drop"}
    page = (out / "heatmaps.html").read_text()
    assert "They share one scale" in page
    assert "gain over edges" in page
    assert main(["audit", str(run), str(folder / "Ramps_TRAIN.ts")]) == 2
    assert "run (of series) cannot be audited" in capsys.readouterr().err


def test_views_are_drawn_along_the_series(run, folder, capsys):
    opened, out = open_run(run), folder / "views"
    series = data.open_inputs([str(folder / "new.ts")], kind="series")
    inputs = [opened.preprocessing.apply(series.read(i)).unsqueeze(0) for i in range(4)]
    maps: list[torch.Tensor] = []
    with opened.model.stage1.register_forward_hook(lambda *seen: maps.append(seen[2])):
        for x in inputs:
            opened.model(x)
    words = ["explain", str(run), "-o", str(out)]
    assert main([*words, "--filters"]) == 0
    new, one = folder / "new.ts", folder / "one.ts"
    assert main([*words, str(new), "--exciting", "stage1:3", "--most", "2"]) == 0
    told = json.loads((out / "exciting.json").read_text())["inputs"]
    highest = [each[0, 3].max().item() for each in maps]
    assert [each["value"] for each in told] == pytest.approx(sorted(highest, reverse=True)[:2])
    strongest = told[0]
    found = explain.exciting_inputs(opened.model, inputs, "stage1", 3, most=1)
    (drawn,) = exciting_sequences(opened, series, found)
    ((start, stop),) = strongest["patch"]
    assert np.flatnonzero(drawn.heat).tolist() == list(range(start, stop))
    assert (drawn.title, drawn.scale) == (strongest["name"], False)
    assert main([*words, str(new), "--maps", "stage1"]) == 2
    assert "these are 4; give a file with one of them" in capsys.readouterr().err
    write_ts(one, [series.read(0).values], ["up"])
    assert main([*words, str(one), "--maps", "stage1", "--most", "5"]) == 0
    told = json.loads((out / "maps.json").read_text())
    order = maps[0][0].amax(1).argsort(descending=True)[:5]
    assert told["channels"] == order.tolist()
    assert (out / "maps.html").read_text().count("<svg") == 2
    for name in ("filters", "maps", "exciting"):
        assert (out / f"{name}.png").read_bytes()[1:4] == b"PNG"
    assert main([*words, str(new), "--exciting", "stage1:3", "--text", "x"]) == 2
    assert "--text is for texts" in capsys.readouterr().err


@pytest.mark.parametrize("shared", [False, True])
def test_maps_of_series_are_stretched_to_its_steps(run, folder, shared):
    opened = open_run(run)
    series = data.open_inputs([str(folder / "new.ts")], kind="series")
    length = series.read(0).length
    values = torch.linspace(-1, 2, 2 * (length // 2)).reshape(1, 2, -1)
    strength = values.abs().amax(2)
    found = explain.FeatureMaps("a", values, torch.tensor([[4, 2]]), strength, (length,))
    plain, drawn = map_sequences(opened, series, found, shared=shared)
    stretched = F.interpolate(values, size=length, mode="linear", align_corners=False)[0]
    np.testing.assert_allclose(drawn.values, stretched.numpy(), rtol=1e-5)
    assert drawn.channels == ["channel 4, up to 1", "channel 2, up to 2"]
    assert plain.heat.shape == drawn.heat.shape
    low = [f"{low:.3g}" for low in (-1, -1 if shared else values[0, 1].min())]
    svg = draw_series(drawn).replace("\N{MINUS SIGN}", "-")
    assert [svg.count(f">{text}<") for text in dict.fromkeys(low)] == ([2] if shared else [1, 1])


def test_an_exported_file_gives_what_the_network_gives(run, folder, capsys):
    pytest.importorskip("onnxruntime")
    assert main(["export", str(run), "--to", "onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["largest_difference"] < 1e-4
    assert told["agreement"] == 1


def test_a_file_of_any_length_runs_series_one_by_one(run, folder, capsys):
    runtime = pytest.importorskip("onnxruntime")
    path = folder / "any.onnx"
    words = ["export", str(run), "--to", "onnx", "--dynamic-size", "-o", str(path), "--json"]
    assert main(words) == 0
    assert len(json.loads(capsys.readouterr().out)["sizes"]) == 3
    file, opened = runtime.InferenceSession(str(path)), open_run(run)
    series = data.open_inputs([str(folder / "Ramps_TEST.ts")], kind="series")
    lengths = set()
    for i in range(len(series)):
        x = opened.preprocessing.apply(series.read(i)).unsqueeze(0)
        lengths.add(x.shape[2])
        (found,) = file.run(None, {"input": x.numpy()})
        assert np.allclose(found, opened.model(x).detach().numpy(), atol=1e-4)
    assert len(lengths) > 2


def test_series_are_not_turned_around_for_a_prediction(run, folder, capsys):
    assert main(["predict", str(run), str(folder / "new.ts"), "--tta", "flip"]) == 2
    assert (
        "tta (='flip') is for images and volumes, and these are series" in capsys.readouterr().err
    )


def test_a_file_is_verified_on_other_series_too(run, folder, capsys):
    pytest.importorskip("onnxruntime")
    words = ["export", str(run), "--to", "onnx", "--samples", str(folder / "new.ts"), "--json"]
    assert main([*words, "-o", str(folder / "other.onnx")]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 4


def test_a_tcn_that_does_not_see_all_of_a_series_says_so(folder):
    parts = data.split(data.open_dataset(folder / "Ramps_TRAIN.ts"))
    steps = data.fit_preprocessing(parts.train)
    short, long = (create("tcn", channels=[8] * blocks) for blocks in (2, 4))
    line = field_advice(short, steps)
    assert "tcn sees 13 time steps" in line
    assert line.endswith("4 blocks see all: channels=[8, 8, 8, 8] and dilations=[1, 2, 4, 8]")
    assert field_advice(long, steps) is None
    slower = dataclasses.replace(steps, input_shape=(2, 13))  # as where a rate is lowered
    assert field_advice(short, slower) is None
    model = create("tcn", in_channels=2, channels=[4], num_classes=2)
    options = train.TrainConfig(epochs=1, flip=False, batch_size=8, precision="fp32")
    with pytest.warns(UserWarning, match="tcn sees 5 time steps"):
        train.fit(model, parts, options, preprocessing=steps)


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (["--model", "fcn"], 1),
        (["--option", "members=3"], 3),
        (["--model", "inception_time_ensemble"], 5),
    ],
)
def test_each_member_gets_the_batches_and_epochs_of_one_network(folder, words, times):
    parser = Parser(prog="convarium train")
    add_arguments(parser)
    dataset = data.open_dataset(folder / "Ramps_TRAIN.ts")
    line = [str(folder / "Ramps_TRAIN.ts"), *words]
    alone = train.recommend(dataset).config
    config = chosen(parser.parse_args(line), dataset, None)[0].config
    assert (config.batch_size, config.epochs) == (times * alone.batch_size, times * alone.epochs)
    given = chosen(parser.parse_args([*line, "--batch-size", "6"]), dataset, None)[0].config
    assert (given.batch_size, given.epochs) == (6, alone.epochs)  # both, or neither
    given = chosen(parser.parse_args([*line, "--epochs", "7"]), dataset, None)[0].config
    assert (given.batch_size, given.epochs) == (alone.batch_size, 7)


def test_data_tells_what_is_there(folder, capsys):
    assert main(["data", str(folder / "Ramps_TRAIN.ts")]) == 0
    told = capsys.readouterr().out
    assert "36 series of 2 classes" in told
    assert "time steps" in told


def test_a_long_table_in_windows_goes_the_whole_way(tmp_path, capsys):
    random = np.random.default_rng(0)
    path = tmp_path / "walks.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["when", "who", "x", "state"])
        for who in range(10):
            for t in range(48):
                fast = (t // 24 + who) % 2
                writer.writerow([t, who, np.sin(t * (1 + fast)) + random.normal() / 9, fast])
    columns = ["--time-column", "when", "--series-column", "who", "--target-column", "state"]
    words = ["train", str(path), *columns, "--window", "12", "--stride", "6", *QUICK]
    words += ["--normalise", "series", "--missing", "fill", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert main([*words, "--resume"]) == 0
    capsys.readouterr()
    for flags in (["--window", "6"], ["--normalise", "none"]):
        assert main([*words, *flags, "--resume"]) == 2
        assert f"{flags[0]}: it was" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "run"), str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 70
    assert main(["predict", str(tmp_path / "run"), str(path), "--json"]) == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)["predictions"]]
    assert names[:2] == ["0 0-12", "0 6-18"]


def test_numbers_and_several_labels_are_learnt_too(tmp_path, capsys):
    series, labels = waves(80, length=20)
    levels = np.random.default_rng(3).normal(0, 2, 80)
    series = [values + level for values, level in zip(series, levels, strict=True)]
    numbers = [f"{values.mean():.3f}" for values in series]
    path = write_ts(tmp_path / "a.ts", series, numbers, targetLabel="true")
    path.write_text(path.read_text().replace("@classLabel", "#"))
    words = ["train", str(path), *SMALL, "--epochs", "30", "--batch-size", "8"]
    assert main([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["test"]["r2"] > 0.5
    several = write_ts(tmp_path / "b.ts", series, [f"{a};all" for a in labels], classLabel="true")
    words = ["train", str(several), "--task", "multilabel", *QUICK]
    assert main([*words, "--out", str(tmp_path / "labels"), "--json"]) == 0
    card = json.loads((tmp_path / "labels" / "card.json").read_text())
    assert card["classes"] == ["all", "down", "up"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--kind", "images"], "not a kind of data"),
        (["--text", "x"], "not one of series"),
        (["--size", "32"], "belongs to images"),
        (["--model", "text_cnn"], "reads tokens"),
        (["--recipe", "strong"], "is for images and volumes"),
        (["--mixup", "0.2"], "the data holds series"),
        (["--tokens", "char"], "belongs to texts"),
    ],
)
def test_what_series_do_not_have_is_one_sentence(folder, words, problem, capsys):
    source = str(folder / "Ramps_TRAIN.ts")
    assert main(["train", source, *words, "--out", str(folder / "none")]) == 2
    assert problem in capsys.readouterr().err
