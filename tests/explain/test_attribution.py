"""A degenerate map says so; what is shown lies in [0, 1] at the input's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain import Attribution, grad_cam


class Scored(nn.Module):
    """A convolution, then whatever computes the score."""

    def __init__(self, score: object, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, size)
        nn.init.ones_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.score = score

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.conv(x))


def status(score: object, x: Tensor | None = None, size: int = 3) -> tuple[str, ...]:
    x = torch.ones(1, 1, 6, 6) if x is None else x
    heat = grad_cam(Scored(score, size), x, target=0, layer="conv")
    assert heat.values.shape[0] == len(x)
    assert heat.display().shape == x.shape[:1] + x.shape[2:]
    return heat.status


def test_a_map_with_something_for_the_class_is_fine() -> None:
    assert status(lambda maps: maps.mean((2, 3))) == ("fine",)


def test_a_map_with_nothing_for_the_class_says_so() -> None:
    heat = grad_cam(Scored(lambda maps: -maps.mean((2, 3))), torch.ones(1, 1, 6, 6), layer="conv")
    assert heat.status == ("all negative",)
    assert (heat.values < 0).all()
    assert torch.equal(heat.display(), torch.zeros(1, 6, 6))


def test_a_map_of_one_position_says_so() -> None:
    assert status(lambda maps: maps.mean((2, 3)), size=6) == ("no spatial extent",)


def test_a_layer_without_spatial_axes_says_so() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(48, 2))
    heat = grad_cam(network, torch.ones(2, 1, 6, 6), layer="1")
    assert heat.status == ("no spatial extent",) * 2
    assert heat.values.shape == (2, 1, 1)


def test_a_saturated_score_says_so() -> None:
    assert status(lambda maps: maps.mean((2, 3)).clamp(max=1)) == ("zero gradient",)


def test_status_is_told_per_sample() -> None:
    x = torch.tensor([1.0, -1.0, 0.01]).reshape(3, 1, 1, 1).expand(3, 1, 6, 6)
    words = status(lambda maps: maps.mean((2, 3)).clamp(max=1), x)
    assert words == ("zero gradient", "all negative", "fine")


@pytest.mark.parametrize(
    "score",
    [
        lambda maps: maps.detach().mean((2, 3)),
        lambda maps: torch.ones(len(maps), 2, requires_grad=True) * 2,
        lambda maps: (maps > 0).float().mean((2, 3)),
        torch.no_grad()(lambda maps: maps.mean((2, 3))),
    ],
)
def test_a_score_not_computed_from_the_layer_says_so(score: object) -> None:
    assert status(score) == ("not connected",)


def test_nan_says_so_and_is_shown_as_nothing() -> None:
    x = torch.ones(2, 1, 6, 6)
    x[1, 0, 0, 0] = float("nan")
    assert status(lambda maps: maps.mean((2, 3)), x) == ("fine", "not finite")


@given(
    sides=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    scale=st.sampled_from([1e-38, 1e-6, 1.0, 1e30]),
    grow=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_display_lies_in_zero_to_one_at_any_scale(
    sides: list[int], scale: float, grow: int, seed: int
) -> None:
    values = torch.randn(2, *sides, generator=torch.Generator().manual_seed(seed)) * scale
    size = tuple(grow * side for side in sides)
    heat = Attribution(values, "conv", (0, 0), torch.zeros(2), ("fine", "fine"), size)
    shown = heat.display()
    assert shown.shape == (2, *size)
    assert shown.min() >= 0
    for row in shown:
        assert row.max() in (0.0, 1.0)
    unscaled = Attribution(values / scale, "conv", (0, 0), torch.zeros(2), ("fine",) * 2, size)
    torch.testing.assert_close(shown, unscaled.display(), rtol=1e-3, atol=1e-3)


def test_display_takes_another_size_and_refuses_a_wrong_one() -> None:
    heat = Attribution(torch.ones(1, 2, 2), "conv", (0,), torch.ones(1), ("fine",), (4, 4))
    assert heat.display((3, 5)).shape == (1, 3, 5)
    assert torch.equal(heat.display(8), heat.display((8, 8)))
    assert torch.equal(heat.display(np.int64(8)), heat.display(np.array([8, 8])))
    for wrong in [(3,), (3, 3, 3), (0, 3), 0, 8.0, "8", "ab", (8.0, 8.0), None.__class__]:
        with pytest.raises(OptionError, match="must have 2 axes"):
            heat.display(wrong)
