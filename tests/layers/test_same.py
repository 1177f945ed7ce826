"""TF-SAME padding against its formula, sums by hand and explicit padding."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from convarium import layers

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def window(n, k, s, d):
    """FACTS: total = max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0), left = total // 2."""
    total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return total // 2, total


def by_hand(x, taps, s, d):
    """The strided, dilated sum over one axis, position by position; outside is 0."""
    n, k = len(x), len(taps)
    left, _ = window(n, k, s, d)
    starts = [i * s - left for i in range(math.ceil(n / s))]
    return [
        sum(taps[t] * x[start + d * t] for t in range(k) if 0 <= start + d * t < n)
        for start in starts
    ]


axis = st.tuples(
    st.integers(1, 17), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3)
)  # positions, taps, stride, dilation


@given(axes=st.lists(axis, min_size=1, max_size=3))
def test_the_padding_is_that_of_the_formula_last_axis_first(axes):
    n, k, s, d = zip(*axes, strict=True)
    found = layers.same_padding(n, k, s, d)
    pairs = [found[i : i + 2] for i in range(0, len(found), 2)][::-1]
    for (left, right), one in zip(pairs, axes, strict=True):
        assert (left, left + right) == window(*one)
        assert left <= right <= left + 1


@given(one=axis)
def test_the_padding_is_the_least_that_gives_ceil_n_over_s_positions(one):
    n, k, s, d = one
    total = sum(layers.same_padding([n], [k], [s], [d]))

    def positions(padded):
        return (padded - d * (k - 1) - 1) // s + 1

    assert positions(n + total) == math.ceil(n / s) or total == 0
    assert positions(n + total) >= math.ceil(n / s)
    assert total == 0 or positions(n + total - 1) < math.ceil(n / s)


@given(one=axis, seed=st.integers(0, 99))
def test_in_1d_it_is_the_sum_by_hand(one, seed):
    n, k, s, d = one
    conv = layers.make_conv(1, 1, 1, k, stride=s, dilation=d, padding="tf_same").double()
    x = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = by_hand(x.tolist(), conv.weight.flatten().tolist(), s, d)
    assert conv(x[None, None]).flatten().tolist() == pytest.approx(expected)


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    k=st.integers(1, 5),
    s=st.integers(1, 3),
    d=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
)
def test_it_is_a_convolution_of_the_padded_map_at_any_rank(shape, k, s, d, groups):
    rank = len(shape)
    options = {"stride": s, "dilation": d, "groups": groups}
    conv = layers.make_conv(rank, 2, 4, k, bias=True, padding="tf_same", **options)
    x = torch.randn(2, 2, *shape)
    sides = [side for n in reversed(shape) for side in _sides(n, k, s, d)]
    padded = F.pad(x, sides)
    y = conv(x)
    torch.testing.assert_close(y, CONVOLVE[rank](padded, conv.weight, conv.bias, **options))
    assert tuple(y.shape) == (2, 4, *(math.ceil(n / s) for n in shape))


def _sides(n, k, s, d):
    left, total = window(n, k, s, d)
    return left, total - left


@given(k=st.sampled_from([1, 3, 5, 7]), d=st.integers(1, 3), n=st.integers(1, 12))
def test_without_a_stride_and_with_odd_kernels_both_paddings_agree(k, d, n):
    same = layers.make_conv(1, 2, 3, k, dilation=d)
    tf = layers.make_conv(1, 2, 3, k, dilation=d, padding="tf_same")
    tf.load_state_dict(same.state_dict())
    x = torch.randn(1, 2, n)
    torch.testing.assert_close(tf(x), same(x))


def test_with_a_stride_an_even_size_starts_one_position_later():
    same, tf = (layers.make_conv(1, 1, 1, 3, stride=2, padding=p) for p in ("same", "tf_same"))
    for conv in (same, tf):
        nn.init.constant_(conv.weight, 1.0)
    x = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    assert same(x).tolist() == [[[11.0, 1110.0]]]
    assert tf(x).tolist() == [[[111.0, 1100.0]]]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_it_is_one_of_torchs_own_layers_with_its_names_in_the_state(rank):
    conv = layers.make_conv(rank, 2, 3, 3, padding="tf_same")
    assert isinstance(conv, layers.torch_layers(rank).conv)
    assert list(conv.state_dict()) == ["weight"]
