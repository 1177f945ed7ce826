"""Stochastic depth: expectation, variance, whole samples, evaluation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium import layers
from convarium.errors import OptionError

SAMPLES = 20_000
PROBABILITIES = [0.1, 0.5, 0.8]


@pytest.mark.parametrize("p", PROBABILITIES)
def test_the_mean_is_the_input_and_the_variance_is_p_over_1_minus_p(p):
    torch.manual_seed(0)
    y = layers.DropPath(p)(torch.ones(SAMPLES, 1, dtype=torch.float64))
    # y is 1/(1-p) with probability 1-p, else 0, so its moments about 1 follow.
    variance = p / (1 - p)
    assert abs(y.mean().item() - 1) < 5 * math.sqrt(variance / SAMPLES)
    fourth = (1 - p) * (1 / (1 - p) - 1) ** 4 + p
    found = (y - 1).square().mean().item()
    assert abs(found - variance) <= 5 * math.sqrt((fourth - variance**2) / SAMPLES) + 1e-12


@pytest.mark.parametrize("p", PROBABILITIES)
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_a_sample_is_dropped_whole_or_kept_whole(p, rank):
    torch.manual_seed(0)
    x = torch.randn(64, 3, *[2] * rank)
    y = layers.DropPath(p)(x).flatten(1)
    kept = y.ne(0).any(1)
    assert 0 < kept.sum() < 64
    torch.testing.assert_close(y[kept], x.flatten(1)[kept] / (1 - p))
    assert not y[~kept].any()


def test_the_gradient_is_the_mask_of_the_forward_pass():
    torch.manual_seed(0)
    x = torch.ones(32, 2, 3, requires_grad=True)
    y = layers.DropPath(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize(("p", "training"), [(0.7, False), (0.0, True), (0.0, False)])
def test_in_evaluation_and_at_zero_the_input_passes_and_no_number_is_drawn(p, training):
    before = torch.random.get_rng_state()
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    assert layers.DropPath(p).train(training)(x) is x
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_draw_follows_torchs_seed():
    drop, x = layers.DropPath(0.5), torch.ones(64, 1)
    torch.manual_seed(3)
    first = drop(x)
    assert not torch.equal(drop(x), first)
    torch.manual_seed(3)
    assert torch.equal(drop(x), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_type_of_the_map_stays(dtype):
    assert layers.DropPath(0.2)(torch.ones(4, 2, dtype=dtype)).dtype is dtype


def test_a_residual_branch_of_a_dropped_sample_takes_no_gradient():
    torch.manual_seed(0)
    branch, drop = nn.Linear(3, 3), layers.DropPath(0.5)
    x = torch.randn(1, 3)
    norms = set()
    for _ in range(20):
        branch.zero_grad()
        (x + drop(branch(x))).sum().backward()
        norms.add(round(branch.bias.grad.norm().item(), 4))
    assert norms == {0.0, round(2 * math.sqrt(3), 4)}


@given(last=st.floats(0, 0.99), blocks=st.integers(1, 60))
def test_rates_rise_in_equal_steps_from_zero_to_the_last(last, blocks):
    rates = layers.drop_path_rates(last, blocks)
    assert len(rates) == blocks
    assert rates[0] == 0.0
    if blocks > 1:
        assert rates == pytest.approx(torch.linspace(0, last, blocks, dtype=torch.float64).tolist())


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan])
def test_a_probability_out_of_range_is_an_error(p):
    with pytest.raises(OptionError, match=r"probability \(=.*\) must be at least 0 and below 1"):
        layers.DropPath(p)
