"""Equivariance: exactly zero where theory says so, the hand's number elsewhere, and no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import convarium
from convarium.errors import ShapeError
from convarium.layers import BlurPool, SqueezeExcitation
from convarium.measure.commuting import Equivariance, LayerEquivariance, equivariance

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
ROUNDING = 1e-12


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chain(*layers: nn.Module, seed: int = 0) -> nn.Sequential:
    network = nn.Sequential(*layers).double()
    for k, parameter in enumerate(network.parameters()):
        parameter.data = numbers(*parameter.shape, seed=seed + k)
    return network


def errors(result: Equivariance) -> list[float | None]:
    return [row.error for row in result.rows]


def only(result: Equivariance) -> LayerEquivariance:
    (row,) = result.rows
    return row


@settings(max_examples=40)
@given(
    rank=st.integers(1, 3),
    size=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    times=st.integers(1, 3),
    sign=st.sampled_from([1, -1]),
    seed=st.integers(0, 99),
)
def test_circular_convolutions_and_pools_commute_with_multiples_of_the_stride(
    rank: int, size: int, stride: int, dilation: int, times: int, sign: int, seed: int
) -> None:
    padding = dilation * (size - 1) // 2
    side = 2 * stride * (padding // (2 * stride) + 2)
    conv = CONV[rank](2, 3, size, stride, padding, dilation=dilation, padding_mode="circular")
    network = chain(conv, nn.Tanh(), MAX[rank](2), seed=seed)
    x = numbers(2, 2, *[side] * rank, seed=seed)
    amount = sign * 2 * stride * times
    if abs(amount) >= side:
        amount = sign * 2 * stride
    result = equivariance(network, x, amount=amount)
    assert max(errors(result)) < ROUNDING
    steps = [row.steps for row in result.rows]
    n = amount // stride
    assert steps == [(n,) * rank, (n,) * rank, (n // 2,) * rank]


@settings(max_examples=40)
@given(
    rank=st.integers(1, 3),
    sizes=st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=2),
    strides=st.lists(st.integers(1, 2), min_size=2, max_size=2),
    padding=st.integers(0, 2),
    mode=st.sampled_from(["zeros", "reflect", "replicate"]),
    seed=st.integers(0, 99),
)
def test_in_the_interior_padding_of_any_kind_does_not_matter(
    rank: int, sizes: list[int], strides: list[int], padding: int, mode: str, seed: int
) -> None:
    layers: list[nn.Module] = []
    for size, stride in zip(sizes, strides, strict=False):
        layers += [CONV[rank](2, 2, size, stride, padding, padding_mode=mode), nn.ReLU()]
    x = numbers(1, 2, *[15] * rank, seed=seed)
    result = equivariance(chain(*layers, seed=seed), x, border="interior")
    assert max(error for error in errors(result) if error is not None) < ROUNDING
    assert result.rows[0].positions > 0


def test_the_interior_of_one_convolution_is_counted_by_hand() -> None:
    """Of 8 positions, 0 and 7 read padding; after a shift by 1 position 0 is new, 1 reads it."""
    layer = nn.Conv2d(1, 1, 3, padding=1)
    row = only(equivariance(layer, torch.randn(1, 1, 8, 8), amount=1, border="interior"))
    assert row.positions == 5 * 5
    row = only(equivariance(layer, torch.randn(1, 1, 8, 8), amount=(0, -3), border="interior"))
    assert row.positions == 6 * 3


def test_at_the_border_the_error_is_that_of_the_definition() -> None:
    layer, x = chain(nn.Conv2d(2, 3, 3, padding=1)), numbers(3, 2, 7, 6)
    row = equivariance(layer, x, amount=(2, -1)).rows[0]
    with torch.no_grad():
        expected = torch.roll(layer(x), (2, -1), (2, 3))
        difference = layer(torch.roll(x, (2, -1), (2, 3))) - expected
    assert row.error == pytest.approx(float(difference.norm() / expected.norm()))
    assert row.largest == pytest.approx(float(difference.abs().max()))
    assert row.error > 0.1


def test_without_padding_the_stride_is_not_the_ratio_of_the_sizes() -> None:
    """8 positions become 4 by a 5-tap kernel at stride 1: a shift by 2 moves the map by 2."""
    layer = chain(nn.Conv1d(1, 1, 5))
    row = only(equivariance(layer, numbers(1, 1, 8), amount=2, border="interior"))
    assert (row.steps, row.positions) == ((2,), 2)
    assert row.error < ROUNDING
    row = only(equivariance(layer, numbers(1, 1, 8), amount=2))
    assert row.error is None
    assert row.reason == "4 positions at stride 1 do not close a circle of 8"


def test_lenet_commutes_wherever_its_maps_have_places() -> None:
    torch.manual_seed(0)
    network = convarium.create("lenet5").double()
    result = equivariance(network, numbers(2, 1, 32, 32), border="interior")
    assert result.amount == (4, 4)
    maps = [row for row in result.rows if len(row.shape) == 3]
    assert max(row.error for row in maps) < ROUNDING
    vectors = [row for row in result.rows if len(row.shape) == 1]
    assert {row.reason for row in vectors} == {"the border reaches every position"}


@pytest.mark.parametrize(("amount", "reason"), [(1, True), (2, False), (3, True), (4, False)])
def test_a_shift_that_the_stride_does_not_divide_has_no_counterpart(
    amount: int, reason: bool
) -> None:
    row = equivariance(nn.MaxPool1d(2), numbers(1, 1, 8), amount=amount).rows[0]
    assert (row.error is None) == reason
    assert row.reason == (f"a shift of {amount} is no multiple of the stride 2" if reason else "")


def test_sizes_that_the_stride_does_not_divide_have_no_circle() -> None:
    layer = nn.Conv1d(1, 1, 3, stride=2, padding=1)
    row = equivariance(layer.double(), numbers(1, 1, 7), amount=2).rows[0]
    assert row.reason == "4 positions at stride 2 do not close a circle of 7"


def test_blurring_before_the_stride_keeps_circles_apart_from_the_border() -> None:
    row = only(equivariance(BlurPool(2).double(), numbers(1, 3, 12, 12), border="interior"))
    assert row.error < ROUNDING
    assert row.steps == (1, 1)


def test_upsampled_maps_move_further_than_the_input() -> None:
    network = chain(nn.Upsample(scale_factor=2), nn.ConvTranspose1d(1, 2, 4, stride=2, padding=1))
    result = equivariance(network, numbers(1, 1, 9), amount=1, border="interior")
    assert [row.steps for row in result.rows] == [(2,), (4,)]
    assert max(errors(result)) < ROUNDING


def symmetric(network: nn.Sequential) -> nn.Sequential:
    """With kernels that mirror images and quarter turns leave as they are."""
    for module in network:
        if isinstance(module, nn.Conv2d):
            turned = sum(module.weight.rot90(k, (-2, -1)) for k in range(4))
            module.weight.data = (turned + turned.flip(-1)) / 8
    return network


@pytest.mark.parametrize("border", ["all", "interior"])
@pytest.mark.parametrize(
    ("transform", "amount"),
    [("flip", 0), ("flip", None), ("rotate", None), ("rotate", 2), ("rotate", 3)],
)
def test_symmetric_kernels_commute_with_mirrors_and_turns_and_others_do_not(
    border: Any, transform: Any, amount: int | None
) -> None:
    layers = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3)]
    x = numbers(2, 2, 9, 9)
    options = {"transform": transform, "amount": amount, "border": border}
    assert max(errors(equivariance(symmetric(chain(*layers)), x, **options))) < ROUNDING
    assert min(errors(equivariance(chain(*layers), x, **options))) > 0.1


def test_a_mirrored_grid_fits_a_stride_on_odd_sizes_only() -> None:
    network = symmetric(chain(nn.Conv2d(1, 1, 3, stride=2, padding=1)))
    odd, even = (
        only_error(equivariance(network, numbers(1, 1, n, n), transform="flip")) for n in (9, 8)
    )
    assert odd < ROUNDING
    assert even > 0.1


def only_error(result: Equivariance) -> float:
    return only(result).error or 0.0


def test_a_turned_map_must_be_square() -> None:
    with pytest.raises(ShapeError, match="the last two must be equal"):
        equivariance(nn.Conv2d(1, 1, 3), torch.ones(1, 1, 5, 6), transform="rotate")
    with pytest.raises(ShapeError, match="two axes or more"):
        equivariance(nn.Conv1d(1, 1, 3), torch.ones(1, 1, 5), transform="rotate", amount=2)
    x = torch.ones(1, 1, 5, 6)
    assert only(equivariance(nn.ReLU(), x, transform="rotate", amount=2)).error == 0
    row = only(equivariance(nn.MaxPool2d((1, 5)), torch.ones(1, 1, 5, 5), transform="rotate"))
    assert row.reason == "a map of 5 x 1 positions is not square"


def test_behind_a_global_pool_the_error_is_that_of_invariance() -> None:
    conv = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular")
    network = chain(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    result = equivariance(network, numbers(2, 1, 6, 6), amount=(1, 4))
    assert [row.kind for row in result.rows[-2:]] == ["Flatten", "Linear"]
    assert max(errors(result)) < ROUNDING
    inside = equivariance(network, numbers(2, 1, 6, 6), amount=1, border="interior")
    assert inside.rows[-1].reason == "the border reaches every position"


def test_gates_read_the_border() -> None:
    gate = SqueezeExcitation(2, channels=4, squeezed=2)
    result = equivariance(gate, torch.rand(1, 4, 6, 6), amount=1, border="interior", layers=[""])
    assert only(result).reason == "its gates or statistics read the border"
