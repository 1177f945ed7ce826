"""Targets that are refused, each with what is allowed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain import grad_cam

X = torch.ones(2, 1, 6, 6)


def network(*tail: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *tail)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (4, r"target \(=4\) must be from 0 to 3"),
        (-1, r"target \(=-1\) must be from 0 to 3"),
        ([0, 7], r"target \(=7\) must be from 0 to 3"),
        ([0], "target has 1 classes for 2 samples"),
        ([0, 1, 2], "target has 3 classes for 2 samples"),
        ("cat", "one index per sample"),
        (1.0, "one index per sample"),
        (True, "one index per sample"),
        (torch.tensor([0.0, 1.0]), "one index per sample"),
    ],
)
def test_wrong_targets_are_refused(target: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        grad_cam(network(), X, target=target, layer="0")


@pytest.mark.parametrize("wrong", [Tensor.sum, lambda y: y, lambda y: y.argmax(1), lambda _: 3])
def test_a_callable_must_return_one_score_per_sample(wrong: Any) -> None:
    with pytest.raises(
        ShapeError, match=r"must return one floating score per sample, shape \(2,\)"
    ):
        grad_cam(network(), X, target=wrong, layer="0")


def test_an_output_that_is_not_logits_needs_a_callable() -> None:
    with pytest.raises(ShapeError, match=r"shape \(2, 2, 2\).*pass target as a callable"):
        grad_cam(network(nn.Unflatten(1, (2, 2))), X, layer="0")


@pytest.mark.parametrize("shape", [(1, 6), (1,), (0, 1, 6, 6), (2, 1, 1, 2, 2, 2)])
def test_inputs_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="x has shape"):
        grad_cam(network(), torch.ones(shape), layer="0")


def test_token_ids_have_one_spatial_axis() -> None:
    class Text(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 3)
            self.conv = nn.Conv1d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.embedding(x).mT).amax(2)

    heat = grad_cam(Text(), torch.arange(8).reshape(1, 8), layer="conv")
    assert heat.values.shape == (1, 6)
    assert heat.display().shape == (1, 8)


@pytest.mark.parametrize(
    "target", [[np.int64(1)] * 2, (torch.tensor(1), 1), np.int64(1), np.array([1, 1])]
)
def test_whole_numbers_of_any_library_are_classes(target: Any) -> None:
    heat = grad_cam(network(), X, target=target, layer="0")
    assert heat.target == (1, 1)
    assert {type(item) for item in heat.target} == {int}


@pytest.mark.parametrize("target", [[True, False], [torch.tensor(True)] * 2, [np.bool_(True)] * 2])
def test_truth_values_are_no_classes(target: Any) -> None:
    with pytest.raises(OptionError, match="one index per sample"):
        grad_cam(network(), X, target=target, layer="0")
