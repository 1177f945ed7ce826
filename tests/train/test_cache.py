"""Training from the cache: made once, the same again, refused where it means nothing."""

from __future__ import annotations

import dataclasses
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from dying import KillAt, Killed
from PIL import Image

from convarium import data, files, models, train
from convarium.data.parallel import processors
from convarium.data.samples import FileSamples
from convarium.data.staging import Staging
from convarium.errors import OptionError, RunError

CONFIG = train.TrainConfig(epochs=2, batch_size=8, resized_crop=0.3, seed=1)


@pytest.fixture
def photos(tmp_path):
    """Two textures as PNG files of several sizes."""
    for k in range(40):
        folder = tmp_path / "photos" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[: 30 + k % 5, : 40 + k % 7]
        plane = (x if k % 2 else y) * (20 + k) % 256
        Image.fromarray(np.stack([plane] * 3, -1).astype(np.uint8)).save(folder / f"{k}.png")
    return tmp_path / "photos"


def weights(photos, config, **options) -> dict[str, torch.Tensor]:
    """What a small network has learnt from the files."""
    parts = data.split(data.open_dataset(photos), seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    torch.manual_seed(0)
    model = models.create("convnet", num_classes=2, channels=[8, 8])
    train.fit(model, parts, config, preprocessing=steps, **options)
    return model.state_dict()


def test_the_cache_is_made_once_and_gives_the_same_training_again(photos, tmp_path):
    config = dataclasses.replace(CONFIG, cache=str(tmp_path / "cache"))
    first = weights(photos, config)
    (pack,) = (tmp_path / "cache").glob("pack-18-*")
    made = (pack / "pixels.bin").stat().st_mtime_ns
    again = weights(photos, config)
    assert (pack / "pixels.bin").stat().st_mtime_ns == made
    assert all(torch.equal(first[name], again[name]) for name in first)
    plain = weights(photos, CONFIG)
    assert any(not torch.equal(first[name], plain[name]) for name in first)  # smaller pictures


def test_a_run_goes_on_with_its_cache_in_another_folder_but_not_without(photos, tmp_path):
    here, there = (dataclasses.replace(CONFIG, cache=str(tmp_path / name)) for name in "ab")
    with pytest.raises(Killed):
        weights(photos, here, out=tmp_path / "run", observers=[KillAt(5)])
    with pytest.raises(RunError, match="another train setting: cache"):
        weights(photos, CONFIG, out=tmp_path / "run", resume=True)
    moved = weights(photos, there, out=tmp_path / "run", resume=True)
    whole = weights(photos, here)
    assert all(torch.equal(moved[name], whole[name]) for name in whole)


def test_a_cache_without_crops_is_refused(photos, tmp_path):
    config = dataclasses.replace(CONFIG, resized_crop=None, cache=str(tmp_path / "cache"))
    with pytest.raises(OptionError, match="set resized_crop too, or leave it out"):
        weights(photos, config)
    assert not (tmp_path / "cache").exists()


def test_a_cache_of_what_is_in_memory_is_a_line_and_changes_nothing(parts, preprocessing, network):
    config = dataclasses.replace(CONFIG, epochs=1, batch_size=16)
    plain, told = network(), network()
    train.fit(plain, parts, config, preprocessing=preprocessing)
    cached = dataclasses.replace(config, cache="nowhere")
    with pytest.warns(UserWarning, match=r"^cache \(='nowhere'\) has no effect: .* in memory"):
        train.fit(told, parts, cached, preprocessing=preprocessing)
    assert not Path("nowhere").exists()
    assert all(torch.equal(v, told.state_dict()[k]) for k, v in plain.state_dict().items())


@pytest.fixture
def slow(photos, monkeypatch):
    """The photos, each of which takes 20 ms to read, and too little memory to keep them."""
    parts = data.split(data.open_dataset(photos), seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    read = FileSamples.read

    def slowly(self, i, at_least=None):
        time.sleep(0.02)
        return read(self, i, at_least)

    monkeypatch.setattr(FileSamples, "read", slowly)
    monkeypatch.setattr("convarium.data.pictures.MEMORY_BUDGET", 0)
    return parts, steps


def test_a_plan_takes_the_cache_into_account(slow, tmp_path):
    parts, steps = slow
    # two of three batches are timed: the plan takes the last one, of four samples, for a whole one
    config = dataclasses.replace(CONFIG, time_budget=4.0, batch_size=12)
    cached = dataclasses.replace(config, cache=str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = models.create("convnet", num_classes=2, channels=[8, 8])
    ample = dataclasses.replace(config, time_budget=60.0)  # what is imported on first use is there
    train.plan_budget(model, parts, ample, preprocessing=steps)
    start = time.monotonic()
    plan = train.plan_budget(model, parts, cached, preprocessing=steps)
    looked = time.monotonic() - start
    assert not (tmp_path / "cache").exists()
    n, reading = len(parts.train), 0.02 * len(parts.train)
    making = plan.config.time_around - plan.test - looked
    assert reading / processors() - 0.1 < making < 2 * reading
    validation = 0.02 * len(parts.validation)
    assert plan.epoch < validation + 0.7 * reading  # of pictures that need not be read
    train.fit(model, parts, plan.config, preprocessing=steps)
    assert time.monotonic() - start < 1.1 * 4.0
    (pack,) = (tmp_path / "cache").glob("pack-*")
    assert files.read_json(pack / "pack.json")["samples"] == n
    again = train.plan_budget(model, parts, cached, preprocessing=steps)
    assert again.config.time_around < plan.config.time_around - 0.5 * making
    plain = train.plan_budget(model, parts, config, preprocessing=steps)
    assert plain.epoch > validation + reading
    assert plain.config.epochs < plan.config.epochs


def test_a_plan_reads_clean_samples_from_the_cache_too(photos, tmp_path, monkeypatch):
    reads, read = [], FileSamples.read

    def counted(self, i, at_least=None):
        reads.append(i)
        return read(self, i, at_least)

    monkeypatch.setattr(FileSamples, "read", counted)
    monkeypatch.setattr("convarium.data.pictures.MEMORY_BUDGET", 0)
    clock = types.SimpleNamespace(monotonic=time.monotonic, perf_counter=lambda: len(reads))
    monkeypatch.setattr("convarium.train.budget.time", clock)  # a file is a second
    monkeypatch.setattr("convarium.train.budget._MOST_STEPS", 2)  # of three are packed
    monkeypatch.setattr("convarium.train.budget._step_times", lambda *_: [0.0, 0.0])
    parts = data.split(data.open_dataset(photos), seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    options = {"time_budget": 1000.0, "batch_size": 12, "mixup": 0.2}
    config = dataclasses.replace(CONFIG, cache=str(tmp_path / "cache"), **options)
    model = models.create("convnet", num_classes=2, channels=[8, 8])
    plan = train.plan_budget(model, parts, config, preprocessing=steps)
    assert plan.epoch == pytest.approx(len(parts.validation))


def test_a_plan_with_a_cache_without_crops_is_refused_at_once(photos, tmp_path):
    parts = data.split(data.open_dataset(photos), seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    model = models.create("convnet", num_classes=2, channels=[8, 8])
    options = {"cache": str(tmp_path / "cache"), "resized_crop": None, "time_budget": 30.0}
    config = dataclasses.replace(CONFIG, **options)
    with pytest.raises(OptionError, match="set resized_crop too"):
        train.plan_budget(model, parts, config, preprocessing=steps)


def test_a_plan_leaves_what_a_survey_put_aside_to_the_cache(photos, tmp_path):
    staging = Staging(tmp_path / "cache", 18)  # 8/7 of 16 pixels
    dataset = data.open_dataset(photos)
    dataset.survey(staging=staging)
    parts = data.split(dataset, seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    options = {"time_budget": 30.0, "cache": str(tmp_path / "cache")}
    model = models.create("convnet", num_classes=2, channels=[8, 8])
    config = dataclasses.replace(CONFIG, **options)
    train.plan_budget(model, parts, config, preprocessing=steps)
    kept = [staging.read(i) is not None for i in parts.train.ids.tolist()]
    assert kept == [True] * len(parts.train)
    train.fit(model, parts, dataclasses.replace(config, epochs=1), preprocessing=steps)
    assert len(list((tmp_path / "cache").glob("pack-*"))) == 1
    assert not any(staging.read(i) is not None for i in parts.train.ids.tolist())
