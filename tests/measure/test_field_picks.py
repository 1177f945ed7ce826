"""Positions picked by fixed numbers against gradients: along one axis, several, and as masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hand_made import Forward
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.graph import trace
from convarium.measure import receptive_field
from convarium.measure.rules.following import follow_graph

SHAPE = (1, 2, 6, 9)
FIXED = torch.tensor([0, 3, 4])


def check(model: nn.Module, shape: tuple[int, ...] = SHAPE) -> int:
    """How often the field of a position is what its gradient reaches, which it always holds."""
    for parameter in model.double().parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    x = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
    y = model(x)
    graph = trace(model, shape)
    assert graph.outputs[0].shape == y.shape
    state = follow_graph(graph)[graph.outputs[0].number]
    assert not state.unknown
    equal = 0
    for place in np.ndindex(*y.shape):
        (gradient,) = torch.autograd.grad(y[place], x, retain_graph=True)
        for axis, reach in enumerate(state.reaches):
            along = gradient.movedim(2 + axis, 0).flatten(1).any(1).nonzero()[:, 0].tolist()
            at = np.array([0 if reach.dim is None else place[reach.dim]])
            low, high = (int(end[0]) for end in reach.at(at))
            assert low <= along[0] <= along[-1] <= high, (place, axis)
            last = shape[2 + axis] - 1
            equal += (max(low, 0), min(high, last)) == (along[0], along[-1])
    return equal


def picked(key: Any) -> Callable[[Any, Tensor], Any]:
    return lambda self, x: self.last(self.first(x)[key])


mask = torch.zeros(6, 9, dtype=torch.bool)
mask[1, 2] = mask[1, 7] = mask[4, 4] = True
EXACT: dict[str, Callable[[Any, Tensor], Any]] = {
    "a list": picked((..., [0, 3, 4])),
    "an even list": picked((..., [0, 2, 4, 6])),
    "a list from the end": picked((..., [-1, 0])),
    "a tuple, turned round": picked((slice(None), slice(None), (5, 2, 1))),
    "a range": picked((..., range(1, 9, 3))),
    "an array": picked((..., np.array([8, 0, 0, 1]))),
    "truth values": picked((..., [True, False, False] * 3)),
    "a tensor": picked((..., FIXED)),
    "a narrow tensor": picked((..., FIXED.int())),
    "a tensor of the input's device": lambda self, x: self.last(
        self.first(x)[..., torch.tensor([0, 3, 4], device=x.device)]
    ),
    "a list, then a list": lambda self, x: self.last(self.first(x)[:, :, [0, 3, 5]][..., [1, 8]]),
    "a grid": picked((slice(None), slice(None), [[0], [3]], [1, 4, 8])),
    "channels and places": picked((slice(None), [1], slice(None), [0, 3, 8])),
    "channels": picked((slice(None), [1, 0])),
    "pairs of both axes": picked((slice(None), slice(None), [0, 1, 5], [2, 3, 8])),
    "a mask of both axes": picked((slice(None), slice(None), mask)),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_is_picked_is_what_the_gradient_reaches(name: str) -> None:
    last = nn.Softplus() if "both" in name or "channels and" in name else nn.Conv2d(2, 2, (1, 2))
    model = Forward(EXACT[name], first=nn.Conv2d(2, 2, 3, padding=1), last=last)
    y = model(torch.zeros(SHAPE))
    assert check(model) == 2 * y.numel()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-9, 8), min_size=1, max_size=8), st.sampled_from([1, 3]))
def test_any_list_is_what_the_gradient_reaches(places: list[int], kernel: int) -> None:
    model = Forward(
        lambda self, x: self.first(x)[:, :, places], first=nn.Conv1d(1, 1, kernel, padding="same")
    )
    assert check(model, (1, 1, 9)) == len(places)
    field = receptive_field(model, (1, 1, 9))
    assert (field.status, field.size) == ("exact", (kernel,))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=12).filter(lambda x: len(x) % 2 == 0))
def test_rows_of_places_are_within_what_is_told(places: list[int]) -> None:
    """Of a list of lists the places are split over two dimensions, which is told as a bound."""
    rows = torch.tensor(places).unflatten(0, (2, -1))
    model = Forward(lambda self, x: self.first(x)[:, :, rows], first=nn.Conv1d(1, 1, 1))
    check(model, (1, 1, 9))
    assert receptive_field(model, (1, 1, 9)).status in ("exact", "bound", "whole input")


def test_what_is_written_at_a_list_is_no_longer_read() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.first(x).clone()
        y[:, :, [0, 1, 7, 8]] = 0.0
        return y

    field = receptive_field(Forward(forward, first=nn.Conv1d(1, 1, 3)), (1, 1, 11))
    assert (field.size, field.status) == ((3,), "exact")


def test_numbers_that_the_input_gives_are_not_known() -> None:
    model = Forward(lambda self, x: x[:, :, x[0, 0].long()])
    assert receptive_field(model, (1, 1, 9)).status == "unknown: index"
