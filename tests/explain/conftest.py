"""Specimens that several tests of this room look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


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
