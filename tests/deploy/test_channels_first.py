"""Models whose channels go to the end and back: without the moves they compute the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convarium import deploy, models
from convarium.deploy.artefact import openvino_core, runtime_package
from convarium.deploy.channels_first import channels_first
from convarium.deploy.openvino_file import save


def rewritten(model: nn.Module, x: Tensor, folder: Path) -> tuple[Tensor, Counter[str]]:
    """What the rewritten file gives, and the operations that it has."""
    deploy.export(model, folder / "net.xml", samples=x, format="openvino")
    found = channels_first(openvino_core().read_model(str(folder / "net.xml")))
    save(found, folder / "new.xml", None)
    kinds = Counter(each.get_type_name() for each in found.get_ordered_ops())
    return deploy.Artefact(folder / "new.xml")(x), kinds


LONG = pytest.mark.long


@pytest.mark.parametrize("rank", [pytest.param(1, marks=LONG), 2, pytest.param(3, marks=LONG)])
def test_linear_layers_of_channels_are_convolutions(rank: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"depths": [1, 2], "widths": [8, 16], "kernel_size": 3}
    model = models.create("convnext_tiny", spatial_dims=rank, num_classes=4, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = torch.randn(2, 3, *[16] * rank)
    found, kinds = rewritten(model, x, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-4)
    assert (kinds["Transpose"], kinds["MatMul"]) == (0, 1)  # the head
    assert kinds["Convolution"] == 2 + 2 * 3  # stem, downsampling, two in each block


class Moving(nn.Module):
    """Two maps that are moved, joined, and moved back; and what cannot be rewritten.

    Args:
        kind: of what stands between the moves.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.norm = kind, nn.LayerNorm(6)
        self.first, self.second = nn.Linear(6, 5, bias=False), nn.Linear(6, 5)
        self.places = nn.Parameter(torch.randn(7, 5))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 6, 7, 7) -> (B, ...)"""
        y = x.movedim(1, -1)
        joined = self.first(self.norm(y)) * self.second(y).sigmoid()
        if self.kind == "places":
            joined = joined + self.places
        if self.kind == "row":
            joined = joined.softmax(-2)
        if self.kind == "stays":
            return joined.flatten(1)
        if self.kind == "shared":
            return torch.tanh(joined).movedim(-1, 1) + joined.mean((1, 2))[..., None, None]
        return torch.tanh(joined).movedim(-1, 1)


@pytest.mark.parametrize(
    ("kind", "moves"),
    [
        ("joined", 0),
        ("places", 2),
        ("shared", 2),
        pytest.param("row", 2, marks=LONG),
        pytest.param("stays", 1, marks=LONG),
    ],
)
def test_what_cannot_be_rewritten_stays(kind: str, moves: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Moving(kind).eval(), torch.randn(2, 6, 7, 7)
    found, kinds = rewritten(model, x, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=1e-4, atol=1e-5)
    assert kinds["Transpose"] == moves
    assert (kinds["Convolution"], kinds["MatMul"]) == ((0, 2) if moves else (2, 0))


def joined(first: tuple[int, ...] | None, second: tuple[int, ...], *, moved: bool) -> Any:
    """A model that adds a map, or numbers, to a map whose channels were moved to the end."""
    runtime = runtime_package("openvino")
    ops = runtime.opset13
    maps = [ops.parameter(runtime.PartialShape.dynamic() if first is None else first, np.float32)]
    if moved:
        maps.append(ops.parameter(second, np.float32))
        other = ops.transpose(maps[1], np.array([0, *range(2, len(second)), 1]))
    else:
        other = ops.constant(np.arange(6, dtype=np.float32).reshape(second))
    rank = len(first or second)
    there = ops.transpose(maps[0], np.array([0, *range(2, rank), 1]))
    total = ops.relu(ops.add(there, other))
    highest = max(rank, len(second))
    back = ops.transpose(total, np.array([0, highest - 1, *range(1, highest - 1)]))
    return runtime.Model([ops.result(back)], maps, "joined")


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [
        ((2, 6, 5, 7), (5, 6, 7), True),
        ((2, 6, 5), (1, 1, 1, 6), False),
        (None, (1, 1, 1, 6), False),
    ],
)
def test_other_numbers_of_axes_stay(
    first: tuple[int, ...] | None, second: tuple[int, ...], moved: bool
) -> None:
    """They are added from the last axis on, which is another one with the channels first."""
    model, new = (joined(first, second, moved=moved) for _ in range(2))
    kinds = [each.get_type_name() for each in model.get_ordered_ops()]
    assert [each.get_type_name() for each in channels_first(new).get_ordered_ops()] == kinds
    if first is not None:
        core, random = openvino_core(), np.random.default_rng(0)
        given = [random.normal(size=each.shape).astype(np.float32) for each in model.inputs]
        found, same = (core.compile_model(each, "CPU")(given)[0] for each in (new, model))
        np.testing.assert_array_equal(found, same)
