"""The probe: what it takes, what it refuses, what it costs, and that it changes nothing."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import time

import pytest
import torch
from dying import KillAt, Killed
from several import in_processes
from torch import nn

from convarium import files, predict, processes, train
from convarium.cli.command import main
from convarium.errors import RunError
from convarium.train import Probe, TrainConfig, probing, trial
from convarium.train.choices import choices_of, settled

CONFIG = TrainConfig(epochs=2, batch_size=16, learning_rate=2e-3, checkpoint_seconds=0.0)
LONG = dataclasses.replace(CONFIG, epochs=1_000_000)
FAST = {"precision": "bf16", "layout": "contiguous", "compile": "off"}


class Slow(nn.Module):
    """A network that takes its time but in one arithmetic; there it may also be wrong."""

    def __init__(self, quick: tuple[bool, bool] | None, factor: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3)
        self.head = Scaled(4, 3, factor)
        self.quick = quick
        self.sizes: list[int] = []

    def forward(self, x):
        self.sizes.append(len(x))
        rounded = torch.is_autocast_enabled("cpu")
        contiguous = self.body.weight.stride(1) == 9
        if (rounded, contiguous) != self.quick:
            time.sleep(0.002 * len(x))
        return self.head(self.body(x).relu().mean((2, 3)))


class Scaled(nn.Linear):
    """A linear layer that multiplies by a factor in bf16."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__(inputs, outputs)
        self.factor = factor

    def forward(self, x):
        factor = self.factor if torch.is_autocast_enabled("cpu") else 1.0
        return super().forward(x) * factor


@pytest.fixture
def probe(parts, preprocessing, tmp_path):
    """probe(MODEL, CONFIG) with a cache of its own."""

    def call(model, config=LONG, **options):
        options = {"cache": tmp_path / "kept", **options}
        return train.probe(model, parts, config, preprocessing=preprocessing, **options)

    return call


@pytest.fixture
def short_steps(monkeypatch):
    monkeypatch.setattr(probing, "_LONGEST", 0.02)


@pytest.mark.parametrize("quick", [(True, True), (True, False), (False, True)])
def test_the_fastest_arithmetic_is_taken(probe, short_steps, quick):
    found = probe(Slow(quick))
    rounded, contiguous = quick
    assert found.config.precision == ("bf16" if rounded else "fp32")
    assert found.config.layout == ("contiguous" if contiguous else "channels_last")
    assert found.config.compile == "off"
    taken = f"{found.config.precision} {found.config.layout}"
    assert min(found.milliseconds, key=found.milliseconds.__getitem__) == taken
    assert found.sentence().startswith(f"{taken}: ")
    assert "times as fast as fp32 channels_last" in found.reason


def test_what_is_hardly_faster_is_not_taken(probe, short_steps):
    found = probe(Slow(None))
    assert choices_of(found.config) == choices_of(settled(LONG))
    assert len(found.milliseconds) == 4
    assert found.reason.endswith("nothing with the same numbers was 3% faster")


def test_what_computes_something_else_is_refused_and_named(probe, short_steps):
    found = probe(Slow((True, True), factor=1.1))
    assert found.config.precision == "fp32"
    assert re.search(r"; bf16 contiguous is refused: head differs by 0\.1\d*, at", found.reason)


def test_what_is_given_is_not_tried(probe, short_steps):
    given = dataclasses.replace(LONG, precision="fp32")
    found = probe(Slow((True, True)), given)
    assert found.config.precision == "fp32"
    assert set(found.milliseconds) == {"fp32 channels_last", "fp32 contiguous"}
    model = Slow(None)
    whole = dataclasses.replace(given, layout="contiguous", compile="off")
    assert probe(model, whole) == Probe(whole, "as given")
    assert not model.sizes


def test_the_batch_grows_as_far_as_its_time_allows(probe, short_steps):
    model = Slow(None)
    assert probe(model).samples in (4, 8)  # 16 samples of 2 ms would take longer than 20 ms
    assert not model.sizes  # the network itself is never called


def test_the_probe_keeps_to_its_share_of_the_run(probe):
    # 63 samples of 2 ms take .126 s an epoch, so these epochs take about 350 s
    config = dataclasses.replace(CONFIG, epochs=2500, layout="channels_last")
    found = probe(Slow((True, False)), config)
    assert 300 < found.run_seconds < 600
    assert found.config.precision == "bf16"
    assert found.seconds < 0.02 * found.run_seconds


def test_a_probe_that_would_take_more_than_its_share_is_left_out(probe, monkeypatch):
    monkeypatch.setattr(probing, "SHARE", 0.0002)  # .07 s, and 40 steps of two samples take .16 s
    found = probe(Slow((True, True)), dataclasses.replace(CONFIG, epochs=2500))
    assert found.config == settled(found.config)
    assert "too long for a probe of" in found.reason
    assert not found.milliseconds


def test_short_runs_have_the_default_and_cost_a_few_steps(probe, tmp_path):
    start = time.monotonic()
    found = probe(Slow((True, True)), CONFIG)
    assert time.monotonic() - start < 1
    assert found.config == settled(CONFIG)
    assert "runs of less than 5 minutes are not probed" in found.reason
    assert found.run_seconds < 5
    assert not (tmp_path / "kept").exists()


def test_times_are_kept_for_the_next_run_and_damaged_ones_are_measured_again(
    probe, short_steps, monkeypatch, tmp_path
):
    monkeypatch.setattr(trial, "_NOISY", math.inf)
    first = probe(Slow((True, True)))
    (kept,) = (tmp_path / "kept").iterdir()
    again = probe(Slow((True, True)))
    assert again.milliseconds == first.milliseconds
    assert again.config == first.config
    assert again.seconds < first.seconds / 2
    other = probe(Slow((True, True)), dataclasses.replace(LONG, batch_size=8))
    assert other.milliseconds != first.milliseconds  # another batch, other times
    kept.write_text("{}")
    assert probe(Slow((True, True))).milliseconds != first.milliseconds
    stored = files.read_json(kept)
    stored["value"]["milliseconds"]["fp32 channels_last"] = "quick"
    files.write_json(kept, stored)
    assert probe(Slow((True, True))).config == first.config


def test_times_that_were_kept_do_not_spare_the_check_of_the_numbers(probe, short_steps):
    assert probe(Slow((True, True))).config.precision == "bf16"
    wrong = Slow((True, True), factor=1.1)  # the same network by name
    found = probe(wrong)
    assert found.config.precision == "fp32"


def test_the_network_and_the_random_numbers_stay_as_they_are(probe, network, short_steps):
    model = network(dropout=0.5)
    model.train()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert len(probe(model).milliseconds) == 4
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) == 1
    assert bool((gradients[0] == 1).all())
    assert model.training


def test_a_run_after_a_probe_has_the_bits_of_one_with_the_same_choices(
    network, parts, preprocessing, monkeypatch, tmp_path
):
    monkeypatch.setattr(probing, "SHORTEST", 0.0)
    monkeypatch.setattr(probing, "SHARE", 10.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first, second = network(), network()
    train.fit(first, parts, CONFIG, preprocessing=preprocessing, out=tmp_path / "one")
    settings = train.read_settings(tmp_path / "one")
    assert len(settings["probe"]["milliseconds"]) == 4
    names = ("precision", "layout", "compile")
    given = dataclasses.replace(CONFIG, **{name: settings["train"][name] for name in names})
    train.fit(second, parts, given, preprocessing=preprocessing)
    weights = second.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())


def test_a_resumed_run_reuses_what_was_decided(network, parts, preprocessing, tmp_path):
    decided = Probe(dataclasses.replace(CONFIG, **FAST), "measured elsewhere", {"x": 1.5}, 4)

    def fit(name, config=CONFIG, **options):
        out = tmp_path / name
        train.fit(network(), parts, config, preprocessing=preprocessing, out=out, **options)

    fit("whole", probe=decided)
    with pytest.raises(Killed):
        fit("cut", probe=decided, observers=[KillAt(5)])
    latest = (tmp_path / "cut" / "latest").read_text().strip()
    state = files.read_json(tmp_path / "cut" / latest / "state.json")
    assert state["choices"] == FAST
    with pytest.raises(RunError, match="precision was 'bf16' and is 'fp32'"):
        fit("cut", dataclasses.replace(CONFIG, precision="fp32"), resume=True)
    with pytest.raises(RunError, match="layout was 'contiguous' and is 'channels_last'"):
        fit("cut", dataclasses.replace(CONFIG, layout="channels_last"), resume=True)
    fit("cut", resume=True)
    whole, cut = (predict.open_run(tmp_path / name) for name in ("whole", "cut"))
    weights = cut.model.state_dict()
    assert all(torch.equal(v, weights[name]) for name, v in whole.model.state_dict().items())
    expected = {"reason": "measured elsewhere", "milliseconds": {"x": 1.5}, "samples": 4}
    assert whole.card["probe"] == cut.card["probe"] == expected
    assert {name: cut.card["recipe"][name] for name in FAST} == FAST


def test_a_checkpoint_of_another_arithmetic_is_refused(network, parts, preprocessing, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Killed):
        train.fit(
            network(), parts, CONFIG, preprocessing=preprocessing, out=out, observers=[KillAt(5)]
        )
    settings = out / "config.toml"
    settings.write_text(settings.read_text().replace('precision = "fp32"', 'precision = "bf16"'))
    with pytest.raises(RunError, match=r"was trained with precision 'fp32'.*put 'fp32' back"):
        train.fit(network(), parts, CONFIG, preprocessing=preprocessing, out=out, resume=True)


def decide(world: processes.World) -> Probe:
    """What each of several processes hears; only the first one's network is quick in bf16."""
    import numpy as np

    from convarium import data

    images = np.zeros((60, 1, 8, 8), np.uint8)
    images += np.arange(60, dtype=np.uint8)[:, None, None, None]
    dataset = data.Dataset(
        data.samples.ArraySamples(images, [("image", 60)]),
        source="shades",
        classes=("a", "b", "c"),
        targets=np.arange(60) % 3,
    )
    parts = data.split(dataset, seed=0)
    probing._LONGEST = 0.02
    return train.probe(
        Slow((True, True) if world.first else None),
        parts,
        LONG,
        preprocessing=data.fit_preprocessing(parts.train),
        cache=False,
        world=world,
    )


def test_of_several_processes_the_first_decides_for_all():
    first, second = in_processes(2, decide)
    assert first == second
    assert first.config.precision == "bf16"


def test_the_command_says_it_and_takes_orders(tmp_path, capsys):
    words = ["train", "digits", "--model", "convnet", "--epochs", "1", "--out"]
    assert main([*words, str(tmp_path / "auto")]) == 0
    assert "arithmetic: fp32 channels_last: the default, since the run" in capsys.readouterr().out
    own = ["--precision", "bf16", "--layout", "contiguous", "--compile", "off"]
    assert main([*words, str(tmp_path / "own"), *own]) == 0
    assert "arithmetic: bf16 contiguous: as given" in capsys.readouterr().out
    card = predict.open_run(tmp_path / "own").card
    assert {name: card["recipe"][name] for name in FAST} == FAST
    assert "as given" in (tmp_path / "own" / "report.html").read_text()
