"""A training that ends in time, by a plan that is made once and changes nothing else."""

from __future__ import annotations

import dataclasses
import itertools
import time
import types

import pytest
import torch

from convarium import data, models, train
from convarium.errors import OptionError
from convarium.train import TrainConfig
from convarium.train.budget import plan_budget
from convarium.train.choices import settled
from convarium.train.growing import sides_at

CONFIG = settled(TrainConfig(batch_size=64, flip=False, mixup=0.2, ema=0.99))


@pytest.fixture(scope="module")
def digits():
    parts = data.split(data.open_dataset("digits"))
    return parts, data.fit_preprocessing(parts.train)


def network():
    torch.manual_seed(0)
    return models.create("resnet8", in_channels=1, num_classes=10, widths=[8, 8, 8])


@pytest.mark.parametrize(
    "clock",
    # seconds of the training's own thread pass as those of the wall do where nothing else runs
    [time.thread_time, pytest.param(time.monotonic, marks=pytest.mark.long)],
    ids=["thread", "wall"],
)
def test_plan_and_training_end_within_a_tenth_of_the_budget(clock, digits, tmp_path, monkeypatch):
    own = types.SimpleNamespace(monotonic=clock, perf_counter=clock)
    for module in ("budget", "training"):
        monkeypatch.setattr(f"convarium.train.{module}.time", own)
    seconds = 4.0
    parts, preprocessing = digits
    config = dataclasses.replace(CONFIG, time_budget=seconds)
    model = network()
    start = clock()
    plan = plan_budget(model, parts, config, preprocessing=preprocessing)
    train.fit(model, parts, plan.config, preprocessing=preprocessing, out=tmp_path / "run")
    taken = clock() - start
    assert 0.5 * seconds < taken < 1.1 * seconds, plan
    assert plan.config.epochs >= 2
    stored = train.read_settings(tmp_path / "run")["train"]
    assert stored["epochs"] == plan.config.epochs
    assert stored["time_budget"] == seconds
    assert f"{plan.config.epochs} epochs" in plan.sentence()


def test_the_plan_takes_all_epochs_that_fit_and_changes_nothing_else(digits):
    parts, preprocessing = digits
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = dataclasses.replace(CONFIG, time_budget=30.0)
    torch.manual_seed(5)
    plan = plan_budget(model, parts, config, preprocessing=preprocessing, spent=4.0)
    number = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(number, torch.rand(1))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    around = plan.config.time_around
    assert 4.0 + plan.test < around < 4.0 + plan.test + 3.0
    planned = around + plan.first_epoch + (plan.config.epochs - 1) * plan.epoch
    assert planned <= 0.97 * 30.0 + 1e-3 < planned + plan.epoch + 2e-3
    same = dataclasses.replace(plan.config, epochs=CONFIG.epochs, time_budget=None, time_around=0.0)
    assert same == CONFIG
    later = plan.later(2 * plan.epoch)
    assert later.config.epochs == plan.config.epochs - 2
    assert later.probe.config == later.config
    with pytest.raises(OptionError, match="too short for one epoch"):
        plan.later(30.0)


def test_what_does_not_fit_at_all_is_said(digits):
    parts, preprocessing = digits
    for budget, spent in ((0.05, 0.0), (10.0, 9.99)):
        config = dataclasses.replace(CONFIG, time_budget=budget)
        with pytest.raises(OptionError, match="too short for one epoch"):
            plan_budget(network(), parts, config, preprocessing=preprocessing, spent=spent)
    with pytest.raises(OptionError, match="time_budget"):
        plan_budget(network(), parts, CONFIG, preprocessing=preprocessing)


def test_no_epoch_begins_that_would_end_too_late(digits, monkeypatch):
    parts, preprocessing = digits
    ticks = itertools.count()  # a clock that goes on by so much whenever it is looked at
    clock = types.SimpleNamespace(monotonic=lambda: 0.02 * next(ticks))
    monkeypatch.setattr("convarium.train.training.time", clock)
    config = dataclasses.replace(CONFIG, epochs=1000, time_budget=2.0, time_around=0.5)
    history = train.fit(network(), parts, config, preprocessing=preprocessing)
    seconds = [row["seconds"] for row in history.rows]
    assert 0.5 + sum(seconds[:-1]) + seconds[-2] <= 1.1 * 2.0
    assert 0.5 + sum(seconds) + seconds[-1] > 2.0


def test_steps_of_inputs_that_grow_are_planned_with_their_sizes(digits, monkeypatch):
    parts, preprocessing = digits
    pixel, clock = 1e-5, types.SimpleNamespace(now=0.0, monotonic=time.monotonic)
    clock.perf_counter = lambda: clock.now
    shown = []

    def gradient(learner, batch, **_):
        shown.append(batch.inputs[0].shape[-1])
        clock.now += pixel * shown[-1] ** 2

    monkeypatch.setattr("convarium.train.budget.time", clock)
    monkeypatch.setattr("convarium.train.learner.Learner.gradient", gradient)
    config = dataclasses.replace(CONFIG, start_size=0.5, time_budget=10.0, mixup=None, epochs=2)
    plan = plan_budget(network(), parts, config, preprocessing=preprocessing)
    steps = data.steps_per_epoch(parts.train, config.batch_size)
    total = 4 * steps  # of a run of four epochs, each of which has one size
    sides = [sides_at(t, total, (8, 8), start=0.5, smallest=1)[0] for t in range(total)]
    assert set(sides) == set(shown)
    assert len(set(sides)) > 1
    expected = pixel * sum(side**2 for side in sides) / 4
    assert plan.epoch == pytest.approx(expected, rel=1e-6)
    assert plan.first_epoch == pytest.approx(expected, rel=1e-6)
