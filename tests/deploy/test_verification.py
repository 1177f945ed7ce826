"""A file that is not the model's is refused, whatever is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from convarium import deploy
from convarium.errors import VerificationError

SAMPLES = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(3))


def network(seed: int = 0, classes: int = 3) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, classes))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("verify") / "net.onnx"
    return deploy.export(network(), path, samples=SAMPLES).path


def test_the_right_file_is_accepted(file: Path) -> None:
    proof = deploy.verify(file, network(), SAMPLES)
    assert (proof.n, proof.batch_sizes, proof.agreement) == (6, (1, 6), 1.0)
    assert 0 <= proof.largest_difference <= proof.tolerance * proof.scale
    alone = deploy.verify(file, network(), SAMPLES[:1])
    assert (alone.n, alone.batch_sizes) == (1, (1, 2))


def test_a_file_of_other_weights_is_refused(file: Path) -> None:
    with pytest.raises(VerificationError, match="made from other weights"):
        deploy.verify(file, network(seed=1), SAMPLES)


def test_a_file_of_another_network_is_refused(file: Path) -> None:
    with pytest.raises(VerificationError, match=r"returns shape \(6, 3\) where .* \(6, 4\)"):
        deploy.verify(file, network(classes=4), SAMPLES)
    with pytest.raises(VerificationError, match=r"cannot run net\.onnx: .*dimension"):
        other = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        deploy.verify(file, other, torch.ones(2, 1, 6, 6))


def changed(file: Path, folder: Path, value: float) -> Path:
    """A copy of the file with one number of its last bias changed."""
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        numbers = numpy_helper.to_array(tensor).copy()
        if numbers.shape == (3,):
            numbers[1] += np.float32(value)
            tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx"


@pytest.mark.parametrize("value", [1e-3, float("nan"), float("inf")])
def test_one_changed_number_is_found(file: Path, tmp_path: Path, value: float) -> None:
    with pytest.raises(VerificationError, match="does not compute what the model computes"):
        deploy.verify(changed(file, tmp_path, value), network(), SAMPLES)


def test_the_tolerance_is_relative_to_the_largest_output(file: Path, tmp_path: Path) -> None:
    scale = network()(SAMPLES).abs().max().item()
    off = changed(file, tmp_path, 0.01 * scale)
    proof = deploy.verify(off, network(), SAMPLES, tolerance=0.011)
    assert proof.largest_difference == pytest.approx(0.01 * scale, rel=1e-2)
    with pytest.raises(VerificationError):
        deploy.verify(off, network(), SAMPLES, tolerance=0.009)


def test_a_model_that_gives_zeros_is_compared_absolutely(tmp_path: Path) -> None:
    silent = network()
    nn.init.zeros_(silent[3].weight)
    nn.init.zeros_(silent[3].bias)
    assert deploy.export(silent, tmp_path / "net.onnx", samples=SAMPLES).scale == 0


def test_a_file_that_is_missing_or_broken_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="There is no file"):
        deploy.verify(tmp_path / "missing.onnx", network(), SAMPLES)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(file.read_bytes()[:500])
    with pytest.raises(VerificationError, match=r"onnxruntime cannot run cut.onnx: "):
        deploy.verify(cut, network(), SAMPLES)


def test_a_fixed_batch_size_is_refused(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed.onnx"

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(6, 25)

    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Flatten", ["input"], ["output"])],
            "flatten",
            [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [6, 1, 5, 5])],
            [onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [6, 25])],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.save(model, fixed)
    with pytest.raises(VerificationError, match=r"cannot run fixed\.onnx"):
        deploy.verify(fixed, Fixed(), SAMPLES)
