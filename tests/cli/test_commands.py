"""The command from a person's side: the whole walk, bad input, exit codes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from PIL import Image

from convarium import models, predict
from convarium.cli import main


def draw(folder, classes, count, seed=0, side=24):
    """Class folders of pictures with bars that stand for the class."""
    generator = np.random.Generator(np.random.PCG64(seed))
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(0, 100, (side, side + 6, 3), dtype=np.uint8)
            pixels[6 * k : 6 * k + 6] += 140
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    draw(folder, ["ape", "bee", "<cat>"], 20)
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "photos"
    words = ["train", str(photos), "--out", str(out), "--epochs", "2", "--model", "lenet5"]
    assert main([*words, "--size", "32", "--no-flip"]) == 0
    return out


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_train_leaves_the_whole_run_folder(run, photos):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "card.json", "model.safetensors", "preprocessing", "config.toml", "history.jsonl",
        "splits.parquet", "skipped.jsonl", "predictions.parquet", "report.html", "latest",
    }  # fmt: skip
    assert not [name for name in names if name.endswith(".tmp")]
    card = json.loads((run / "card.json").read_text())
    assert card["classes"] == ["<cat>", "ape", "bee"]
    assert card["result"]["test"]["n"] == card["data"]["counts"]["test"]
    splits = parquet.read_table(run / "splits.parquet")
    assert splits.num_rows == 60
    page = (run / "report.html").read_text()
    assert "&lt;cat&gt;" in page
    assert "<cat>" not in page


def test_the_test_result_is_that_of_evaluate_on_the_same_samples(run, photos, tmp_path, capsys):
    splits = parquet.read_table(run / "splits.parquet").to_pylist()
    with open(tmp_path / "test.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        for row in splits:
            if row["part"] == "test":
                writer.writerow([photos / row["name"], row["name"].split("/")[0]])
    assert main(["evaluate", str(run), str(tmp_path / "test.csv"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    stored = json.loads((run / "card.json").read_text())["result"]["test"]
    assert result["accuracy"] == stored["accuracy"]
    assert result["loss"] == pytest.approx(stored["loss"], rel=1e-6)


def test_predict_prints_a_table_json_and_files(run, photos, tmp_path, capsys):
    files = [str(photos / "ape" / "0.png"), str(photos / "bee")]
    assert main(["predict", str(run), *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20 + 1
    assert main(["predict", str(run), *files, "--json", "--batch-size", "3"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 21
    assert {row["label"] for row in result["predictions"]} <= {"ape", "bee", "<cat>"}
    for name in ("out.csv", "out.parquet"):
        assert main(["predict", str(run), *files, "-o", str(tmp_path / name)]) == 0
        capsys.readouterr()
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [row["label"] for row in table]
    shown = [row["label"] for row in result["predictions"]]
    assert [row["label"] for row in table] == shown


def test_predict_skips_and_lists_what_it_cannot_read(run, photos, tmp_path, capsys):
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    good = (photos / "ape" / "1.png").read_bytes()
    (tmp_path / "mixed" / "good.jpg").write_bytes(good)
    assert main(["predict", str(run), str(tmp_path / "mixed"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 1
    assert "broken.png" in result["skipped"][0]["name"]
    (tmp_path / "mixed" / "good.jpg").unlink()
    assert main(["predict", str(run), str(tmp_path / "mixed")]) == 2
    assert "broken.png" in last_line(capsys)


def test_explain_writes_a_page_and_a_sheet(run, photos, tmp_path, capsys):
    out = tmp_path / "heat"
    words = ["explain", str(run), str(photos / "ape"), "-o", str(out), "--most", "5", "--json"]
    assert main(words) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["explanations"]) == 5
    with Image.open(out / "heatmaps.png") as sheet:
        assert sheet.size[0] > 100
    assert "<html" in (out / "heatmaps.html").read_text()
    assert main(["explain", str(run), str(photos / "ape"), "--target", "beee"]) == 2
    assert "'bee'" in last_line(capsys)


def test_export_verifies_on_the_runs_own_samples(run, tmp_path, capsys):
    assert main(["export", str(run), "--to", "onnx", "-o", str(tmp_path / "m.onnx")]) == 0
    assert "difference" in capsys.readouterr().out
    assert (tmp_path / "m.onnx").stat().st_size > 10_000


def test_a_saved_network_is_exported_with_samples_of_the_callers(run, photos, tmp_path, capsys):
    opened = predict.open_run(run)
    saved = models.save(opened.model, tmp_path / "net", opened.card)
    words = ["export", str(saved), "--to", "onnx"]
    assert main(words) == 2
    assert "--samples" in last_line(capsys)
    assert not (saved / "model.onnx").exists()
    assert main([*words, "--samples", str(photos / "ape")]) == 0
    assert "on 20 samples" in capsys.readouterr().out


def test_list_and_show_speak_json(capsys):
    assert main(["list", "resnet*", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"resnet18", "resnet50"} <= {row["name"] for row in rows}
    assert main(["show", "resnet50"]) == 0
    assert "25,557,032" in capsys.readouterr().out


def test_an_existing_run_is_refused_and_left_alone(run, photos, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["train", str(photos), "--out", str(run)]) == 2
    assert "already exists" in last_line(capsys)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_evaluate_refuses_unknown_class_names(run, tmp_path, capsys):
    draw(tmp_path / "other", ["ape", "dog"], 3)
    assert main(["evaluate", str(run), str(tmp_path / "other")]) == 2
    assert "dog" in last_line(capsys)


def test_evaluate_accepts_fewer_classes_in_any_order(run, tmp_path, capsys):
    draw(tmp_path / "some", ["bee"], 3)
    assert main(["evaluate", str(run), str(tmp_path / "some"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 3


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["train", "nowhere", "--out", "x"], "nowhere"),
        (["train", "empty", "--out", "x"], "empty"),
        (["train", "single", "--out", "x"], "class"),
        (["train", "tiny", "--out", "x"], "sample"),
        (["train", "text", "--out", "x"], ""),
        (["train", "table.csv", "--out", "x", "--label-column", "kinds"], "kind"),
        (["train", "digits", "--out", "x", "--model", "resnet81"], "resnet18"),
        (["train", "digits", "--out", "x", "--option", "stemm=cifar"], "'stem'"),
        (["train", "digits", "--out", "x", "--option", "num_classes=5"], "follows from the data"),
        (["train", "digits", "--out", "x", "--option", "name=foo"], "follows from the data"),
        (["train", "digits", "--out", "x", "--batch-size", "1"], "batch norm"),
        (["train", "digits", "--out", "x", "--momentum", "0.8"], "--optimizer sgd"),
        (["train", "digits", "--out", "x", "--gamma", "0.5"], "--schedule step"),
        (["train", "digits", "--out", "x", "--milestones", "5 8"], "with commas"),
        (["train", "digits", "--out", "x", "--checkpoint-seconds", "inf"], "finite"),
        (["train", "digits", "--out", "y" * 300], "Cannot write"),
        (["train", "digits", "--out", "x", "--epoch", "3"], "--epochs"),
        (["train", "digits", "--out", "x", "--epochs", "many"], "whole number"),
        (["train", "digits", "--out", "x", "--learning-rate", "-1"], "above 0"),
        (["train", "digits", "--out", "x", "--validation", "2"], "between 0 and 1"),
        (["train", "digits", "--out", "x", "--resume"], "no run"),
        (["train", "digits", "--out", "/proc/x"], "Cannot write"),
        (["train", "digits"], "--out"),
        (["trian", "digits"], "'train'"),
        (["predict", "nowhere", "a.png"], "nowhere"),
        (["predict", "empty", "a.png"], "not a run"),
        (["evaluate", "nowhere", "digits"], "nowhere"),
        (["export", "nowhere", "--to", "onnx"], "nowhere"),
        (["export", "nowhere", "--to", "onxx"], "onnx"),
        (["show", "resnet5O"], "resnet50"),
        (["list", "zzz*"], "zzz"),
        ([], ""),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(words, hint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    draw(tmp_path / "single", ["ape"], 3)
    draw(tmp_path / "tiny", ["ape", "bee"], 1)
    (tmp_path / "text" / "ape").mkdir(parents=True)
    (tmp_path / "text" / "ape" / "a.txt").write_text("no picture")
    (tmp_path / "table.csv").write_text("path,kind\nsingle/ape/0.png,ape\n")
    assert main(words) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if words:
        message = captured.err.strip().splitlines()[-1]
        assert message.startswith("convarium: ")
        assert hint in message
    assert not (tmp_path / "x").exists()


def test_an_image_of_the_wrong_kind_at_predict_time_is_said(run, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("hello")
    assert main(["predict", str(run), str(tmp_path / "notes.txt")]) == 2
    assert "notes.txt" in last_line(capsys)
    assert main(["predict", str(run), str(tmp_path / "missing.png")]) == 2
    assert "missing.png" in last_line(capsys)


def test_nothing_readable_leaves_the_output_file_as_it_was(run, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "out.csv").write_text("precious")
    words = ["predict", str(run), str(tmp_path / "bad.png"), "-o", str(tmp_path / "out.csv")]
    assert main(words) == 2
    assert (tmp_path / "out.csv").read_text() == "precious"
    assert main([*words, "--json"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nMore"),
        MemoryError("Unable to allocate 90 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_little_memory_is_one_sentence(run, photos, monkeypatch, capsys, error):
    def full(*_):
        raise error

    monkeypatch.setattr(predict.Predictor, "outputs", full)
    assert main(["predict", str(run), str(photos / "ape" / "0.png")]) == 2
    assert "memory is too small" in last_line(capsys)
    error = RuntimeError("size mismatch")
    with pytest.raises(RuntimeError, match="size mismatch"):
        main(["predict", str(run), str(photos / "ape" / "0.png")])


def test_a_share_of_a_part_that_the_data_gives_is_refused(tmp_path, capsys):
    for part in ("train", "test"):
        draw(tmp_path / "photos" / part, ["ape", "bee"], 4)
    words = ["train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), "--test", "0.5"]
    assert main(words) == 2
    assert "--test has no effect" in last_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="torch has GNU's OpenMP on Linux")
@pytest.mark.parametrize(
    ("given", "taken"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "active"}, "3\\d{10}")],
)
def test_threads_that_wait_leave_the_core_to_others(given, taken):
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    shown = subprocess.run(
        [sys.executable, "-m", "convarium", "measure", "lenet5"],
        env=environment
        | given
        | {"OMP_DISPLAY_ENV": "verbose"},  # GNU's OpenMP then tells what it read
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(rf"GOMP_SPINCOUNT = '{taken}'", shown.stderr)
