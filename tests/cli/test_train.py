"""`convarium train` beyond the plain run: recipes, folds, budgets, looks, and flags that clash."""

from __future__ import annotations

import json
import shutil
import time
import types

import numpy as np
import pytest
from PIL import Image

from convarium import files, train
from convarium.cli import main
from convarium.train.config import TrainConfig
from convarium.train.named import RECIPES

SMALL = ["--model", "convnet", "--option", "channels=[4]", "--option", "kernel_sizes=[3]"]


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Three textures, 90 pictures."""
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    targets = np.arange(90) % 3
    images = np.random.default_rng(0).integers(0, 60, (90, 8, 8), dtype=np.uint8)
    images[targets == 0, ::2] += 190
    images[targets == 1, :, ::2] += 190
    np.savez(path, x=images, y=targets)
    return str(path)


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def settings(folder):
    return train.read_settings(folder)["train"]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SAID = {
    "pad_crop": "pixels and crop",
    "policy": "RandAugment: 2 operations of strength 9",
    "erasing": "erase with probability 0.25",
    "mixup": "mixup, share from",
    "cutmix": "CutMix, share from",
    "label_smoothing": "labels smoothed by 0.1",
    "ema": "weights averaged with decay 0.999",
    "start_size": "inputs that grow from 57% of their sides",
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_stands_between_the_data_s_choice_and_the_flags(recipe, bars, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", bars, "--out", str(out), "--recipe", recipe, *SMALL, "--epochs", "1"]
    size = ["--size", "8"] if recipe == "cifar2015" else []
    assert main([*words, *size, "--no-flip", "--batch-size", "16"]) == 0
    shown = capsys.readouterr().out
    stored = TrainConfig.from_mapping(settings(out))
    expected = {**RECIPES[recipe].config_options(8), "epochs": 1, "batch_size": 16, "flip": False}
    assert {name: getattr(stored, name) for name in expected} == expected
    assert stored.recipe == recipe
    assert f"recipe: {recipe}, " in shown
    said = [words for name, words in SAID.items() if expected.get(name)]
    assert [words for words in SAID.values() if words in shown] == said
    assert ("random weights" in shown) == RECIPES[recipe].pretrained


@pytest.mark.parametrize(("flags", "pad"), [([], 0), (["--pad-crop", "2"], 2)])
def test_a_resized_crop_takes_the_padded_one_s_place(bars, tmp_path, flags, pad):
    words = ["train", bars, *SMALL, "--epochs", "1", "--recipe", "baseline", *flags]
    assert main([*words, "--resized-crop", "0.3", "--out", str(tmp_path / "run"), "--json"]) == 0
    stored = settings(tmp_path / "run")
    assert (stored["resized_crop"], stored["pad_crop"]) == (0.3, pad)
    again = [*words, "--resized-crop", "0.3", "--out", str(tmp_path / "run"), "--resume", "--json"]
    assert main(again) == 0


def test_the_recipe_of_2015_brings_its_network_and_size(bars):
    from convarium import data

    choice = train.recommend(data.open_dataset(bars), recipe="cifar2015")
    assert (choice.model, choice.size, choice.options) == ("resnet20_cifar", 32, {})
    assert choice.config.pad_crop == 4
    adam = train.recommend(data.open_dataset(bars), recipe="baseline", optimizer="adamw")
    plain = train.recommend(data.open_dataset(bars))
    assert adam.config.optimizer == "adamw"
    assert adam.config.learning_rate == plain.config.learning_rate


def test_folds_are_runs_that_resume_and_are_summed_up(bars, tmp_path, capsys):
    out = tmp_path / "cv"
    words = ["train", bars, "--folds", "3", "--epochs", "2", *SMALL]
    assert main([*words, "--out", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    summary = files.read_json(out / "folds.json")
    assert shown == {"run": str(out), **summary}
    scores = []
    for k in (1, 2, 3):
        card = files.read_json(out / f"fold-{k}" / "card.json")
        assert card["split"]["fold"] == k
        assert (out / f"fold-{k}" / "report.html").exists()
        scores.append(card["result"]["test"]["accuracy"])
    assert [fold["score"] for fold in summary["folds"]] == scores
    assert summary["mean"] == pytest.approx(np.mean(scores))
    assert summary["n"] == 90
    # a death in the second fold, which leaves a checkpoint, and none of the third
    before = files.sha256(out / "fold-3" / "model.safetensors")
    shutil.rmtree(out / "fold-3")
    (out / "fold-2" / "card.json").unlink()
    (out / "folds.json").unlink()
    assert main([*words, "--out", str(out), "--resume"]) == 0
    assert "mean acc" in capsys.readouterr().out
    assert files.read_json(out / "folds.json") == summary
    assert files.sha256(out / "fold-3" / "model.safetensors") == before
    # one fold alone is a run like any other
    assert main(["train", bars, "--out", str(out / "fold-2"), "--resume"]) == 0
    assert main(["train", bars, "--out", str(out), "--folds", "4", "--resume"]) == 2
    assert "--folds as it was" in last_line(capsys)
    assert main(["train", bars, "--out", str(out), "--folds", "3"]) == 2
    assert "already exists" in last_line(capsys)


def test_a_look_makes_no_run_and_a_run_after_it_has_the_same_bits(bars, tmp_path, capsys):
    words = ["train", bars, "--epochs", "1", *SMALL]
    assert main([*words, "--out", str(tmp_path / "first")]) == 0
    capsys.readouterr()
    look = [*words, "--out", str(tmp_path / "run"), "--find-rate"]
    assert main(look) == 0
    sentence = capsys.readouterr().out
    assert main([*look, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert f"--learning-rate {found['suggestion']:.2g}" in sentence
    assert len(found["rates"]) == len(found["losses"])
    assert main([*words, "--find-batch", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] >= 32
    assert not (tmp_path / "run").exists()
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    sums = [files.sha256(tmp_path / each / "model.safetensors") for each in ("first", "run")]
    assert sums[0] == sums[1]


def test_a_time_budget_decides_on_the_epochs_and_resume_keeps_them(
    bars, tmp_path, monkeypatch, capsys
):
    # seconds of the processor pass as those of the wall do where nothing else runs
    clock = types.SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time)
    for module in ("cli.train", "cli.in_time", "train.budget", "train.training"):
        monkeypatch.setattr(f"convarium.{module}.time", clock)
    out = tmp_path / "run"
    words = ["train", bars, "--out", str(out), "--time-budget", "4s", *SMALL]
    start = time.process_time()
    assert main(words) == 0
    taken = time.process_time() - start
    shown = capsys.readouterr().out
    stored = settings(out)
    assert stored["time_budget"] == 4.0
    assert f"budget: {stored['epochs']} epochs" in shown
    assert len(files.read_jsonl(out / "history.jsonl")) <= stored["epochs"]
    assert taken < 1.3 * 4.0  # the report of so short a run can be longer than what is kept for it
    (out / "card.json").unlink()
    before = files.sha256(out / "model.safetensors")
    assert main([*words, "--resume"]) == 0
    assert settings(out) == stored
    assert files.sha256(out / "model.safetensors") == before
    again = ["train", bars, "--out", str(tmp_path / "x"), "--time-budget"]
    assert main([*again, "4s", "--epochs", "3"]) == 2
    assert "--epochs follows from --time-budget" in last_line(capsys)
    assert main([*again, "20ms"]) == 2
    assert "such as 90, 90s, 10m" in last_line(capsys)
    assert main([*again, "0.01"]) == 2
    assert "too short for one epoch" in last_line(capsys)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_numbers_and_several_labels_are_trained_on_and_cross_validated(task, tmp_path, capsys):
    random = np.random.default_rng(0)
    lines = ["path,shade,even,kinds"]
    for k in range(48):
        shade = 5 * k
        pixels = np.clip(shade + random.normal(0, 9, (16, 16)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        lines.append(f"{k}.png,{shade + 0.5},{k % 2},{'light' if k > 23 else 'dark;dim'}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    columns = {"regression": ["shade", "even"], "multilabel": ["kinds"]}[task]
    words = ["train", str(tmp_path / "table.csv"), "--task", task, "--epochs", "2", *SMALL]
    words += [word for column in columns for word in ("--label-column", column)]
    assert main([*words, "--out", str(tmp_path / "run"), "--mixup", "0.2"]) == 0
    capsys.readouterr()
    card = files.read_json(tmp_path / "run" / "card.json")
    assert card["task"] == task
    assert card["model"]["options"]["num_classes"] == {"regression": 2, "multilabel": 3}[task]
    assert main([*words, "--out", str(tmp_path / "cv"), "--folds", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 48
    assert main([*words, "--out", str(tmp_path / "x"), "--balance", "sampling"]) == 2
    assert "exactly one class" in last_line(capsys)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--recipe", "stronk"], "'speedrun', 'none')"),
        (["--recipe", "(a, None)"], "'(a, None)'"),
        (["--policy-ops", "3"], "--policy randaugment"),
        (["--no-nesterov"], "--optimizer sgd or muon"),
        (["--focal-gamma", "1"], "--loss focal"),
        (["--milestones", "3,5", "--schedule", "cosine"], "schedule='step', not to 'cosine'"),
        (["--milestones", "3,5", "--recipe", "baseline"], "schedule='step', not to 'cosine'"),
        (["--gamma", "0.5"], "--schedule step"),
        (["--milestones", "3,5", "--schedule", "linear"], "schedule='step'"),
        (["--find-rate", "--find-batch"], "leave one out"),
        (["--find-rate", "--resume"], "--resume has no effect"),
        (["--folds", "1"], "2 or more"),
        (["--folds", "3", "--test", "0.2"], "each fold is tested"),
        (["--folds", "3", "--time-budget", "9"], "for one run"),
        (["--folds", "3", "--resume"], "no folds"),
        (["--track", "mlfow"], "mlflow"),
        (["--loss", "mse"], "does not belong to classification"),
        (["--optimizer", "lion"], "muon"),
        (["--accumulate", "0"], "at least 1"),
    ],
)
def test_flags_that_clash_or_do_nothing_are_refused(words, hint, bars, tmp_path, capsys):
    out = tmp_path / "x"
    assert main(["train", bars, "--out", str(out), *SMALL, *words]) == 2
    message = last_line(capsys)
    assert message.startswith("convarium: ")
    assert hint in message
    assert not out.exists()
