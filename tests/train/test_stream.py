"""Training on streams: exact resumes, the curve of one process in two, and the command."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
import types
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from dying import KillAt, Killed
from safetensors.torch import load_file
from several import in_processes
from sharded import picture, table, tar_members, write_parquets, write_tar, write_tars

from convarium import data, files, models, train
from convarium.cli import main
from convarium.errors import OptionError, RunError
from convarium.processes import ALONE, World

CONFIG = train.TrainConfig(
    epochs=2, batch_size=15, ema=0.9, mixup=0.2, checkpoint_seconds=0.0, seed=3, workers=0
)
COUNT = 90


def stream_of(kind: str, root: Path) -> data.ShardStream:
    if kind in ("tar", "parquet"):
        return data.open_stream(root / kind)
    many = table(range(COUNT)).to_iterable_dataset(num_shards=4)
    held = table(range(COUNT, COUNT + 12)).to_iterable_dataset(num_shards=2)
    given = datasets.IterableDatasetDict(train=many, validation=held, test=held)
    return data.open_stream(given, counted=False)


def fitted(
    world: World, kind: str, root: Path, config: train.TrainConfig = CONFIG, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """History rows and final weights of a small network without batch norm."""
    length = {"samples_per_epoch": 75} if kind == "uncounted" else {}
    parts = data.split_stream(stream_of(kind, root), seed=0, block=32, **length)
    torch.manual_seed(0)
    model = models.create(
        "convnet", in_channels=3, num_classes=3, channels=[8, 8], norm="group", dropout=0.0
    )
    preprocessing = data.fit_preprocessing(parts.train, size=8)
    history = train.fit(model, parts, config, preprocessing=preprocessing, world=world, **options)
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    return rows, {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    write_tars(root / "tar", COUNT, 4)
    write_parquets(root / "parquet", COUNT, 4)
    return root


@pytest.mark.parametrize(
    ("kind", "step", "workers"),
    [("tar", 3, 0), ("parquet", 2, 2), ("parquet", 7, 0), ("uncounted", 3, 2)],
)
def test_a_stream_killed_in_mid_epoch_ends_with_the_bits_of_one_that_was_not(
    kind, step, workers, shards, tmp_path
):
    config = dataclasses.replace(CONFIG, workers=workers)
    fitted(ALONE, kind, shards, out=tmp_path / "whole")
    with pytest.raises(Killed):
        fitted(ALONE, kind, shards, config, out=tmp_path / "cut", observers=[KillAt(step)])
    fitted(ALONE, kind, shards, out=tmp_path / "cut", resume=True)
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    rows = [files.read_jsonl(tmp_path / name / "history.jsonl") for name in ("whole", "cut")]
    for one, other in zip(*rows, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}


def test_two_processes_have_the_curve_of_one_on_a_stream(shards):
    kind = "uncounted"
    rows, weights = fitted(ALONE, kind, shards)
    found = in_processes(2, functools.partial(fitted, kind=kind, root=shards))
    for one, other in zip(rows, found[0][0], strict=True):
        assert one == pytest.approx(other, rel=2e-3, abs=2e-4)
    for name, value in weights.items():
        np.testing.assert_allclose(found[0][1][name], value, rtol=2e-3, atol=2e-4)
        assert np.array_equal(found[0][1][name], found[1][1][name])


def test_another_stream_or_another_order_is_refused_on_resume(shards, tmp_path):
    with pytest.raises(Killed):
        fitted(ALONE, "tar", shards, out=tmp_path / "run", observers=[KillAt(2)])
    root = tmp_path / "other"
    write_tars(root / "tar", COUNT, 5)
    with pytest.raises(RunError, match="data differs"):
        fitted(ALONE, "tar", root, out=tmp_path / "run", resume=True)
    parts = data.split_stream(stream_of("tar", shards), seed=0, block=64)
    preprocessing = data.fit_preprocessing(parts.train, size=8)
    model = models.create("convnet", in_channels=3, num_classes=3, channels=[8, 8], norm="group")
    with pytest.raises(RunError, match="block was 32 and is 64"):
        train.fit(
            model, parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "run", resume=True
        )


def test_what_draws_samples_at_will_is_refused_before_a_run_is_made(shards, tmp_path):
    parts = data.split_stream(stream_of("tar", shards), seed=0)
    preprocessing = data.fit_preprocessing(parts.train, size=8)
    model = models.create("convnet", in_channels=3, num_classes=3, channels=[8, 8])
    given = {"precision": "fp32", "layout": "channels_last", "compile": "off"}
    config = dataclasses.replace(CONFIG, balance="sampling", mixup=None, **given)
    out = tmp_path / "run"
    with pytest.raises(OptionError, match="a stream has an order of its own"):
        train.fit(model, parts, config, preprocessing=preprocessing, out=out)
    assert not out.exists()
    weighted = dataclasses.replace(config, balance="weights", epochs=1)
    history = train.fit(model, parts, weighted, preprocessing=preprocessing)
    assert len(history.rows) == 1


def test_the_command_streams_resumes_and_lists_what_was_damaged(tmp_path, monkeypatch, capsys):
    members = tar_members(range(120))
    members[2 * 60] = ("0060.png", picture(60)[:50])
    write_tar(tmp_path / "tars" / "train.tar", members[:160])
    write_tar(tmp_path / "tars" / "train-more.tar", members[160:])
    write_tar(tmp_path / "tars" / "test.tar", tar_members(range(120, 132)))
    monkeypatch.chdir(tmp_path)
    words = ["train", "tars", "--stream", "--model", "convnet", "--epochs", "1"]
    assert main([*words, "--block", "64", "--out", "run"]) == 0
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert card["data"]["counts"]["test"] == 12
    assert card["split"]["stream"] is True
    skipped = files.read_jsonl(tmp_path / "run" / "skipped.jsonl")
    assert [row["name"] for row in skipped] == ["train.tar/0060"]
    assert main(["train", "tars", "--out", "run", "--resume"]) == 0
    assert capsys.readouterr().out.count("test: accuracy") == 2
    for flags, said in (
        (["--out", "run", "--resume", "--block", "32"], "block was 64 and is 32"),
        (["--block", "32", "--out", "b"], "--block belongs to --stream"),
        (["--stream", "--out", "c", "--folds", "3"], "--folds has no effect on a stream"),
        (["--stream", "--out", "c", "--cache", "d", "--resized-crop", "1"], "stream keeps none"),
        (["--stream", "--out", "c", "--group-alike"], "--group-alike has no effect on a stream"),
        (["--stream", "--out", "c", "--test", "0.1"], "the data gives its own"),
        (["--stream", "--out", "c", "--time-budget", "9s", "--epochs", "3"], "leave one of them"),
        (["--stream", "--out", "c", "--label-column", "x"], "name them with --path-column"),
    ):
        assert main(["train", "tars", *flags]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--stream"]])
def test_time_is_kept_for_the_report(tmp_path, monkeypatch, capsys, flags):
    def plan_budget(*_, spent, **__):
        raise OptionError(f"{spent} s are gone.")

    clock = types.SimpleNamespace(monotonic=lambda: 0.0, perf_counter=time.perf_counter)
    for module in ("cli.train", "cli.in_time"):
        monkeypatch.setattr(f"convarium.{module}.time", clock)
    monkeypatch.setattr("convarium.cli.in_time.plan_budget", plan_budget)
    write_tars(tmp_path / "tars", COUNT, 4)
    monkeypatch.chdir(tmp_path)
    for seconds, gone in ((4, 0.4), (60, 2.0)):
        words = ["train", "tars", *flags, "--model", "convnet", "--time-budget", f"{seconds}s"]
        assert main([*words, "--out", "run"]) == 2
        assert f"{gone} s are gone." in capsys.readouterr().err


def test_a_stream_in_a_given_time(tmp_path, monkeypatch, capsys):
    # seconds of the processor pass as those of the wall do where nothing else runs
    clock = types.SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time)
    for module in ("cli.train", "cli.in_time", "train.budget", "train.training"):
        monkeypatch.setattr(f"convarium.{module}.time", clock)
    write_tars(tmp_path / "tars", COUNT, 4)
    monkeypatch.chdir(tmp_path)
    words = ["train", "tars", "--stream", "--model", "convnet", "--time-budget", "4s"]
    assert main([*words, "--samples-per-epoch", "40", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "budget:" in out
    assert "40 train" in out
