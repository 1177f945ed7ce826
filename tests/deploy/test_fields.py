"""Networks of fields as files: the numbers, the constraint, and domains of other sizes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor

from convarium import deploy, models
from convarium.deploy import fields as written
from convarium.errors import OptionError, ShapeError, VerificationError
from convarium.layers import block_mean

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


def made(name: str, **options: Any) -> models.FieldToField:
    """A network of fields whose head says something, in units of its own."""
    torch.manual_seed(0)
    network = models.create(name, **options)
    assert isinstance(network, models.FieldToField)
    ones = [1.0] * network.in_channels
    network.normalise_with(inputs=([3.0 * one for one in ones], [2.0 * one for one in ones]))
    return network.eval()


def run(path: Path, given: dict[str, Tensor]) -> Tensor:
    """The file in its runtime, by the names of its inputs."""
    feed = {name: each.contiguous().numpy() for name, each in given.items()}
    if path.suffix == ".onnx":
        (found,) = onnxruntime.InferenceSession(str(path)).run(["output"], feed)
        return torch.from_numpy(found)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return torch.from_numpy(compiled(feed)["output"].copy())


@pytest.mark.long
@pytest.mark.parametrize(
    ("format", "name", "options"),
    [
        ("onnx", "edsr_small", {"constraint": "additive", "depth": 1, "width": 8, "factor": 4}),
        ("openvino", "edsr_small", {"constraint": "softmax", "depth": 1, "width": 8, "wrap": True}),
        ("onnx", "unet", {"constraint": "multiplicative", "widths": [4, 6], "factor": [2, 4]}),
        ("openvino", "unet", {"constraint": "additive", "widths": [4, 6], "parts": "quantiles"}),
        ("onnx", "srcnn", {"constraint": "softmax", "channels": [6, 4], "parts": "normal"}),
    ],
)
def test_the_file_gives_what_the_network_gives_on_any_domain(
    format: str, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    network = made(name, in_channels=2, **options)
    path = tmp_path / f"net{SUFFIXES[format]}"
    x = 3 + torch.rand(3, 2, 8, 12)
    result = deploy.export_fields(network, path, samples=x, format=format, card={"a": 1})
    assert result.free, result.reason
    assert (result.n, result.sizes) == (3, ((8, 12), (10, 15)))
    for shape in ((1, 2, 8, 12), (2, 2, 12, 8), (4, 2, 11, 9)):
        given = 3 + torch.rand(shape)
        with torch.no_grad():
            expected = network(given)
        found = run(path, {"input": given})
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        means = block_mean(network.middle(found), network.factor)
        torch.testing.assert_close(means, given[:, :1], rtol=1e-4, atol=1e-4)
    entry = json.loads((tmp_path / "manifest.json").read_text())["files"][path.name]
    assert (entry["constraint"], entry["card"], entry["free"]) == (
        network.constraint,
        {"a": 1},
        True,
    )
    assert "of any size" in result.sentence()
    json.dumps(result.to_json())


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.long), "openvino"])
def test_masks_fine_fields_and_weights_are_inputs(format: str, tmp_path: Path) -> None:
    network = made(
        "edsr_small",
        depth=1,
        width=8,
        constraint="additive",
        masked=True,
        fine_channels=1,
        factor=2,
    )
    path = tmp_path / f"net{SUFFIXES[format]}"

    def fields(n: int, h: int, w: int) -> dict[str, Tensor]:
        known = torch.rand(n, h, w) > 0.2
        x = torch.where(known[:, None], 3 + torch.rand(n, 1, h, w), 0.0)
        fine = torch.rand(n, 1, 2 * h, 2 * w)
        area = torch.linspace(1, 2, 2 * h).view(1, 1, -1, 1).expand(n, 1, -1, 2 * w)
        return {"input": x, "mask": known, "fine": fine, "weights": area.contiguous()}

    given = fields(4, 6, 8)
    samples = given.pop("input")
    result = deploy.export_fields(network, path, samples=samples, format=format, **given)
    assert result.inputs == ("input", "mask", "fine", "weights")
    assert result.free, result.reason
    other = fields(2, 5, 7)
    first, *rest = other.values()
    with torch.no_grad():
        expected = network(first, *rest)
    found = run(path, other)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    means = block_mean(found, (2, 2), other["weights"])
    known = other["mask"][:, None]
    torch.testing.assert_close(means[known], first[known], rtol=1e-4, atol=1e-4)


@pytest.mark.long
def test_a_network_of_one_domain_says_so(tmp_path: Path) -> None:
    network = made("edsr_small", depth=1, width=8, cells=[6, 8], cell_features=2)
    x = torch.rand(3, 1, 6, 8)
    result = deploy.export_fields(network, tmp_path / "net.onnx", samples=x)
    assert not result.free
    assert result.sizes == ((6, 8),)
    assert "learnt about single cells" in result.sentence()
    with torch.no_grad():
        torch.testing.assert_close(run(tmp_path / "net.onnx", {"input": x[:2]}), network(x[:2]))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    network, x = made("edsr_small", depth=1, width=8, constraint="additive"), torch.rand(2, 1, 6, 8)
    for words, message in (
        ({"format": "torch"}, "must be of onnx, openvino"),
        ({"format": "openvino"}, "must end in .xml"),
        ({"tolerance": 0}, "tolerance"),
    ):
        with pytest.raises(OptionError, match=message):
            deploy.export_fields(network, tmp_path / "net.onnx", samples=x, **words)
    with pytest.raises(OptionError, match="no fields finer"):
        deploy.export_fields(models.create("lenet5"), tmp_path / "net.onnx", samples=x)
    with pytest.raises(ShapeError):
        deploy.export_fields(network, tmp_path / "net.onnx", samples=torch.rand(2, 3, 6, 8))
    assert not [*tmp_path.iterdir()]


@pytest.mark.long
def test_a_file_that_breaks_the_constraint_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = made("edsr_small", depth=1, width=8, constraint="additive"), torch.rand(2, 1, 6, 8)
    monkeypatch.setattr("convarium.deploy.fields.block_mean", lambda y, *_: torch.zeros(2, 1, 1, 1))
    with pytest.raises(VerificationError, match="does not keep the constraint"):
        deploy.export_fields(network, tmp_path / "net.onnx", samples=x + 1)
    assert not [*tmp_path.iterdir()]


def test_a_block_mean_that_is_no_number_keeps_no_constraint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, x = made("edsr_small", depth=1, width=8, constraint="additive"), torch.rand(2, 1, 6, 8)
    job = written._Job(network, tmp_path / "net.onnx", {"input": x}, None, 1e-4)
    runtime: Any = SimpleNamespace(meet=lambda expected, given: [expected], scale=1.0)
    job._meet(runtime, [x])
    monkeypatch.setattr(written, "block_mean", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(VerificationError, match="a block mean is nan"):
        job._meet(runtime, [x])
