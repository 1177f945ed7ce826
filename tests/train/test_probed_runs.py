"""Runs after a probe: nothing is changed by it, and what it decided is kept and reused."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from dying import KillAt, Killed

from convarium import files, predict, train
from convarium.cli.announcing import announce
from convarium.cli.choosing import Prepared
from convarium.cli.command import main
from convarium.errors import RunError
from convarium.train import Choice, Probe, TrainConfig, candidates, probing
from convarium.train.choices import settled

CONFIG = TrainConfig(epochs=2, batch_size=16, learning_rate=2e-3, checkpoint_seconds=0.0)
FAST = {"precision": "bf16", "layout": "contiguous", "compile": "off"}


@pytest.fixture(autouse=True)
def every_run_is_probed(monkeypatch, tmp_path):
    monkeypatch.setattr(probing, "SHORTEST", 0.0)
    monkeypatch.setattr(probing, "SHARE", 1000.0)
    monkeypatch.setattr(candidates, "_has_bf16", lambda: True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_network_and_the_random_numbers_stay_as_they_are(network, parts, preprocessing):
    model = network(dropout=0.5)
    model.train()
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    found = train.probe(model, parts, CONFIG, preprocessing=preprocessing)
    assert len(found.milliseconds) == 4
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) == 1
    assert bool((gradients[0] == 1).all())
    assert all(module.training for module in model.modules())


def test_a_run_after_a_probe_has_the_bits_of_one_with_the_same_choices(
    network, parts, preprocessing, tmp_path
):
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


@pytest.mark.parametrize(
    ("config", "words"),
    [(CONFIG, "fp32 channels_last: elsewhere"), (settled(CONFIG, FAST), "bf16 contiguous: as")],
)
def test_what_was_decided_is_announced(config, words, network, parts, preprocessing, capsys):
    found = Probe(settled(config), "as given" if config.precision == "bf16" else "elsewhere")
    shares = {"validation": 0.15, "test": 0.15}
    choice = Choice("convnet", options={}, size=8, config=config, reason="bars", **shares)
    announce(Prepared(choice, parts, preprocessing, network(), probe=found))
    assert f"\narithmetic: {words}" in capsys.readouterr().out


def test_the_command_takes_orders_and_the_report_says_so(parts, tmp_path):
    words = ["train", str(tmp_path / "bars.npz"), "--model", "convnet", "--epochs", "1", "--json"]
    own = ["--precision", "bf16", "--layout", "contiguous", "--compile", "off"]
    assert main([*words, "--out", str(tmp_path / "own"), *own]) == 0
    card = predict.open_run(tmp_path / "own").card
    assert {name: card["recipe"][name] for name in FAST} == FAST
    assert card["probe"] == {"reason": "as given"}
    assert "as given" in (tmp_path / "own" / "report.html").read_text()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_learns_as_the_processor_does(precision, layout, network, parts, preprocessing):
    here = settled(dataclasses.replace(CONFIG, device="cpu"))
    there = dataclasses.replace(here, device="cuda", precision=precision, layout=layout)
    models = network(dropout=0.0), network(dropout=0.0)
    one, other = (
        train.fit(model, parts, config, preprocessing=preprocessing).rows[0]
        for model, config in zip(models, (here, there), strict=True)
    )
    assert other["train_loss"] == pytest.approx(one["train_loss"], rel=0.05)
    assert next(models[1].parameters()).device.type == "cuda"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_probed_and_gives_its_memory_back(network, parts, preprocessing):
    before = torch.cuda.memory_allocated()
    config = dataclasses.replace(CONFIG, device="cuda", compile="off")
    found = train.probe(network(), parts, config, preprocessing=preprocessing, cache=False)
    assert len(found.milliseconds) == 4
    assert torch.cuda.memory_allocated() == before


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_long_run_on_a_gpu_is_tried_compiled_too(network, parts, preprocessing, monkeypatch):
    monkeypatch.setattr(probing, "SHARE", 0.02)
    config = dataclasses.replace(CONFIG, epochs=10**7, device="cuda")
    found = train.probe(network(), parts, config, preprocessing=preprocessing, cache=False)
    assert any("compiled" in label for label in found.milliseconds), found.reason
    assert found.config.compile in ("on", "off")
    assert found.seconds < 0.02 * found.run_seconds
