import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convarium.errors import OptionError, ShapeError
from convarium.layers import Constraint, block_mean, conservation_penalty, in_blocks

KINDS = ["additive", "multiplicative", "softmax"]
FACTORS = [(2,), (3, 2), (1, 4), (2, 1, 3)]


def fields(factor, seed, scale=1.0, dtype=torch.float32):
    """A fine field, and a coarse one at or above 0."""
    generator = torch.Generator().manual_seed(seed)
    coarse = [2, 3, 4][: len(factor)]
    fine = [n * r for n, r in zip(coarse, factor, strict=True)]
    y = scale * torch.randn(2, 3, *fine, generator=generator, dtype=dtype)
    x = scale * torch.rand(2, 3, *coarse, generator=generator, dtype=dtype)
    return y, x


def areas(y, generator=None):
    """Weights that depend on the first axis alone, as areas on a sphere do."""
    rows = torch.linspace(-80, 80, y.shape[2]).deg2rad().cos()
    return rows.view(-1, *[1] * (y.ndim - 3))


def by_loops(y, factor):
    """The block means, cell by cell."""
    found = torch.zeros(*y.shape[:2], *[n // r for n, r in zip(y.shape[2:], factor, strict=True)])
    for place in torch.cartesian_prod(*[torch.arange(n) for n in found.shape[2:]]).view(
        -1, len(factor)
    ):
        cut = [slice(i * r, (i + 1) * r) for i, r in zip(place.tolist(), factor, strict=True)]
        found[(..., *place.tolist())] = y[(..., *cut)].flatten(2).mean(2)
    return found


@pytest.mark.parametrize("factor", FACTORS)
def test_block_means_are_the_means_of_the_blocks(factor):
    y, x = fields(factor, 0)
    torch.testing.assert_close(block_mean(y, factor), by_loops(y, factor))
    w = areas(y).expand(y.shape)
    expected = by_loops(y * w, factor) / by_loops(w, factor)
    torch.testing.assert_close(block_mean(y, factor, areas(y)), expected)
    assert block_mean(y, factor).shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    factor=st.sampled_from(FACTORS),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 300.0, 1e9]),
)
def test_block_means_become_the_coarse_field(kind, weighted, factor, seed, scale):
    y, x = fields(factor, seed, scale)
    weights = areas(y) if weighted else None
    z = Constraint(kind, factor)(y, x, weights)
    of_blocks = in_blocks(y.abs(), factor).amax(list(range(3, 2 + 2 * len(factor), 2)))
    size = x + of_blocks if kind == "additive" else x
    assert ((block_mean(z, factor, weights) - x).abs() <= 1e-5 * size).all()
    assert kind == "additive" or (z >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_constraint_is_its_formula(kind):
    y, x = fields((2, 2), 1, dtype=torch.float64)
    z = Constraint(kind, (2, 2))(y, x)[0, 1, :2, :2].flatten()
    block, mean = y[0, 1, :2, :2].flatten(), x[0, 1, 0, 0]
    if kind == "additive":
        expected = block + mean - block.sum() / 4
    else:
        p = block.clamp(min=0) if kind == "multiplicative" else block.exp()
        expected = mean * p / (p.sum() / 4)
    torch.testing.assert_close(z, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind):
    y, x = fields((2, 2), 2, dtype=torch.float64)
    y, x = y[:1, :1].clone().requires_grad_(), x[:1, :1].clone().requires_grad_()
    layer, w = Constraint(kind, (2, 2)), areas(y).double()
    assert torch.autograd.gradcheck(lambda a, b: layer(a, b, w), (y, x))


def test_numbers_that_overflow_or_vanish_are_safe():
    y = torch.tensor([[[1e4, -1e4, 0.0, 3.0]]], requires_grad=True)
    z = Constraint("softmax", (4,))(y, torch.tensor([[[2.0]]]))
    torch.testing.assert_close(z.flatten(), torch.tensor([8.0, 0, 0, 0]))
    z.sum().backward()
    assert y.grad.isfinite().all()
    y = torch.tensor([[[-1.0, -2.0, 1e-42, -3.0, 1e-30, 3e-30]]], requires_grad=True)
    z = Constraint("multiplicative", (2,))(y, torch.tensor([[[5.0, 7.0, 2.0]]]))
    expected = torch.tensor([5.0, 5.0, 7.0, 7.0, 1.0, 3.0])
    torch.testing.assert_close(z.flatten(), expected)
    z.sum().backward()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_missing_cells_are_left_out(kind):
    y, x = fields((2, 2), 3)
    mask = torch.rand(2, 2, 3) > 0.4
    holes = torch.where(mask.unsqueeze(1), x, math.nan)
    y.requires_grad_()
    z = Constraint(kind, (2, 2))(y, holes, mask=mask)
    known = mask.unsqueeze(1).expand(x.shape)
    torch.testing.assert_close(block_mean(z, (2, 2))[known], x[known])
    fine = known.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(z[~fine], y[~fine])
    z.sum().backward()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_fine_cells_of_weight_zero_do_not_count(kind):
    y, x = fields((2, 2), 4)
    weights = torch.ones_like(y)
    weights[:, :, ::2, ::2] = 0
    y[:, :, ::2, ::2] = 1e4
    z = Constraint(kind, (2, 2))(y, x, weights)
    counted = z.clone()
    counted[:, :, ::2, ::2] = 0
    torch.testing.assert_close(block_mean(counted, (2, 2)) * 4 / 3, x)
    weights[:] = 0
    y = fields((2, 2), 4)[0]
    torch.testing.assert_close(block_mean(Constraint(kind, (2, 2))(y, x, weights), (2, 2)), x)


def test_the_penalty_is_the_mean_square_of_what_is_not_conserved():
    y, x = fields((2, 2), 5)
    expected = (by_loops(y, (2, 2)) - x).square()
    torch.testing.assert_close(conservation_penalty(y, x, (2, 2)), expected.mean())
    mask = torch.rand(2, 2, 3) > 0.4
    holes = torch.where(mask.unsqueeze(1), x, math.nan)
    found = conservation_penalty(y, holes, (2, 2), mask=mask)
    torch.testing.assert_close(found, expected[mask.unsqueeze(1).expand(x.shape)].mean())
    assert conservation_penalty(Constraint("additive", (2, 2))(y, x), x, (2, 2)) < 1e-12


def test_what_does_not_fit_is_refused():
    y, x = fields((2, 2), 6)
    with pytest.raises(OptionError, match="Did you mean 'additive'"):
        Constraint("aditive", (2, 2))
    with pytest.raises(ShapeError, match="do not divide"):
        block_mean(y, (3, 2))
    with pytest.raises(ShapeError, match="does not fit a coarse one"):
        Constraint("additive", (2, 2))(y, x[:, :, :1])
    assert Constraint("none", (2, 2))(y, x) is y
