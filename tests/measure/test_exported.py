"""Exported programs, which have operations and no layers, and refuse to change their mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.graph import trace
from convarium.measure import (
    cost,
    effective_receptive_field,
    equivariance,
    gradient_flow,
    jacobian_singular_values,
    latency,
    output_shape,
    profile,
    receptive_field,
)

SHAPE = (2, 3, 12, 12)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3, 2)]
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def program(network: nn.Module) -> Any:
    sizes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    return torch.export.export(network, (torch.zeros(SHAPE),), dynamic_shapes=sizes).module()


def test_an_exported_program_costs_what_its_module_does(network: nn.Module, program: Any) -> None:
    found, told = cost(program, SHAPE), cost(network, SHAPE)
    assert (found.macs, found.parameters) == (told.macs, told.parameters)
    assert found.forward_bytes == told.forward_bytes
    assert output_shape(program, SHAPE) == output_shape(network, SHAPE)
    field = receptive_field(program, SHAPE)
    assert field.size == receptive_field(network, SHAPE).size
    assert field.status == "exact"


def test_an_exported_program_can_be_run_and_differentiated(
    network: nn.Module, program: Any
) -> None:
    x = torch.randn(SHAPE)
    found, told = (effective_receptive_field(m, x).values for m in (program, network))
    assert torch.allclose(found, told)
    one, other = (jacobian_singular_values(m, x).largest for m in (program, network))
    assert sum(one, ()) == pytest.approx(sum(other, ()), rel=1e-5)
    assert latency(program, SHAPE, batch_sizes=(1, 2), seconds=0.01).median_ms > 0
    assert profile(program, SHAPE, seconds=0.01).rows is not None


def test_what_needs_layers_or_training_is_refused_in_words(program: Any) -> None:
    x = torch.randn(SHAPE)
    with pytest.raises(OptionError, match="no training mode"):
        trace(program, SHAPE, training=True)
    with pytest.raises(OptionError, match="no training mode"):
        receptive_field(program, SHAPE, training=True)
    with pytest.raises(OptionError, match="calls none of its layers"):
        gradient_flow(program, x, loss=lambda y, _: y.sum())
    with pytest.raises(OptionError, match="no layer with a map"):
        equivariance(program, x)
    with pytest.raises(OptionError, match="no map"):
        effective_receptive_field(program, x, layer="0")
    classifier = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(200, 3)).eval()
    exported = torch.export.export(classifier, (x,)).module()
    with pytest.raises(OptionError, match="exported program"):
        effective_receptive_field(exported, x)


def test_a_train_method_of_the_models_own_is_kept_in_training_mode() -> None:
    class Frozen(nn.Module):
        """A norm that stays in eval mode, as in fine-tuning."""

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = nn.BatchNorm1d(2), nn.Dropout(0.5)

        def train(self, mode: bool = True) -> Frozen:
            super().train(mode)
            self.norm.eval()
            return self

        def forward(self, x: Tensor) -> Tensor:
            dropped: Tensor = self.drop(self.norm(x))
            return dropped

    graph = trace(Frozen(), (3, 2, 4), training=True)
    first = graph.operations[0]
    assert (first.name, first.arguments["training"]) == ("native_batch_norm", False)
    assert "bernoulli_" in [operation.name for operation in graph.operations]
