"""A forward in inference mode, wholly or partly, is followed like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from convarium.errors import OptionError
from convarium.graph import trace
from convarium.measure import (
    cost,
    effective_receptive_field,
    jacobian_singular_values,
    receptive_field,
)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.stem(x)).relu()
        y = nn.functional.interpolate(y, scale_factor=2.0, mode="bilinear")
        scores: Tensor = self.head(nn.functional.max_pool2d(y, 2))
        return scores


class Decorated(Network):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Partly(Network):
    """The first layers within, the others without."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            y = self.norm(self.stem(x)).relu()
        y = nn.functional.interpolate(y.clone(), scale_factor=2.0, mode="bilinear")
        scores: Tensor = self.head(nn.functional.max_pool2d(y, 2))
        return scores


class Recurrent(nn.Module):
    def __init__(self, within: bool) -> None:
        super().__init__()
        self.within = within
        self.steps = nn.LSTM(3, 4, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode(self.within):
            result: Tensor = self.steps(x)[0]
        return result


@pytest.mark.parametrize("kind", [Network, Decorated, Partly])
def test_multiply_adds_are_those_of_torchs_counter(kind: Callable[[], nn.Module]) -> None:
    model = kind().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(2, 3, 8, 8))
    assert cost(model, (2, 3, 8, 8)).flops == counter.get_total_flops() > 0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", [Decorated, Partly])
def test_operations_are_those_without_inference_mode(
    kind: Callable[[], nn.Module], training: bool
) -> None:
    def told(model: nn.Module) -> list[tuple[str, str]]:
        graph = trace(model, (2, 3, 8, 8), training=training)
        return [(o.name, o.layer) for o in graph.operations if o.name != "clone"]

    assert told(kind()) == told(Network())


def test_field_and_memory_are_those_without_inference_mode() -> None:
    shape = (2, 3, 8, 8)
    assert receptive_field(Decorated(), shape) == receptive_field(Network(), shape)
    assert cost(Decorated(), shape).forward_bytes == cost(Network(), shape).forward_bytes
    within, without = (trace(Recurrent(w), (2, 5, 3)) for w in (True, False))
    assert [o.name for o in within.operations] == [o.name for o in without.operations]


def test_what_is_called_inside_of_inference_mode_is_the_same() -> None:
    with torch.inference_mode():
        model = Network()
        found = cost(model, (2, 3, 8, 8))
    assert found.macs == cost(Network(), (2, 3, 8, 8)).macs


class Steps(nn.Module):
    """A convolution whose gradient is cut off in some way."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.first, self.last = nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "inference":
            with torch.inference_mode():
                return self.through(x)
        if self.way == "no_grad":
            with torch.no_grad():
                return self.through(x)
        if self.way == "inside":
            inside: Tensor = self.last(self.first(x).detach())
            return inside
        return torch.from_numpy(self.through(x).detach().numpy())

    def through(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.first(x))
        return result


@pytest.mark.parametrize("way", ["inference", "no_grad", "inside", "numpy"])
def test_a_gradient_that_is_cut_off_is_no_jacobian_of_zeros(way: str) -> None:
    with pytest.raises(OptionError, match=r"No gradient of the output reaches x: .*detach"):
        jacobian_singular_values(Steps(way), torch.randn(2, 1, 9))


@pytest.mark.parametrize("way", ["inference", "no_grad", "inside"])
@pytest.mark.parametrize("layer", [None, "last"])
def test_a_gradient_that_is_cut_off_is_no_fault_of_the_layer(way: str, layer: str | None) -> None:
    with pytest.raises(OptionError, match=r"No gradient of last reaches x: .*inference_mode"):
        effective_receptive_field(Steps(way), torch.randn(2, 1, 9), layer=layer)
