"""What a probe may choose from, its times, and what they depend on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from convarium import models
from convarium.data import Preprocessing
from convarium.graph import Timing
from convarium.processes import ALONE, World
from convarium.train import TrainConfig, candidates
from convarium.train.candidates import Candidate, Times, candidates_of, key_of

CPU = torch.device("cpu")
IMAGES = Preprocessing((1, 8, 8), (0.5,), (0.5,), classes=("a", "b"))
FIRST, SECOND = Candidate("fp32", "channels_last", "off"), Candidate("bf16", "contiguous", "off")


def labels(config, shape=(3, 8, 8), device=CPU):
    return [each.label for each in candidates_of(config, shape, device)]


@pytest.mark.parametrize("has", [True, False])
def test_candidates_are_what_network_and_processor_can_tell_apart(monkeypatch, has):
    monkeypatch.setattr(candidates, "_has_bf16", lambda: has)
    whole = [f"{p} {way}" for p in ("fp32", "bf16") for way in ("channels_last", "contiguous")]
    auto = TrainConfig()
    assert labels(auto) == labels(auto, (1, 4, 8, 8)) == whole[: 4 if has else 2]
    assert labels(auto, (1, 365)) == whole[: 4 if has else 2 : 2]  # series have one order
    assert labels(auto, device=torch.device("cuda")) == whole
    given = TrainConfig(precision="bf16", layout="contiguous")
    assert labels(given) == labels(given, (1, 365)) == ["bf16 contiguous"]


def test_a_speed_is_the_smaller_of_two_looks_at_it():
    base, steady = Timing((2.0, 2.0, 2.0)), Timing((1.0, 1.0, 1.0))
    lucky = Timing((1.0, 1.9, 2.0))  # once undisturbed, else hardly faster
    disturbed = Timing((1.9, 1.0, 1.0))
    names = {FIRST.label: base, "steady": steady, "lucky": lucky, "disturbed": disturbed}
    times = Times.of(8, names, FIRST)
    assert times.speeds["steady"] == 2.0
    assert times.speeds["lucky"] == pytest.approx(2 / 1.9)
    assert times.speeds["disturbed"] == 2.0
    assert times.quiet
    assert times.milliseconds[FIRST.label] == 2000
    assert not Times.of(8, {FIRST.label: Timing((1.0, 1.0, 1.0, 2.0))}, FIRST).quiet


@pytest.mark.parametrize(
    "damage",
    [
        {"samples": 1},
        {"samples": 9},
        {"samples": 4.0},
        {"milliseconds": {FIRST.label: 1.0}},
        {"milliseconds": {SECOND.label: 1.0}, "speeds": {SECOND.label: 1.0}},
        {"milliseconds": {FIRST.label: 1.0, "x": 1.0}, "speeds": {FIRST.label: 1.0, "x": 1.0}},
        {"speeds": {FIRST.label: 1.0, SECOND.label: float("nan")}},
        {"speeds": {FIRST.label: 1.0, SECOND.label: -1}},
        {"speeds": [1.0, 2.0]},
        {"quick": True},
    ],
)
def test_kept_times_that_are_not_whole_do_not_count(damage):
    times = Times(4, {FIRST.label: 1.0, SECOND.label: 0.5}, {FIRST.label: 1.0, SECOND.label: 2.0})
    whole = dataclasses.asdict(times)
    assert Times.kept(whole, [FIRST, SECOND], 8) == times
    assert Times.kept({**whole, **damage}, [FIRST, SECOND], 8) is None
    assert Times.kept(None, [FIRST, SECOND], 8) is None


def small(**options):
    return models.create("convnet", in_channels=1, num_classes=2, channels=[4], **options)


def frozen():
    model = small()
    model.head.weight.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    "other",
    [
        {"model": small(norm="group")},
        {"model": frozen()},
        {"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 2))},
        {"config": TrainConfig(batch_size=64)},
        {"config": TrainConfig(accumulate=2)},
        {"config": TrainConfig(precision="fp32")},
        {"preprocessing": dataclasses.replace(IMAGES, input_shape=(1, 16, 16))},
        {"world": World(0, 2)},
    ],
)
def test_times_belong_to_network_shape_batch_and_processes(other):
    def key(**changed):
        given = {"model": small(), "config": TrainConfig(), "preprocessing": IMAGES}
        return key_of(**{**given, "world": ALONE, "device": CPU, **changed})

    assert key(**other) != key()
    assert key(config=TrainConfig(learning_rate=1.0)) == key()


def test_times_belong_to_threads_and_versions(monkeypatch):
    given = (small(), TrainConfig(), IMAGES, ALONE, CPU)
    before = key_of(*given)
    for place, name, value in (
        (torch, "get_num_threads", lambda: 77),
        (torch, "__version__", "0.1"),
        (torch, "get_float32_matmul_precision", lambda: "medium"),
        (torch.backends.cpu, "get_cpu_capability", lambda: "AVX0"),
        (candidates, "processor", lambda: "Another One"),
        (candidates, "code", lambda *_: "other code"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            assert key_of(*given) != before, name
    assert key_of(*given) == before
    weights = nn.Linear(64, 2).weight  # of a network without a name, the shapes count too
    unnamed, longer = nn.ParameterList([weights]), nn.ParameterList([weights, weights])
    assert key_of(unnamed, *given[1:]) != key_of(longer, *given[1:])
