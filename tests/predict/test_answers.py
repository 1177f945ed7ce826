"""Answers as a folder of files: what one file holds, and gone on with after any stop."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from several import commanded, in_processes, killed

from convarium import deploy, models, predict
from convarium.cli import main
from convarium.data import Preprocessing

COUNT = 23


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with random weights, tuned to ONNX Runtime."""
    steps = Preprocessing((1, 32, 32), (0.5,), (0.3,), classes=("a", "b", "c"))
    torch.manual_seed(0)
    network = models.create("lenet5", num_classes=3)
    card = {"task": "classification", **steps.to_card()}
    folder = models.save(network, tmp_path_factory.mktemp("runs") / "run", card)
    opened = predict.open_run(folder)
    samples = torch.randn(3, 1, 32, 32)
    deploy.tune(opened.model, opened.tuned, samples=samples, engines=["onnx"], threads=[1])
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Pictures, one of which cannot be read."""
    where = tmp_path_factory.mktemp("inputs")
    generator = np.random.default_rng(0)
    for k in range(COUNT):
        pixels = generator.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(where / f"{k:02}.png")
    (where / "03.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return where


@pytest.fixture(scope="module")
def alone(run, inputs, tmp_path_factory):
    """The rows that one process writes into one file."""
    path = tmp_path_factory.mktemp("alone") / "answers.parquet"
    assert main(["predict", str(run), str(inputs), "-o", str(path)]) == 0
    return pq.read_table(path).to_pylist()


def same(folder, alone):
    """Whether a folder holds these rows, each once, in their order."""
    found = pq.read_table(folder).to_pylist()
    assert [row["name"] for row in found] == [row["name"] for row in alone]
    for mine, its in zip(found, alone, strict=True):
        assert mine["label"] == its["label"]
        assert mine["confidence"] == pytest.approx(its["confidence"], abs=1e-6)
    return True


def words(run, inputs, out):
    return ["predict", str(run), str(inputs), "-o", str(out), "--shard", "4", "--json"]


def test_a_folder_holds_what_one_file_holds(run, inputs, alone, tmp_path, capsys):
    out = tmp_path / "answers"
    assert main(words(run, inputs, out)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n"], len(told["skipped"])) == (COUNT - 1, 1)
    assert told["form"] == "onnx fp32, 1 thread"
    assert len(list(out.glob("part-*.parquet"))) == 6
    assert same(out, alone)
    times = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    lost = out / "part-00002.parquet"
    lost.unlink()
    assert main(words(run, inputs, out)) == 0
    assert same(out, alone)
    changed = [path for path, before in times.items() if path.stat().st_mtime_ns != before]
    assert changed == [lost]
    assert main([*words(run, inputs, out), "--untuned"]) == 2
    assert "begun with form" in capsys.readouterr().err
    assert main(["predict", str(run), str(inputs), "--shard", "4"]) == 2


def test_other_steps_or_another_file_are_another_job(run, inputs, tmp_path, capsys):
    own, out = shutil.copytree(run, tmp_path / "run"), tmp_path / "answers"
    assert main(words(own, inputs, out)) == 0
    card = json.loads((own / "card.json").read_text())
    (own / "card.json").write_text(json.dumps({**card, "result": {"test": {"n": 1}}}))
    assert main(words(own, inputs, out)) == 0  # what was measured changes no answer
    (own / "card.json").write_text(json.dumps({**card, "calibration": {"temperature": 2.0}}))
    capsys.readouterr()
    assert main(words(own, inputs, out)) == 2
    assert "begun with card" in capsys.readouterr().err
    (own / "card.json").write_text(json.dumps(card))
    about = json.loads((out / "_answers.json").read_text())
    (out / "_answers.json").write_text(json.dumps({**about, "file": ["another"]}))
    assert main(words(own, inputs, out)) == 2
    assert "begun with file" in capsys.readouterr().err


def test_a_job_that_the_version_before_began_goes_on(run, inputs, tmp_path, capsys):
    out = tmp_path / "answers"
    assert main(words(run, inputs, out)) == 0
    about = json.loads((out / "_answers.json").read_text())
    older = {k: v for k, v in about.items() if k not in ("card", "file", "reduced")}
    (out / "_answers.json").write_text(json.dumps(older))
    assert main(words(run, inputs, out)) == 0
    capsys.readouterr()
    assert main([*words(run, inputs, out), "--reduced"]) == 2
    assert "begun with reduced False" in capsys.readouterr().err


def test_a_shard_of_which_nothing_can_be_read_is_made_once(run, tmp_path, capsys):
    where = tmp_path / "inputs"
    where.mkdir()
    for k in range(6):
        (where / f"{k}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Image.new("L", (32, 32)).save(where / "5.png")
    for _ in range(2):
        assert main(words(run, where, tmp_path / "answers")) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["n"], len(told["skipped"])) == (1, 5)
    assert pq.read_table(tmp_path / "answers").num_rows == 1


def test_two_processes_share_the_files(run, inputs, alone, tmp_path):
    out = tmp_path / "answers"
    (code, told, _), others = in_processes(2, partial(commanded, words(run, inputs, out)))
    assert (code, *others[:2]) == (0, 0, "")
    assert json.loads(told)["n"] == COUNT - 1
    assert same(out, alone)


@pytest.mark.long
def test_a_job_of_torchrun_whose_worker_is_killed_goes_on(run, inputs, alone, tmp_path):
    out = tmp_path / "answers"
    given = words(run, inputs, out)
    given[given.index("--shard") + 1] = "1"
    command = killed(given, 4)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.skipped.jsonl")}
    assert 2 <= len(kept) < COUNT
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(again.stdout)
    assert (told["n"], told["form"]) == (COUNT - 1, "onnx fp32, 1 thread")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert same(out, alone)
