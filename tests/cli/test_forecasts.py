"""Forecasts: what is cut, what simple rules reach, and the walk from the command."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from convarium import data, open_run, tasks
from convarium.cli import main
from convarium.data.series.forecasts import season_of
from convarium.data.series.naive import naive_forecasts, scale_of, season_in
from convarium.errors import DataError, OptionError


def write_load(path, steps=400, sites=1, period=12, noise=0.3):
    random = np.random.default_rng(0)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "series", "load [MW]", "wind"])
        for site in range(sites):
            for t in range(steps):
                load = 5 + site + 3 * np.sin(2 * np.pi * t / period) + random.normal(0, noise)
                writer.writerow([t, f"s{site}", load, random.normal()])
    return path


def opened(path, **options) -> data.Dataset:
    own = {"task": "forecast", "label_column": "load [MW]", "horizon": 3, "window": 24}
    return data.open_dataset(path, **{**own, **options})


def test_targets_are_the_steps_behind_the_window(tmp_path):
    found = opened(write_load(tmp_path / "a.csv", steps=60))
    assert found.classes == ("load+1", "load+2", "load+3")
    assert found.units == ("MW",) * 3
    assert len(found) == 60 - 24 - 3 + 1
    whole = np.concatenate([found.read(0).values[0], found.targets[0]])
    assert np.array_equal(whole[1:25], found.read(1).values[0])
    assert found.read(5).values.shape == (2, 24)
    alone = opened(tmp_path / "a.csv", value_column="wind", horizon=1)
    assert alone.samples.channels == ("wind", "load [MW]")
    assert alone.targets[0] == pytest.approx(found.targets[0, :1])


def test_parts_follow_each_other_in_the_time_of_all_series(tmp_path):
    found = opened(write_load(tmp_path / "a.csv", steps=120, sites=3))
    parts = data.split(found, validation=0.2, test=0.2)
    sides = [found.times[part.ids] for part in (parts.train, parts.validation, parts.test)]
    assert sides[0][:, 1].max() <= sides[1][:, 0].min()
    assert sides[1][:, 1].max() <= sides[2][:, 0].min()
    for part in (parts.train, parts.validation, parts.test):
        assert len(np.unique(found.groups[part.ids])) == 3
    assert parts.between == 3 * 2 * 2  # of three series at two borders what lies across


def test_simple_rules_and_the_scale_are_what_their_formulas_say(tmp_path):
    found = opened(write_load(tmp_path / "a.csv", steps=200))
    parts = data.split(found)
    assert season_in(parts.train) == 12
    rules = naive_forecasts(found, parts.test.ids, parts.train)
    for row, i in enumerate(parts.test.ids[:5].tolist()):
        past = found.read(i).values[0]
        assert rules["naive"][row] == pytest.approx([past[-1]] * 3)
        assert rules["seasonal naive"][row] == pytest.approx(past[-12:-9])
    stop = int(found.samples.spans[parts.train.ids, 1].max())
    series = found.samples.values[0, :stop].astype(float)
    assert scale_of(parts.train) == pytest.approx([np.abs(series[12:] - series[:-12]).mean()] * 3)


@pytest.mark.parametrize("period", [5, 7, 12])
def test_a_season_is_found_and_noise_has_none(period):
    random = np.random.default_rng(1)
    wave = np.sin(2 * np.pi * np.arange(300) / period) + random.normal(0, 0.2, 300)
    assert season_of(wave.astype(np.float32), 30) == period
    assert season_of(random.normal(size=300).astype(np.float32), 30) == 1
    assert season_of(np.ones(50, np.float32), 20) == 1
    assert season_of(np.ones(0, np.float32), 20) == 1


def changed(path, where, column=2, word=""):
    """The table with another word in a column of some rows, which count from 1."""
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for row in where:
        lines[row][column] = word
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return path


def test_the_season_is_that_of_the_training_times_and_of_most_series(tmp_path):
    path = write_load(tmp_path / "a.csv", steps=200, sites=3)
    lines = path.read_text().splitlines()
    for t in range(160, 200):  # what the test part repeats is another matter
        lines[1 + t] = f"{t},s0,{5 * (t % 7)},0"
    path.write_text("\n".join(lines) + "\n")
    changed(path, range(1, 201))  # the first series has no value of the target
    assert season_in(data.split(opened(path)).train) == 12
    alone = write_load(tmp_path / "b.csv", steps=200)
    changed(alone, range(150, 201), word="100")
    assert season_in(data.split(opened(alone), test=0.3).train) == 12


def test_a_window_without_values_of_the_target_has_the_mean_of_training(tmp_path, capsys):
    path = changed(write_load(tmp_path / "a.csv", steps=200), range(186, 199))
    found = opened(path, window=8, horizon=2)
    parts = data.split(found)
    empty = [i for i in parts.test.ids.tolist() if np.isnan(found.read(i).values[0]).all()]
    rules = naive_forecasts(found, np.array(empty), parts.train)
    assert len(empty) > 0
    for values in rules.values():
        means = parts.train.targets.mean(axis=0, dtype=np.float64)
        assert values == pytest.approx(np.tile(means, (len(empty), 1)))
    words = ["train", str(path), "--task", "forecast", "--target-column", "load [MW]", "--json"]
    words += ["--horizon", "2", "--window", "8", "--epochs", "1", "--precision", "fp32"]
    assert main([*words, "--compile", "off", "--out", str(tmp_path / "run")]) == 0
    rules = json.loads((tmp_path / "run" / "card.json").read_text())["result"]["baselines"]
    assert all(np.isfinite(each["mase"]) for each in rules)


def test_a_target_that_is_never_there_and_parts_of_ones_own_are_refused(tmp_path):
    path = changed(write_load(tmp_path / "a.csv", steps=60), range(1, 61))
    with pytest.raises(DataError, match=r"No window .* 3 steps: load \[MW\] is missing there"):
        opened(path)
    path = changed(write_load(tmp_path / "b.csv", steps=60), [0], column=3, word="split")
    with pytest.raises(DataError, match="parts in the column 'split', and forecasts are split by"):
        opened(path)
    assert len(opened(path, value_column="split")) == 60 - 24 - 3 + 1


def test_mase_is_the_error_in_changes_of_the_training_part():
    task = tasks.Forecast(("a+1", "a+2"), ("", ""), (0.0, 0.0), (1.0, 1.0), scale=(0.5, 2.0))
    batch = data.Batch((), torch.tensor([[1.0, 1.0], [2.0, 4.0]]), None, torch.arange(2), None)
    meter = task.meter()
    meter.add(torch.tensor([[1.5, 1.0], [2.5, 2.0]]), batch)
    found = meter.evaluation()
    assert found.mase == pytest.approx((1.0, 0.5))
    assert found.sentence().startswith("MASE 0.750; R2")
    assert found.summary()["outputs"]["a+2"]["mase"] == pytest.approx(0.5)
    with pytest.raises(OptionError, match="scale"):
        tasks.Forecast(("a",), ("",), (0.0,), (1.0,), scale=(0.0,))


def test_the_command_learns_a_season_and_predict_goes_on(tmp_path, capsys):
    path = write_load(tmp_path / "load.csv", steps=500)
    words = ["train", str(path), "--task", "forecast", "--target-column", "load [MW]"]
    words += ["--horizon", "3", "--window", "24", "--epochs", "12", "--precision", "fp32"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "baseline: naive: MASE" in told
    assert "baseline: seasonal naive (12 steps back): MASE" in told
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    rules = {each["name"]: each["mase"] for each in card["result"]["baselines"]}
    assert card["result"]["test"]["mase"] < min(rules.values())
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Beside simple rules" in page
    assert main(["evaluate", str(tmp_path / "run"), str(path), "--part", "test"]) == 0
    assert "MASE" in capsys.readouterr().out
    with open(path) as file:
        lines = file.read().splitlines()
    (tmp_path / "past.csv").write_text("\n".join(lines[:401]) + "\n")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "past.csv"), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["predictions"]
    assert said["name"] == "s0"
    ahead = [5 + 3 * np.sin(2 * np.pi * t / 12) for t in (400, 401, 402)]
    values = [said[f"predicted_load+{k}"] for k in (1, 2, 3)]
    assert values == pytest.approx(ahead, abs=1.2)
    assert open_run(tmp_path / "run").model.name == "tcn"


def test_a_forecast_is_not_learnt_from_windows_that_lost_their_level(tmp_path):
    parts = data.split(opened(write_load(tmp_path / "a.csv", steps=200)))
    with pytest.raises(OptionError, match="loses the level and size of a window"):
        data.fit_preprocessing(parts.train, series=data.SeriesOptions(normalise="series"))
    steps = data.fit_preprocessing(parts.train, series=data.SeriesOptions(normalise="none"))
    assert steps.apply(parts.train.dataset.read(0)).mean() > 1


@pytest.mark.parametrize(
    ("options", "error", "problem"),
    [
        ({"label_column": "price"}, DataError, "no column 'price'"),
        ({"label_column": None}, DataError, "name one of them with --target-column"),
        ({"horizon": 0}, OptionError, "horizon .=0."),
        ({"window": 500}, DataError, "smaller --window or --horizon"),
        ({"task": "regression"}, OptionError, "belongs to task='forecast'"),
        ({"group_column": "series"}, OptionError, "groups have no effect"),
        ({"kind": "images"}, OptionError, "images are asked for"),
    ],
)
def test_what_cannot_be_forecast_is_one_sentence(tmp_path, options, error, problem):
    path = write_load(tmp_path / "a.csv", steps=60)
    with pytest.raises(error, match=problem):
        opened(path, **options)
