"""The laws of cost against counted layers, products of powers, and the published networks."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium.errors import OptionError
from convarium.measure.scaling import compound_scaling, depthwise_cost_ratio

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@given(
    rank=st.integers(1, 3), c=st.integers(1, 12), filters=st.integers(1, 12), k=st.integers(1, 5)
)
def test_the_ratio_is_that_of_counted_layers(rank: int, c: int, filters: int, k: int) -> None:
    def weights(*layers: nn.Module) -> int:
        return sum(layer.weight.numel() for layer in layers)

    conv = CONV[rank]
    separable = weights(conv(c, c, k, groups=c), conv(c, filters, 1))
    standard = weights(conv(c, filters, k))
    found = depthwise_cost_ratio(filters, k, spatial_dims=rank)
    assert found == pytest.approx(separable / standard, rel=1e-12)


def test_at_256_channels_it_saves_almost_nine_in_ten() -> None:
    assert depthwise_cost_ratio(256, 3) == pytest.approx(0.115, abs=5e-4)
    assert 1 / depthwise_cost_ratio(256, 3) == pytest.approx(8.7, abs=0.05)


def test_absurd_sizes_cost_no_precision_and_no_error() -> None:
    assert depthwise_cost_ratio(10**400, 10**400) == 0.0
    assert depthwise_cost_ratio(1, 10**400) == 1.0


@pytest.mark.parametrize("name", ["out_channels", "kernel_size", "spatial_dims"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3"])
def test_the_ratio_refuses_what_is_no_count(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"{name} \(={value!r}\) must be"):
        depthwise_cost_ratio(**{"out_channels": 8, "kernel_size": 3, name: value})


def test_the_ratio_refuses_four_axes() -> None:
    with pytest.raises(OptionError, match=r"spatial_dims \(=4\) must be 1"):
        depthwise_cost_ratio(8, 3, spatial_dims=4)


@given(
    phi=st.floats(-20, 20), alpha=st.floats(0.5, 2), beta=st.floats(0.5, 2), gamma=st.floats(0.5, 2)
)
def test_flops_are_depth_times_the_squares_of_the_others(
    phi: float, alpha: float, beta: float, gamma: float
) -> None:
    found = compound_scaling(phi, alpha, beta, gamma)
    assert math.log(found.depth) == pytest.approx(phi * math.log(alpha), abs=1e-9)
    assert found.flops == pytest.approx((alpha * beta**2 * gamma**2) ** phi, rel=1e-9)
    assert found.flops == pytest.approx(
        found.depth * found.width**2 * found.resolution**2, rel=1e-12
    )


def test_b0_is_no_scaling_and_a_step_nearly_doubles_the_cost() -> None:
    none = compound_scaling(0)
    assert (none.depth, none.width, none.resolution, none.flops) == (1, 1, 1, 1)
    assert compound_scaling(1).flops == pytest.approx(1.2 * 1.1**2 * 1.15**2)
    assert 1.9 < compound_scaling(1).flops < 2


@pytest.mark.parametrize(
    ("factor", "published", "phi"),
    [("width", 2.0, 7.3), ("depth", 3.1, 6.2), ("resolution", 600 / 224, 7.0)],
)
def test_b7_is_no_exact_power(factor: str, published: float, phi: float) -> None:
    """Each of its three published factors belongs to another phi."""
    assert getattr(compound_scaling(phi), factor) == pytest.approx(published, rel=0.01)


def test_the_result_is_json() -> None:
    row = json.loads(json.dumps(compound_scaling(2).to_json()))
    assert row["phi"] == 2
    assert row["depth"] == pytest.approx(1.44)


@pytest.mark.parametrize("name", ["phi", "alpha", "beta", "gamma"])
@pytest.mark.parametrize("value", [math.nan, math.inf, True, "1.2", None, 10**400])
def test_what_is_no_finite_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=rf"{name} \(=.*must be a finite number"):
        compound_scaling(**{"phi": 1, name: value})


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize("value", [0, -1.2])
def test_a_factor_that_is_not_above_zero_is_refused(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=rf"{name} \(={float(value)!r}\) must be above 0"):
        compound_scaling(1, **{name: value})


@pytest.mark.parametrize("phi", [1e6, -1e6, 2000, -2000])
def test_sizes_beyond_a_float_are_refused(phi: float) -> None:
    with pytest.raises(OptionError, match=r"phi \(=.*beyond what a float can hold"):
        compound_scaling(phi)
