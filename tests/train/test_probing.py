"""The probe: what it takes, what it refuses and why, and what it costs, by a clock of its own."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from convarium import files, processes, train
from convarium.train import Probe, TrainConfig, candidates, probing, trial
from convarium.train.choices import choices_of, settled

CONFIG = TrainConfig(epochs=2, batch_size=16, learning_rate=2e-3)
LONG = dataclasses.replace(CONFIG, epochs=1_000_000)
STEP = 0.002  # seconds a sample


class Clock:
    """Seconds that pass only where a network says so."""

    def __init__(self) -> None:
        self.now, self.rate = 0.0, 1.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds * self.rate


CLOCK = Clock()


class Slow(nn.Module):
    """A network that takes half the time in one arithmetic; in bf16 it may be wrong, or slower."""

    def __init__(self, quick=None, factor: float = 1.0, rounded_slow: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3)
        self.drop = nn.Dropout(0.5)
        self.head = Scaled(4, 3, factor)
        self.quick, self.rounded_slow = quick, rounded_slow
        self.sizes: list[int] = []

    def forward(self, x):
        self.sizes.append(len(x))
        rounded = torch.is_autocast_enabled("cpu")
        contiguous = self.body.weight.stride(1) == 9
        share = 0.5 if (rounded, contiguous) == self.quick else 1.0
        CLOCK.pass_by(STEP * len(x) * share * (self.rounded_slow if rounded else 1.0))
        return self.head(self.drop(self.body(x).relu()).mean((2, 3)))


class Scaled(nn.Linear):
    """A linear layer that multiplies by a factor in bf16."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__(inputs, outputs)
        self.factor = factor

    def forward(self, x):
        factor = self.factor if torch.is_autocast_enabled("cpu") else 1.0
        return super().forward(x) * factor


@pytest.fixture
def probe(parts, preprocessing, tmp_path, monkeypatch):
    """probe(MODEL, CONFIG) with a cache and a clock of its own, on a processor that knows bf16."""
    CLOCK.__init__()
    torch.manual_seed(0)
    own = SimpleNamespace(perf_counter=CLOCK, monotonic=CLOCK)
    for room in (probing, trial):
        monkeypatch.setattr(room, "time", own)
    monkeypatch.setattr(candidates, "_has_bf16", lambda: True)

    def call(model, config=LONG, **options):
        options = {"cache": tmp_path / "kept", **options}
        return train.probe(model, parts, config, preprocessing=preprocessing, **options)

    return call


@pytest.mark.parametrize("quick", [(True, True), (True, False), (False, True)])
def test_the_fastest_arithmetic_is_taken(probe, quick):
    found = probe(Slow(quick))
    rounded, contiguous = quick
    assert found.config.precision == ("bf16" if rounded else "fp32")
    assert found.config.layout == ("contiguous" if contiguous else "channels_last")
    assert found.config.compile == "off"
    taken = f"{found.config.precision} {found.config.layout}"
    assert min(found.milliseconds, key=found.milliseconds.__getitem__) == taken
    assert found.sentence().startswith(f"{taken}: 2.00 times as fast as fp32 channels_last, ")
    assert found.milliseconds["fp32 channels_last"] == pytest.approx(16 * STEP * 1e3)


def test_what_is_hardly_faster_is_not_taken(probe):
    found = probe(Slow())
    assert choices_of(found.config) == choices_of(settled(LONG))
    assert len(found.milliseconds) == 4
    assert found.reason.endswith("nothing with the same numbers was 3% faster")


def test_what_computes_something_else_is_refused_and_named(probe):
    found = probe(Slow((True, True), factor=1.1))
    assert found.config.precision == "fp32"
    assert "; bf16 contiguous is refused: head differs by 0.1" in found.reason


def test_numbers_that_are_none_are_refused(probe):
    found = probe(Slow((True, False), factor=float("nan")))
    assert found.config.precision == "fp32"
    assert "; bf16 channels_last is refused: the loss differs by nan" in found.reason


def test_what_is_given_is_not_tried(probe):
    given = dataclasses.replace(LONG, precision="fp32")
    found = probe(Slow((True, True)), given)
    assert found.config.precision == "fp32"
    assert set(found.milliseconds) == {"fp32 channels_last", "fp32 contiguous"}
    model = Slow()
    whole = dataclasses.replace(given, layout="contiguous", compile="off")
    assert probe(model, whole) == Probe(whole, "as given")
    assert not model.sizes


@pytest.mark.parametrize(
    ("batch", "accumulate", "processes_", "samples"),
    [(16, 1, 1, 16), (16, 2, 1, 8), (24, 1, 2, 12), (512, 1, 1, 128), (3, 1, 1, 3)],
)
def test_a_step_has_a_process_s_part_of_a_batch_or_what_half_a_second_allows(
    probe, batch, accumulate, processes_, samples
):
    model = Slow()
    config = dataclasses.replace(LONG, batch_size=batch, accumulate=accumulate)
    assert probe(model, config, world=Told(0, processes_)).samples == samples
    assert not model.sizes  # the network itself is never called


@pytest.mark.parametrize("slower", [1.0, 2.9, 30.0])
def test_the_probe_keeps_to_its_share_of_the_run(probe, slower):
    # the batches of 16 of 63 samples at 2 ms each take .126 s an epoch
    config = dataclasses.replace(CONFIG, epochs=2600)
    found = probe(Slow((False, True), rounded_slow=slower), config)
    assert found.run_seconds == pytest.approx(2600 * 64 * STEP)
    assert found.config.layout == "contiguous"
    assert found.seconds < 0.02 * found.run_seconds
    ratio = found.milliseconds["bf16 contiguous"] / found.milliseconds["fp32 channels_last"]
    assert ratio == pytest.approx(slower)


def test_a_probe_that_would_take_more_than_its_share_is_left_out(probe, monkeypatch):
    monkeypatch.setattr(probing, "SHARE", 0.0002)  # .07 s, and 40 steps of two samples take .16 s
    found = probe(Slow((True, True)), dataclasses.replace(CONFIG, epochs=2600))
    assert found.config == settled(found.config)
    assert "too long for a probe of" in found.reason
    assert not found.milliseconds


def test_short_runs_have_the_default_and_cost_two_steps_of_two_samples(probe, tmp_path):
    found = probe(Slow((True, True)), CONFIG)
    assert found.seconds == pytest.approx((1 + 2 * 2) * STEP)  # 1: the check of the outputs
    assert found.config == settled(CONFIG)
    assert "runs of less than 5 minutes are not probed" in found.reason
    assert found.run_seconds == pytest.approx(2 * 64 * STEP, abs=0.05)
    assert not (tmp_path / "kept").exists()


def test_inputs_that_grow_make_a_run_shorter(probe):
    whole, half = (
        probe(Slow(), dataclasses.replace(CONFIG, epochs=12_000, start_size=start)).run_seconds
        for start in (None, 0.5)
    )
    assert half / whole == pytest.approx((1 / 4 + 4 / 9 + 25 / 36 + 1) / 4, rel=1e-3)


def test_times_are_kept_for_the_next_run_and_damaged_ones_are_measured_again(probe, tmp_path):
    first = probe(Slow((True, True)))
    (kept,) = (tmp_path / "kept").iterdir()
    CLOCK.rate = 3.0
    again = probe(Slow((True, True)))
    assert again.milliseconds == first.milliseconds
    assert again.config == first.config
    other = probe(Slow((True, True)), dataclasses.replace(LONG, batch_size=8))
    assert other.samples == 8  # another batch, other times
    kept.write_text("{}")
    slower = probe(Slow((True, True)))
    assert slower.milliseconds == {
        name: pytest.approx(3 * value) for name, value in first.milliseconds.items()
    }
    stored = files.read_json(kept)
    stored["value"]["milliseconds"]["fp32 channels_last"] = "quick"
    files.write_json(kept, stored)
    assert probe(Slow((True, True))).milliseconds == slower.milliseconds


def test_times_that_were_kept_do_not_spare_the_check_of_the_numbers(probe):
    assert probe(Slow((True, True))).config.precision == "bf16"
    wrong = Slow((True, True), factor=1.1)  # the same network by name
    assert probe(wrong).config.precision == "fp32"


class Strict(Slow):
    """A network that fails in one arithmetic or memory order."""

    def __init__(self, fails: str, quick=None) -> None:
        super().__init__(quick)
        self.fails = fails

    def forward(self, x):
        outputs = super().forward(x)
        if self.fails == "channels_last":
            self.body(x).view(len(x), -1)
        if self.fails == "bf16" and torch.is_autocast_enabled("cpu"):
            raise TypeError("Got unsupported ScalarType BFloat16")
        if self.fails == "memory" and self.body.weight.stride(1) == 9:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self.fails == "all":
            raise RuntimeError("not a network.\nAt all.")
        return outputs


def test_an_arithmetic_that_the_network_cannot_compute_in_is_left_out_and_named(probe):
    found = probe(Strict("bf16", (False, True)))
    assert found.sentence().startswith("fp32 contiguous: 2.00 times")
    told = "; bf16 contiguous fails (Got unsupported ScalarType BFloat16)"
    assert found.reason.endswith(told)
    assert set(found.milliseconds) == {"fp32 channels_last", "fp32 contiguous"}
    CLOCK.rate = 3.0
    assert probe(Strict("bf16", (False, True))).milliseconds == found.milliseconds  # kept so


@pytest.mark.parametrize("config", [CONFIG, LONG])
def test_a_network_that_takes_no_channels_last_order_is_not_given_it(probe, config):
    found = probe(Strict("channels_last"), config)
    assert (found.config.precision, found.config.layout) == ("fp32", "contiguous")
    assert "fp32 channels_last fails (view size is not compatible" in found.reason


def test_a_network_that_fails_in_all_says_why_itself(probe):
    with pytest.raises(RuntimeError, match="not a network"):
        probe(Strict("all"))


def test_without_memory_for_a_probe_the_default_is_taken(probe):
    found = probe(Strict("memory", (True, True)))
    assert found.config == settled(LONG)
    assert "there is no memory for a probe" in found.reason


def test_frozen_layers_are_no_obstacle(probe):
    model = Slow((True, True))
    model.body.requires_grad_(False)
    assert probe(model).config.precision == "bf16"
    assert not model.body.weight.requires_grad


class Told(processes.World):
    """A world in one process, whose first member leaves what it shares for the others."""

    said: list[object]

    def share(self, value):
        if self.first:
            Told.said = [value]
        return Told.said[0]


def test_of_several_processes_the_first_decides_for_all(probe):
    first = probe(Slow((True, True)), world=Told(0, 2))
    other = Slow()
    assert probe(other, world=Told(1, 2)) == first
    assert first.config.precision == "bf16"
    assert not other.sizes


class Compiled(nn.Module):
    """Stands for a compiled network: other random numbers, and as quick and right as told."""

    def __init__(self, network, quick=4.0, factor=1.0, slope=1.0) -> None:
        super().__init__()
        self.network, self.quick, self.factor, self.slope = network, quick, factor, slope

    def forward(self, x):
        before = CLOCK.now
        torch.rand(5)
        outputs = self.network(x) * self.factor
        CLOCK.now = before + (CLOCK.now - before) / self.quick
        return outputs.detach() * (1 - self.slope) + outputs * self.slope


@pytest.mark.parametrize(
    ("options", "compile", "words"),
    [
        ({}, "on", "4.00 times as fast as fp32 channels_last"),
        ({"quick": 1.01}, "off", "compiled it was not 3% faster"),
        ({"factor": 9.0}, "off", "compiled, the loss was"),
        ({"slope": 1.5}, "off", "compiled, the gradient was"),
        (None, "off", "torch.compile failed (RecursionError)"),
    ],
)
def test_a_compiled_network_has_to_be_faster_and_right(probe, monkeypatch, options, compile, words):
    def compiled(network):
        if options is None:
            raise RecursionError("no compiler")
        return Compiled(network, **options)

    forgotten = []
    monkeypatch.setattr(trial, "compiled", compiled)
    monkeypatch.setattr(torch.compiler, "reset", lambda: forgotten.append(True))
    monkeypatch.setattr(probing._Search, "_may_compile", True)
    found = probe(Slow())
    assert found.config.compile == compile
    assert words in found.reason
    assert forgotten == [True]
