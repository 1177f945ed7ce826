"""Shift consistency: networks whose answers are known, even draws, a function of the seed alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.intervals import wilson
from convarium.measure.consistency import shift_consistency


def one_hot(n: int, length: int, place: int) -> Tensor:
    x = torch.zeros(n, 1, length)
    x[:, :, place] = 1
    return x


class Modulo(nn.Module):
    """The class is the place of the brightest position, modulo a number."""

    def __init__(self, modulus: int) -> None:
        super().__init__()
        self.modulus = modulus

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(x.flatten(1).argmax(1) % self.modulus, self.modulus).float()


@settings(max_examples=25)
@given(
    sides=st.lists(st.integers(2, 6), min_size=1, max_size=3),
    shifts=st.sampled_from(["roll", "crop"]),
    n=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_a_network_that_does_not_see_shifts_is_always_consistent(
    sides: list[int], shifts: Any, n: int, seed: int
) -> None:
    pool = [nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d][len(sides) - 1]
    network = nn.Sequential(pool(1), nn.Flatten())
    x = torch.randint(0, 9, (3, 4, *sides), generator=torch.Generator().manual_seed(seed))
    if shifts == "crop":
        x = x[:, :, *[slice(0, 1)] * len(sides)].expand_as(x)
    result = shift_consistency(network, x.double(), n=n, shifts=shifts, max_shift=1, seed=seed)
    assert (result.share, result.agreed, result.n) == (1.0, n, n)
    assert result.interval.high == 1.0


@pytest.mark.parametrize("shifts", ["roll", "crop"])
def test_two_shifts_of_a_pair_always_differ(shifts: Any) -> None:
    """The brightest place moves with the shift, and each place is a class of its own."""
    for max_shift in (1, 2, 5):
        result = shift_consistency(
            Modulo(99), one_hot(300, 16, 8), max_shift=max_shift, shifts=shifts
        )
        assert result.share == 0
        assert result.interval.low == 0


@pytest.mark.parametrize("shifts", ["roll", "crop"])
def test_the_share_is_that_of_all_pairs_of_shifts(shifts: Any) -> None:
    """Of shifts 0, 1, 2, only 0 and 2 have the same parity: one pair in three."""
    result = shift_consistency(
        Modulo(2), one_hot(6000, 16, 8), max_shift=2, shifts=shifts, batch_size=1000
    )
    assert abs(result.share - 1 / 3) < 4 * math.sqrt(2 / 9 / 6000)


class Remembering(nn.Module):
    """Keeps what it saw in a list that belongs to the test."""

    def __init__(self, seen: list[Tensor]) -> None:
        super().__init__()
        self.note = seen.append

    def forward(self, x: Tensor) -> Tensor:
        self.note(x.clone())
        return x.flatten(1)


def test_all_windows_come_equally_often() -> None:
    seen: list[Tensor] = []
    x = torch.arange(20.0).reshape(1, 1, 4, 5)
    result = shift_consistency(Remembering(seen), x, n=1200, max_shift=2, shifts="crop")
    assert result.input_size == (2, 3)
    corners = torch.cat(seen)[:, 0, 0, 0]
    values, counts = corners.unique(return_counts=True)
    assert values.tolist() == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    expected = 2400 / 9
    assert float(((counts - expected) ** 2 / expected).sum()) < 26.1  # chi square, 8, 0.001
    assert {tuple(window.shape) for window in torch.cat(seen)} == {(1, 2, 3)}


def test_rolled_images_keep_their_size_and_content() -> None:
    seen: list[Tensor] = []
    x = torch.arange(12.0).reshape(1, 1, 12)
    result = shift_consistency(Remembering(seen), x, n=50, max_shift=3)
    assert (result.input_size, result.shifts) == ((12,), "roll")
    rows = torch.cat(seen)
    assert torch.equal(rows.sort().values, x.expand_as(rows))
    assert sorted(set(rows.argmin(-1).flatten().tolist())) == [0, 1, 2, 3]


def test_images_are_taken_in_turn() -> None:
    seen: list[Tensor] = []
    x = torch.arange(3.0).reshape(3, 1, 1).expand(3, 1, 4)
    shift_consistency(Remembering(seen), x, n=7, max_shift=1)
    assert torch.cat(seen)[::2, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_an_eighth_of_the_shortest_side_is_the_default() -> None:
    network = Modulo(2)
    assert shift_consistency(network, torch.rand(2, 1, 32, 40)).max_shift == 4
    assert shift_consistency(network, torch.rand(2, 1, 5)).max_shift == 1


def test_an_axis_of_one_position_has_one_roll() -> None:
    x = torch.arange(6.0).reshape(1, 1, 1, 6)
    seen: list[Tensor] = []
    shift_consistency(Remembering(seen), x, n=40, max_shift=2)
    assert sorted(set(torch.cat(seen).argmin(-1).flatten().tolist())) == [0, 1, 2]


def test_the_result_is_a_function_of_the_seed_and_not_of_the_batches() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 5))
    x = torch.randn(200, 1, 12, 12)
    results = [shift_consistency(network, x, max_shift=3, batch_size=n) for n in (1, 7, 200)]
    assert results[0] == results[1] == results[2]
    others = {shift_consistency(network, x, max_shift=3, seed=seed).agreed for seed in range(5)}
    assert len(others) > 1


def test_more_pairs_of_the_same_images_do_not_narrow_the_interval() -> None:
    x = one_hot(50, 16, 8)
    once = shift_consistency(Modulo(2), x, max_shift=2)
    often = shift_consistency(Modulo(2), x, max_shift=2, n=5000)
    assert once.interval == wilson(once.agreed, 50)
    assert often.interval == wilson(round(often.share * 50), 50)
    fewer = shift_consistency(Modulo(2), x, max_shift=2, n=20)
    assert (fewer.images, fewer.interval) == (20, wilson(fewer.agreed, 20))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_shift": 0}, "max_shift .=0. must be a whole number of 1 or more"),
        ({"max_shift": 1.5}, "max_shift"),
        ({"max_shift": 8}, "must be below 8"),
        ({"max_shift": 6, "shifts": "crop"}, "must be below 6"),
        ({"n": 0}, "n .=0."),
        ({"batch_size": 0}, "batch_size"),
        ({"seed": -1}, "seed .=-1. must be a whole number of 0 or more"),
        ({"shifts": "rol"}, "Did you mean 'roll'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        shift_consistency(Modulo(2), torch.rand(2, 1, 6, 8), **options)


def test_outputs_without_classes_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"returns \(4, 1, 8\) for 4 inputs"):
        shift_consistency(nn.Identity(), torch.rand(2, 1, 8))
    with pytest.raises(ShapeError, match="returns list"):
        shift_consistency(Listing(), torch.rand(2, 1, 8))
    with pytest.raises(OptionError, match="not finite"):
        shift_consistency(nn.Flatten(), torch.full((2, 1, 8), float("inf")))
    with pytest.raises(ShapeError, match="must be a batch"):
        shift_consistency(nn.Flatten(), torch.rand(2, 8))


class Listing(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_changes(fails: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.AdaptiveAvgPool1d(1)
    )
    network(torch.randn(2, 1, 8)).sum().backward()
    model = nn.Sequential(*network, nn.Identity() if fails else nn.Flatten())
    before = [torch.get_rng_state(), *(value.clone() for value in model.state_dict().values())]
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    if fails:
        with pytest.raises(ShapeError):
            shift_consistency(model, torch.ones(2, 1, 8))
    else:
        shift_consistency(model, torch.ones(2, 1, 8))
    after = [torch.get_rng_state(), *model.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_the_result_is_json() -> None:
    told = shift_consistency(Modulo(2), one_hot(4, 8, 3)).to_json()
    assert told["images"] == 4
    assert isinstance(told["interval"], list)
