"""Gradients that do not arrive, and functions inside of `torch.device("meta")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.measure import (
    cost,
    effective_receptive_field,
    gradient_flow,
    jacobian_singular_values,
    latency,
    output_shape,
    receptive_field,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*quant.*", "ignore:.*autograd kernel.*")


def total(y: Tensor, _: Any) -> Tensor:
    return y.sum()


def quantised() -> nn.Module:
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return torch.ao.quantization.quantize_dynamic(network, {nn.Linear})


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("loss", [None, total])
def test_a_quantised_network_has_no_gradient_flow(training: bool, loss: Any) -> None:
    with pytest.raises(OptionError, match=r"No gradient comes back to 1: .* quantised layer"):
        gradient_flow(quantised(), torch.randn(2, 4), loss=loss, training=training)


def test_a_quantised_network_has_no_jacobian() -> None:
    with pytest.raises(OptionError, match=r"No gradient of the output .* quantised layer"):
        jacobian_singular_values(quantised(), torch.randn(2, 4))


class Codes(torch.autograd.Function):
    """Says itself that its input has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> None:
        return None


def test_a_function_without_a_gradient_is_a_gradient_of_zero() -> None:
    class Coded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.last(Codes.apply(self.first(x)))
            return y

    first, last = gradient_flow(Coded(), torch.randn(2, 3), loss=total).rows
    assert (first.weight_gradient, first.output_gradient) == (0.0, 0.0)
    assert last.output_gradient == 1.0


def test_a_layer_that_returns_no_tensor_is_called_all_the_same() -> None:
    network = nn.LSTM(3, 2, batch_first=True)
    found = gradient_flow(network, torch.randn(2, 4, 3), loss=lambda y, _: y[0].sum())
    assert found.rows == ()


MODEL = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
X = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "look",
    [
        lambda: cost(MODEL, X.shape).macs,
        lambda: output_shape(MODEL, X.shape),
        lambda: receptive_field(MODEL, X.shape),
        lambda: effective_receptive_field(MODEL, X).values.tolist(),
        lambda: jacobian_singular_values(MODEL, X, k=2),
        lambda: gradient_flow(MODEL, X, loss=total),
        lambda: latency(MODEL, X.shape, seconds=0.01).device,
    ],
)
def test_the_default_device_of_torch_does_not_matter(look: Callable[[], object]) -> None:
    expected = look()
    with torch.device("meta"):
        assert look() == expected


@pytest.mark.parametrize("look", [cost, output_shape, receptive_field])
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_one_shape_is_the_shape(look: Callable[..., Any], kind: Any) -> None:
    assert look(MODEL, kind([(2, 3, 9, 9)])) == look(MODEL, (2, 3, 9, 9))
