"""The verbs that bring a run to other runtimes: export to every format, int8, tune, and its use."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import deploy, models, predict
from convarium.cli import main
from convarium.data import SeriesPreprocessing
from convarium.deploy.runtimes import SequenceRuntime


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    generator = np.random.Generator(np.random.PCG64(0))
    for k, name in enumerate(["ape", "bee", "cat"]):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 100, (32, 32, 3), dtype=np.uint8)
            pixels[8 * k : 8 * k + 8] += 140
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "photos"
    words = ["train", str(photos), "--out", str(out), "--epochs", "3", "--model", "convnet"]
    assert main([*words, "--size", "32", "--no-flip"]) == 0
    return out


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--to", "openvino", "--pixels", "channels_last"], "8-bit pixels with channels_last"),
        (["--to", "torch", "--dynamic-size"], "32x32 and 40x40"),
        (["--to", "onnx", "--int8", "--points", "60"], "onnx, int8"),
        (["--to", "onnx", "--int8"], "cannot show a loss under 0.5 points"),
    ],
)
def test_export_to_every_format(run, words, told, tmp_path, capsys):
    suffix = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}[words[1]]
    assert main(["export", str(run), *words, "-o", str(tmp_path / f"m{suffix}")]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--to", "torch", "--int8"], "--to openvino and --to onnx"),
        (["--to", "onnx", "--points", "1"], "--points belongs to --int8"),
        (["--to", "onnx", "--finetune", "2"], "--finetune belongs to --int8"),
        (["--to", "onnx", "--int8", "--dynamic-size"], "--dynamic-size does not go with --int8"),
        (["--to", "onnx", "--int8", "--data", "digits"], "trained on other data"),
    ],
)
def test_flags_of_export_that_do_not_fit(run, words, hint, tmp_path, capsys):
    assert main(["export", str(run), *words, "-o", str(tmp_path / "m.onnx")]) == 2
    assert hint in last_line(capsys)


def test_tune_chooses_and_predict_uses_it(run, photos, tmp_path, capsys):
    own = tmp_path / "run"
    shutil.copytree(run, own)
    picture = tmp_path / "forms.svg"
    words = ["tune", str(own), "--engines", "onnx", "--threads", "1", "-o", str(picture)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "onnx fp32, 1 thread" in told
    assert "left out: onnx int8" in told
    assert picture.read_text().startswith("<svg")
    assert main(["predict", str(own), str(photos), "--json"]) == 0
    tuned = json.loads(capsys.readouterr().out)
    assert main(["predict", str(own), str(photos), "--json", "--untuned"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [p["label"] for p in tuned["predictions"]] == [p["label"] for p in plain["predictions"]]
    (own / "tuned" / "model.onnx").write_bytes(b"")
    assert main(["predict", str(own), str(photos), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == plain
    assert "convarium tune" in captured.err


def test_tune_from_the_files_themselves(run, photos, tmp_path, capsys, monkeypatch):
    own = shutil.copytree(run, tmp_path / "run")
    words = ["tune", str(own), "--engines", "eager", "--threads", "1", "--goal"]
    assert main([*words, "end_to_end", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["goal"], told["batch_size"]) == ("end_to_end", 16)
    sizes, records = [], predict.Predictor.records

    def seen(self, data, **words):
        sizes.append(words["batch_size"])
        return records(self, data, **words)

    monkeypatch.setattr(predict.Predictor, "records", seen)
    for more in ([], ["--batch-size", "5"], ["--untuned"]):
        assert main(["predict", str(own), str(photos), "--json", *more]) == 0
    assert sizes == [16, 5, 256]  # as it was timed, unless something else is said
    assert main([*words, "end-to-end"]) == 2
    assert "Did you mean 'end_to_end'?" in last_line(capsys)


@pytest.mark.long
def test_export_for_phones(run, tmp_path, capsys):
    pytest.importorskip("executorch")
    path = tmp_path / "m.pte"
    assert main(["export", str(run), "--to", "executorch", "-o", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["agreement"]) == ("executorch", 1.0)
    opened = predict.open_run(run)
    with torch.no_grad():
        expected = opened.model(opened.samples())
    torch.testing.assert_close(
        deploy.Artefact(path)(opened.samples()), expected, rtol=1e-3, atol=1e-4
    )
    (entry,) = json.loads((tmp_path / "manifest.json").read_text())["files"].values()
    assert entry["sha256"] == {"m.pte": told["sha256"]}
    assert "executorch" in entry["versions"]
    assert main(["export", str(run), "--to", "executorch", "--dynamic-size", "-o", str(path)]) == 2
    assert "one size" in last_line(capsys)


def test_export_of_whole_pictures_needs_pictures_of_one_size(run, tmp_path, capsys):
    folder, file = tmp_path / "pictures", tmp_path / "m.xml"
    folder.mkdir()
    generator = np.random.Generator(np.random.PCG64(1))
    for k in range(3):
        pixels = generator.integers(0, 256, (48, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    words = ["export", str(run), "--to", "openvino", "--pixels", "pictures", "-o", str(file)]
    assert main(words) == 2
    assert "needs --samples" in last_line(capsys)
    words += ["--samples", str(folder)]
    assert main(words) == 0
    assert "whole pictures in" in capsys.readouterr().out
    assert deploy.Artefact(file)(torch.zeros(2, 48, 70, 3, dtype=torch.uint8)).shape == (2, 3)
    Image.new("RGB", (60, 60)).save(folder / "other.png")
    assert main(words) == 2
    assert "give one size" in last_line(capsys)


def test_export_of_live_series(run, tmp_path, capsys):
    steps = SeriesPreprocessing((2, 20), (0.0, 1.0), (1.0, 2.0), classes=("a", "b"))
    torch.manual_seed(0)
    model = models.create("tcn", in_channels=2, channels=[4, 4], num_classes=2)
    own = models.save(model, tmp_path / "run", {"task": "classification", **steps.to_card()})
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(2, 20)).astype("f4"))
    words = ["export", str(own), "--to", "onnx", "--stream", "steps"]
    assert main([*words, "--samples", str(tmp_path / "s.npy"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["form"], told["runs"]) == ("steps", 21)
    (entry,) = json.loads((own / "manifest.json").read_text())["files"].values()
    assert entry["sha256"] == {"stream.onnx": told["sha256"]}
    assert entry["card"]["classes"] == ["a", "b"]
    assert entry["latency"]["median_ms"] > 0
    runner = SequenceRuntime(own / "stream.onnx", 1e-4)
    opened = predict.open_run(own)
    x, state = opened.samples(tmp_path / "s.npy"), torch.zeros_like(model.initial_state(1))
    with torch.no_grad():
        expected, _ = opened.model.stream(x, model.initial_state(1))
    for at in range(20):
        output, state = map(torch.from_numpy, runner.run([x[:, :, at], state]))
        torch.testing.assert_close(output, expected[:, :, at], rtol=1e-4, atol=1e-5)
    for wrong in ([*words, "--int8"], [*words[:3], "openvino", *words[4:]]):
        assert main(wrong) == 2
        assert "--stream is for runs of series" in last_line(capsys)
    assert main(["export", str(run), "--to", "onnx", "--stream", "steps"]) == 2
    assert "--stream is for runs of series" in last_line(capsys)
