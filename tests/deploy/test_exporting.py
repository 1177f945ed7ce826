"""Export: proven equal before it gets its name; nothing half-written, nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import convarium
from convarium import deploy
from convarium.errors import (
    ConvariumError,
    MissingExtraError,
    OptionError,
    ShapeError,
    VerificationError,
)

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
CARD = {"classes": ["Ärmel", "日本"], "preprocessing": {"input_shape": [2, 6, 6]}}


def small(rank: int = 2, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        CONV[rank](2, 4, 3, padding=1),
        NORM[rank](4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        POOL[rank](1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    network[1].running_mean.uniform_(-1, 1)
    network[1].running_var.uniform_(0.5, 2)
    return network


def samples(n: int = 5, rank: int = 2) -> Tensor:
    return torch.randn(n, 2, *[6] * rank, generator=torch.Generator().manual_seed(1))


def facts(model: nn.Module) -> dict[str, Any]:
    found: dict[str, Any] = {"rng": torch.get_rng_state().tolist()}
    for name, module in model.named_modules():
        found[name] = repr({key: value for key, value in vars(module).items() if key != "_modules"})
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found["tensor " + name] = (id(tensor), tensor.tolist(), tensor.requires_grad, tensor.grad)
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> deploy.Export:
    """One export that several tests look at."""
    path = tmp_path_factory.mktemp("export") / "new folder" / "net.onnx"
    return deploy.export(small(), path, samples=samples(), card=CARD)


def run(path: Path, inputs: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["output"], {"input": inputs.numpy()})[0]


def test_the_file_computes_what_the_model_computes_at_any_batch_size(
    written: deploy.Export,
) -> None:
    network = small().eval()
    for n in (1, 2, 3, 7):
        expected = network(samples(n)).detach().numpy()
        np.testing.assert_allclose(run(written.path, samples(n)), expected, atol=1e-6)


def test_the_result_states_what_was_proven(written: deploy.Export) -> None:
    data = written.path.read_bytes()
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert written.bytes == len(data)
    assert (written.format, written.opset, written.n, written.agreement) == ("onnx", 18, 5, 1.0)
    expected = small().eval()(samples()).detach()
    assert written.scale == pytest.approx(expected.abs().max().item())
    difference = np.abs(run(written.path, samples()) - expected.numpy()).max()
    assert difference <= written.largest_difference <= written.tolerance * written.scale


def test_the_result_goes_to_programs_and_people(written: deploy.Export) -> None:
    assert json.loads(json.dumps(written.to_json()))["sha256"] == written.sha256
    assert "on 5 samples the largest difference is" in written.sentence()
    assert "100.0% of the predictions agree" in written.sentence()


def test_one_file_with_the_card_and_the_stated_opset(written: deploy.Export) -> None:
    assert {*os.listdir(written.path.parent)} - {".lock"} == {"net.onnx", "manifest.json"}
    model = onnx.load(written.path)
    onnx.checker.check_model(model, full_check=True)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", written.opset)]
    metadata = {item.key: item.value for item in model.metadata_props}
    assert json.loads(metadata["convarium.card"]) == CARD
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_file_says_nothing_about_the_machine_it_was_made_on(written: deploy.Export) -> None:
    data = written.path.read_bytes()
    for word in (b".py", b"site-packages", str(Path.cwd()).encode(), b"stack_trace"):
        assert word not in data


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("resnet8", {"in_channels": 1}, (3, 1, 16, 16)),
        ("convnet", {"spatial_dims": 1, "in_channels": 2}, (2, 2, 24)),
        ("convnet", {"spatial_dims": 3, "in_channels": 1}, (2, 1, 8, 8, 8)),
    ],
)
def test_networks_of_every_rank(
    name: str, options: dict[str, Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    network = convarium.create(name, num_classes=4, **options)
    inputs = torch.rand(shape)
    before = facts(network)
    result = deploy.export(network, tmp_path / "net.onnx", samples=inputs)
    assert result.agreement == 1.0
    assert facts(network) == before


def test_newer_opset_through_wrappers_inference_mode_and_autocast(tmp_path: Path) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        network = small()
        network[0] = torch.compile(network[0], backend="eager")
        wrapped = torch.compile(nn.DataParallel(network), backend="eager")
        result = deploy.export(wrapped, tmp_path / "net.onnx", samples=samples(), opset=20)
    assert onnx.load(result.path).opset_import[0].version == result.opset == 20
    assert network[0].weight.is_inference()


def test_nothing_of_the_model_changes_even_when_the_file_is_refused(tmp_path: Path) -> None:
    network = small()
    network[1].eval()
    network[0].weight.grad = torch.ones_like(network[0].weight)
    network[0].bias.requires_grad_(False)
    network.register_forward_hook(lambda *_: None)
    before = facts(network)
    with pytest.raises(VerificationError):
        deploy.export(network, tmp_path / "net.onnx", samples=samples(2), tolerance=1e-30)
    assert facts(network) == before


class Different(nn.Module):
    """Computes something else while it is exported, as an operation without counterpart does."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1)) + (0.1 if torch.compiler.is_exporting() else 0.0)


def test_a_file_that_differs_is_refused_and_what_stood_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"an older export")
    with pytest.raises(VerificationError, match="does not compute what the model computes"):
        deploy.export(Different(), path, samples=samples())
    assert path.read_bytes() == b"an older export"
    assert os.listdir(tmp_path) == ["net.onnx"]


def test_an_operation_that_onnx_does_not_have_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with pytest.raises(ConvariumError, match=r"Branching cannot be written as ONNX: .+"):
        deploy.export(Branching(), tmp_path / "net.onnx", samples=samples())
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("keywords", "kind", "message"),
    [
        ({"format": "onx"}, OptionError, r"format \(='onx'\).*Did you mean 'onnx'"),
        ({"opset": 9}, OptionError, r"opset \(=9\) must be from 18 to 23"),
        ({"tolerance": 0.0}, OptionError, r"tolerance \(=0.0\) must be above 0"),
        ({"card": {"mean": float("nan")}}, OptionError, "card cannot be written as JSON"),
        ({"card": {"path": Path()}}, OptionError, "card cannot be written as JSON"),
        ({"samples": samples().double()}, OptionError, r"found: torch.float32, torch.float64"),
        ({"samples": samples(0)}, ShapeError, "at least one"),
        ({"samples": samples() * float("nan")}, VerificationError, "not finite"),
    ],
)
def test_bad_arguments_are_one_sentence_and_leave_nothing(
    keywords: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        deploy.export(small(), tmp_path / "net.onnx", **{"samples": samples(), **keywords})
    assert os.listdir(tmp_path) == []


def test_a_model_in_bfloat16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"torch.bfloat16.*use model.float\(\)"):
        deploy.export(small().bfloat16(), tmp_path / "net.onnx", samples=samples())


def test_weights_beyond_one_files_limit_are_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    network.huge = nn.Parameter(torch.empty(1).expand(2**29))
    with pytest.raises(OptionError, match=r"weights take 2\.0 GiB"):
        deploy.export(network, tmp_path / "net.onnx", samples=samples())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'convarium\[onnx\]'"):
        deploy.export(small(), tmp_path / "net.onnx", samples=samples())
    assert os.listdir(tmp_path) == []


def test_the_exporters_chatter_does_not_reach_the_user(tmp_path: Path, root: Path) -> None:
    """In a process of its own, where nothing has been imported and no warning was shown yet."""
    script = (
        "import sys, torch; from torch import nn; from convarium import deploy\n"
        "network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 2))\n"
        "deploy.export(network, sys.argv[1], samples=torch.randn(3, 2, 6, 6))\n"
    )
    command = [sys.executable, "-W", "always", "-c", script, str(tmp_path / "net.onnx")]
    environment = dict(os.environ, PYTHONPATH=str(root / "src"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
