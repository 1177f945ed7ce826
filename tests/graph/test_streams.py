"""Random streams and arrays of a model are afterwards as before, wherever they are held."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from convarium.errors import ShapeError
from convarium.graph import trace, untouched
from convarium.measure import jacobian_singular_values, latency


class Drawing(nn.Module):
    """Draws from every stream there is, and writes into arrays, as user code does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.torchs = torch.Generator().manual_seed(1)
        self.others: dict[str, Any] = {"numpy": [np.random.default_rng(3)]}
        self.others["python"] = random.Random(2)
        self.old = (np.random.RandomState(4),)
        self.counts = np.array([1.0, np.nan, 3.0])
        self.inside: dict[str, Any] = {"tables": [np.arange(4), np.zeros((2, 2), dtype=bool)]}

    def forward(self, x: Tensor) -> Tensor:
        noise = [*torch.randn(3, generator=self.torchs).tolist(), self.old[0].random()]
        noise += [random.random(), np.random.random(), self.others["python"].random()]
        noise += self.others["numpy"][0].random(2).tolist()
        self.counts += 1
        self.inside["tables"][0][:] = 7
        self.inside["tables"][1][0] ^= True
        result: Tensor = self.layer(x) * sum(noise)
        return result


def facts(model: Drawing) -> list[Any]:
    found = [random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()]
    found += [model.torchs.get_state().tolist(), model.others["python"].getstate()]
    found += [model.others["numpy"][0].bit_generator.state, repr(model.old[0].get_state())]
    return [*found, repr(model.counts), repr(model.inside)]


@pytest.mark.parametrize(
    "look",
    [
        lambda m: m(torch.ones(2, 3)),
        lambda m: trace(m, (2, 3)),
        lambda m: latency(m, (2, 3), rounds=3, seconds=0.1),
        lambda m: jacobian_singular_values(m, torch.ones(2, 3)),
    ],
)
def test_streams_and_arrays_are_as_before(look: Callable[[Any], object]) -> None:
    model = Drawing()
    before = facts(model)
    places = [id(model.torchs), id(model.counts), id(model.inside["tables"][0])]
    with untouched(model):
        look(model)
    assert facts(model) == before
    assert places == [id(model.torchs), id(model.counts), id(model.inside["tables"][0])]
    model(torch.ones(2, 3))
    assert all(one != other for one, other in zip(before[3:], facts(model)[3:], strict=True))


def test_streams_and_arrays_are_as_before_where_the_model_fails() -> None:
    class Failing(Drawing):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("afterwards")

    model = Failing()
    before = facts(model)
    with pytest.raises(ShapeError, match="afterwards"):
        trace(model, (2, 3))
    assert facts(model) == before


def test_what_cannot_be_put_back_is_left_alone() -> None:
    model = nn.Identity()
    fixed = np.arange(3)
    fixed.flags.writeable = False
    held: dict[str, Any] = {"fixed": fixed, "system": random.SystemRandom(), "scalar": np.int64(3)}
    model.held = held  # type: ignore[assignment]
    with untouched(model):
        held["scalar"] = np.int64(4)
        held["fixed"] = None
    assert held["fixed"] is fixed
    assert held["scalar"] == 3
