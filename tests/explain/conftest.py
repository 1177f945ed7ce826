"""Specimens that several tests of this room look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convarium import explain

OF_A_LAYER = (
    *("grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam", "xgrad_cam", "finer_cam"),
    *("eigen_cam", "ablation_cam", "score_cam"),
)
OF_THE_INPUT = (
    *("input_gradients", "smooth_grad", "integrated_gradients", "guided_backpropagation"),
    "occlusion",
)
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOL = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


@pytest.fixture(params=OF_A_LAYER + OF_THE_INPUT)
def method(request: pytest.FixtureRequest) -> Callable[..., explain.Attribution]:
    """Every method of the room."""
    found: Callable[..., explain.Attribution] = getattr(explain, request.param)
    return found


@pytest.fixture(params=OF_A_LAYER)
def layer_method(request: pytest.FixtureRequest) -> Callable[..., explain.Attribution]:
    """Every method that reads a layer."""
    found: Callable[..., explain.Attribution] = getattr(explain, request.param)
    return found


@pytest.fixture(params=OF_THE_INPUT)
def input_method(request: pytest.FixtureRequest) -> Callable[..., explain.Attribution]:
    """Every method at the input."""
    found: Callable[..., explain.Attribution] = getattr(explain, request.param)
    return found


@pytest.fixture(scope="session")
def conv_gap_linear() -> Callable[..., nn.Sequential]:
    """Makes nets for which Grad-CAM of layer "1", the last map, is known in closed form."""
    return _conv_gap_linear


@pytest.fixture
def deep() -> Callable[..., nn.Sequential]:
    """A function, so that a test makes as many as it needs, in its own precision."""
    return _deep


@pytest.fixture
def inputs() -> Callable[..., Tensor]:
    """A function, so that a test makes as many as it needs, in its own precision."""
    return _inputs


def _deep(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Convolutions, norm and dense layers behind the layer "1", which is read."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 3 * 2, 5),
    )
    network[3].running_mean.normal_()
    network[3].running_var.uniform_(0.5, 2)
    return network.to(dtype).eval()


def _inputs(batch: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(batch, 1, 10, 8).to(dtype)


def _conv_gap_linear(
    rank: int, channels: int = 2, maps: int = 5, classes: int = 3, seed: int = 0
) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        CONV[rank](channels, maps, 3, padding=1),
        nn.ReLU(),
        POOL[rank](1),
        nn.Flatten(),
        nn.Linear(maps, classes),
    ).double()
