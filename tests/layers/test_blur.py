"""Blur pooling against numpy's binomial filter, constant maps, frequencies and shifts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium import layers
from convarium.errors import OptionError


def binomial(size):
    """Row size - 1 of Pascal's triangle, as the coefficients of ((1 + z) / 2)^(size - 1)."""
    return np.poly1d([0.5, 0.5]) ** (size - 1)


def blurred(x, size, stride):
    """numpy: along every axis in turn, reflect, convolve, take every stride-th."""
    taps = binomial(size).coeffs
    for axis in range(2, x.ndim):
        if x.shape[axis] == 1:
            continue
        sides = [(0, 0)] * x.ndim
        sides[axis] = ((size - 1) // 2, size // 2)
        padded = np.pad(x, sides, mode="reflect")
        x = np.apply_along_axis(np.convolve, axis, padded, taps, mode="valid")
        x = np.take(x, range(0, x.shape[axis], stride), axis)
    return x


@given(
    rank=st.integers(1, 3),
    size=st.integers(2, 5),
    stride=st.integers(1, 3),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_it_is_the_binomial_filter_along_every_axis(rank, size, stride, seed, data):
    shape = data.draw(st.lists(st.integers(1, 7), min_size=rank, max_size=rank))
    shape = [n if n == 1 else max(n, size // 2 + 1) for n in shape]
    x = np.random.default_rng(seed).normal(size=(2, 3, *shape))
    y = layers.BlurPool(rank, size, stride)(torch.from_numpy(x))
    assert tuple(y.shape) == (2, 3, *(math.ceil(n / stride) for n in shape))
    np.testing.assert_allclose(y.numpy(), blurred(x, size, stride), atol=1e-12)


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_constant_map_stays_what_it_is(rank, size):
    x = torch.full((2, 4, *[7] * rank), 3.5)
    assert (layers.BlurPool(rank, size)(x) == 3.5).all()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_highest_frequency_is_gone(rank):
    signs = torch.tensor([1.0, -1.0]).repeat(4)
    x = signs if rank == 1 else torch.einsum("i,j->ij", signs, signs)
    x = x if rank < 3 else torch.einsum("ij,k->ijk", x, signs)
    y = layers.BlurPool(rank, stride=1)(x[None, None])
    torch.testing.assert_close(y, torch.zeros_like(y))


def test_a_shift_moves_the_output_less_than_it_does_without_the_blur():
    torch.manual_seed(0)
    x = torch.randn(1, 8, 64, 64)
    shifted = x.roll(1, 3)
    blur = layers.BlurPool(2)
    inner = (..., slice(2, -2), slice(2, -2))

    def change(pooled):
        a, b = pooled(x)[inner], pooled(shifted)[inner]
        return ((a - b).var() / a.var()).item()

    # White noise: neighbours are independent without the filter (2), and with taps (1, 2, 1) / 4
    # correlated by (1*2 + 2*1) / (1 + 4 + 1) = 2/3, so 2 (1 - 2/3).
    assert change(lambda z: z[..., ::2, ::2]) == pytest.approx(2, rel=0.1)
    assert change(blur) == pytest.approx(2 / 3, rel=0.1)


def test_a_map_with_one_row_is_blurred_as_a_line():
    x = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    line = layers.BlurPool(1)(x)
    torch.testing.assert_close(layers.BlurPool(2)(x[:, :, None])[:, :, 0], line)
    torch.testing.assert_close(layers.BlurPool(3)(x[:, :, None, None])[:, :, 0, 0], line)


def test_it_has_no_weights_and_leaves_no_trace_in_the_state():
    blur = layers.BlurPool(2)
    assert list(blur.parameters()) == []
    assert blur.state_dict() == {}


def test_it_follows_the_type_and_layout_of_the_map():
    x = torch.randn(2, 4, 6, 6).to(torch.bfloat16, memory_format=torch.channels_last)
    y = layers.BlurPool(2)(x)
    assert y.dtype is torch.bfloat16
    double = x.double()
    contiguous = double.contiguous()
    torch.testing.assert_close(layers.BlurPool(2)(double), layers.BlurPool(2)(contiguous))


@pytest.mark.parametrize(("size", "stride"), [(1, 2), (0, 2), (3, 0)])
def test_fewer_than_two_taps_or_no_stride_is_an_error(size, stride):
    with pytest.raises(OptionError, match=rf"size \(={size}\) .* stride \(={stride}\)"):
        layers.BlurPool(2, size, stride)
