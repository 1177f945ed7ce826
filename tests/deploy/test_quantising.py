"""8-bit files: kept where labelled samples show that accuracy holds, and only there."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium import deploy
from convarium.deploy import quantising
from convarium.deploy.accuracy import drop
from convarium.deploy.artefact import openvino_core
from convarium.deploy.finetuning import error, finetuned, rounding
from convarium.deploy.integers import quantise_openvino
from convarium.deploy.sensitivity import Steps, damage
from convarium.errors import DataError, OptionError
from convarium.intervals import newcombe_pairs

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


def stripes(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy stripes that lie or stand."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(2, (n,), generator=generator)
    wave = torch.sin(torch.arange(12.0)).expand(12, 12)
    x = torch.stack([wave if t else wave.t() for t in target]).unsqueeze(1)
    return x + 0.3 * torch.randn(x.shape, generator=generator), target


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 2),
    )
    x, target = stripes(256, 0)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()
    model.eval()
    assert (model(x).argmax(1) == target).float().mean() > 0.97
    return model


@pytest.mark.parametrize("format", SUFFIXES)
def test_an_8_bit_file_that_holds(format: str, trained: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / f"net{SUFFIXES[format]}"
    labelled = [stripes(500, seed) for seed in (1, 2, 3)]
    result = deploy.quantise(
        trained,
        path,
        calibration=stripes(32, 0)[0],
        labelled=labelled,
        format=format,
        card={"a": 1},
    )
    assert result.precision == "int8"
    assert result.reason == ""
    assert result.attempts[-1].drop is not None
    assert result.attempts[-1].drop.shown
    right = [(deploy.Artefact(path)(x).argmax(1) == target).float() for x, target in labelled]
    assert 100 * torch.cat(right).mean() == pytest.approx(result.attempts[-1].drop.after)
    difference = (deploy.Artefact(path)(labelled[0][0]) - trained(labelled[0][0])).abs().max()
    assert difference > 1e-4  # it is another network: numbers were rounded
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"][path.name]
    assert (entry["precision"], entry["card"]) == ("int8", {"a": 1})
    assert "int8" in result.sentence()
    json.dumps(result.to_json())


def test_few_samples_show_nothing_and_the_float_file_stays(
    trained: nn.Module, tmp_path: Path
) -> None:
    x, target = stripes(100, 1)
    path = tmp_path / "net.onnx"
    result = deploy.quantise(
        trained, path, calibration=x[:16], labelled=[(x, target)], format="onnx"
    )
    assert result.precision == "fp32"
    assert result.attempts == ()
    assert "100 samples cannot show a loss under 0.5 points" in result.reason
    assert "It is not int8: " in result.sentence()
    assert deploy.verify(path, trained, x).agreement == 1.0


class Lopsided(nn.Module):
    """A layer whose channels are scaled so far apart that 8 bits of input lose the small ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.mix = nn.Conv2d(2, 1, 1, bias=False)
        self.mix.weight.data = torch.tensor([[[[1.0]], [[0.0]]]])

    def forward(self, x: Tensor) -> Tensor:
        noise = 1e4 * x.mean((2, 3), keepdim=True).sign().expand_as(x)
        y: Tensor = self.inner(self.mix(torch.cat([x, noise], 1)))
        return y


def test_the_layer_that_hurts_is_found_and_kept(trained: nn.Module, tmp_path: Path) -> None:
    model = Lopsided(trained).eval()
    x, target = stripes(1500, 1)
    assert next(iter(damage(model, x[:32]))) == "mix"
    path = tmp_path / "net.onnx"
    result = deploy.quantise(model, path, calibration=x[:32], labelled=[(x, target)], format="onnx")
    assert result.precision == "int8"
    assert result.kept == ("mix",)
    assert result.attempts[0].drop is not None
    assert not result.attempts[0].drop.shown
    assert "1 layers in fp32" in result.attempts[1].sentence()
    assert "int8 (in float32 stay mix)," in result.sentence()


@pytest.mark.parametrize(
    ("activation", "name"),
    [(nn.SiLU(), "Swish"), pytest.param(nn.GELU(), "Gelu", marks=pytest.mark.long)],
)
def test_activations_are_no_row_of_rounded_steps(
    activation: nn.Module, name: str, tmp_path: Path
) -> None:
    """Rounded between its parts, an activation could not be computed within the layer before it."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), activation, nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(512, 2)]
    samples, path = torch.randn(4, 3, 12, 12), tmp_path / "net.xml"
    deploy.export(nn.Sequential(*layers), path, samples=samples, format="openvino")
    quantise_openvino(path, tmp_path / "int8.xml", samples, (), None)
    model = openvino_core().read_model(str(tmp_path / "int8.xml"))
    operations = model.get_ordered_ops()
    types = [each.get_type_name() for each in operations]
    assert types.count(name) == 1
    assert not {"Sigmoid", "Erf"} & set(types)
    before = operations[types.index(name)].input_value(0).get_node()
    assert before.get_type_name() in ("Convolution", "Add")


def test_sensitivity_leaves_the_network_alone(trained: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    found = damage(trained, stripes(16, 0)[0])
    assert [*found] == sorted(found, key=found.__getitem__, reverse=True)
    assert {*found} == {"0", "3", "7"}
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_bad_arguments(trained: nn.Module, tmp_path: Path) -> None:
    x, target = stripes(8, 0)
    words = {"calibration": x, "labelled": [(x, target)]}
    with pytest.raises(OptionError, match="format"):
        deploy.quantise(trained, tmp_path / "net.pt2", format="torch", **words)
    with pytest.raises(OptionError, match=r"points \(=0\) must be above 0"):
        deploy.quantise(trained, tmp_path / "net.onnx", format="onnx", points=0, **words)
    with pytest.raises(DataError, match="labelled samples"):
        deploy.quantise(trained, tmp_path / "net.onnx", format="onnx", calibration=x, labelled=[])


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 400), seed=st.integers(0, 10), share=st.floats(0, 1))
def test_the_interval_of_pairs_holds_the_difference(n: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    one, other = random.random(n) < share, random.random(n) < 0.7
    low, high = newcombe_pairs(one, other)
    assert -1 <= low <= one.mean() - other.mean() <= high <= 1
    back = newcombe_pairs(other, one)
    assert (back.low, back.high) == pytest.approx((-high, -low))


def test_newcombes_own_example() -> None:
    """Newcombe 1998 (paired), table II, case (36, 12, 2, 0): 0.0569 to 0.3404 by method 10."""
    pairs = [(True, True)] * 36 + [(True, False)] * 12 + [(False, True)] * 2
    one, other = (np.array(column) for column in zip(*pairs, strict=True))
    found = newcombe_pairs(one, other)
    assert [round(end, 4) for end in found] == [0.0569, 0.3404]


def test_a_loss_is_told_in_points() -> None:
    before, after = np.ones(1000, bool), np.arange(1000) >= 100
    lost = drop(before, after, 0.5)
    assert lost.loss == pytest.approx(10)
    assert not lost.shown
    assert "too much" in lost.sentence()


def test_a_network_learns_to_be_rounded(trained: nn.Module) -> None:
    network = deploy.fold(trained, (1, 1, 12, 12)).model
    samples, unseen, few = stripes(256, 0)[0], stripes(256, 9)[0], Steps(31, 3)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        expected = network(unseen)
    learnt = finetuned(network, samples, 12, steps=few)
    errors = []
    for each in (network, learnt):
        own = copy.deepcopy(each)
        with torch.no_grad(), rounding(own, few):
            errors.append(float(error(own(unseen), expected)))
        assert {name: t.shape for name, t in own.state_dict().items()} == {
            name: t.shape for name, t in state.items()
        }
    assert errors[1] < 0.7 * errors[0]
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def test_a_bias_of_zeros_learns_too() -> None:
    torch.manual_seed(0)
    network = nn.Linear(8, 3)
    nn.init.zeros_(network.bias)
    learnt = finetuned(network, torch.randn(64, 8), 4, steps=Steps(7, 7)).state_dict()
    assert learnt["bias"].abs().min() > 0
    assert learnt["bias"].abs().max() < 0.1


def test_learning_ends_with_the_time(trained: nn.Module, tmp_path: Path) -> None:
    network = deploy.fold(trained, (1, 1, 12, 12)).model
    same = finetuned(network, stripes(64, 0)[0], 10**6, until=time.monotonic()).state_dict()
    assert all(torch.equal(own, same[name]) for name, own in network.state_dict().items())
    model = Lopsided(trained).eval()
    given = {"calibration": stripes(64, 0)[0], "labelled": [stripes(1500, 1)], "format": "onnx"}
    found = deploy.quantise(model, tmp_path / "net.onnx", seconds=0, finetune=10**6, **given)
    assert not any(attempt.finetuned for attempt in found.attempts)


@pytest.mark.parametrize("format", ["onnx", pytest.param("openvino", marks=pytest.mark.long)])
def test_a_file_of_a_network_that_learnt_to_be_rounded(
    format: str, trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantising._Search, "_selections", lambda self: iter(()))
    path, labelled = tmp_path / f"net{SUFFIXES[format]}", [stripes(1500, 1)]
    given = {"calibration": stripes(64, 0)[0], "labelled": labelled, "format": format}
    result = deploy.quantise(trained, path, finetune=2, card={"a": 1}, **given)
    assert '"a": 1' in (path.read_text("latin-1").replace("&quot;", '"'))
    assert (result.precision, result.attempts[-1].finetuned) == ("int8", True)
    right = deploy.Artefact(path)(labelled[0][0]).argmax(1) == labelled[0][1]
    assert result.attempts[-1].drop is not None
    assert 100 * right.float().mean() == pytest.approx(result.attempts[-1].drop.after)
    assert "after fine-tuning" in result.attempts[-1].sentence()


def test_learning_that_goes_wrong_leaves_the_float_file(
    trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantising._Search, "_selections", lambda self: iter(()))
    path, labelled = tmp_path / "net.onnx", [stripes(1500, 1)]
    given = {"calibration": stripes(64, 0)[0], "labelled": labelled, "format": "onnx"}
    monkeypatch.setattr(quantising, "finetuned", lambda network, *_, **__: broken(network))
    kept = deploy.quantise(trained, path, finetune=2, **given)
    assert kept.precision != "int8"
    assert deploy.verify(path, trained, labelled[0][0][:8]).agreement == 1.0
    with pytest.raises(OptionError, match="finetune"):
        deploy.quantise(trained, path, finetune=-1, **given)


def broken(network: nn.Module) -> nn.Module:
    """Learning that went wrong."""
    found = copy.deepcopy(network)
    for weights in found.parameters():
        weights.data.neg_()
    return found
