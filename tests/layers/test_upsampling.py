import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convarium.errors import OptionError, ShapeError
from convarium.layers import (
    PixelShuffle,
    PixelUnshuffle,
    Upsampling,
    block_mean,
    field_conv,
    interpolate,
    upsampling_steps,
)

FACTORS = [(2,), (2, 4), (3, 1), (2, 1, 3)]


@pytest.mark.parametrize("r", [2, 3, 4])
def test_square_shuffles_are_torchs(r):
    x = torch.randn(2, 3 * r * r, 4, 5)
    assert torch.equal(PixelShuffle((r, r))(x), nn.PixelShuffle(r)(x))
    y = torch.randn(2, 3, 4 * r, 5 * r)
    assert torch.equal(PixelUnshuffle((r, r))(y), nn.PixelUnshuffle(r)(y))


@pytest.mark.parametrize("factor", FACTORS)
def test_unshuffling_is_the_way_back(factor):
    sizes = [n * r for n, r in zip((4, 5, 3), factor, strict=False)]
    x = torch.randn(2, 3, *sizes)
    coarse = PixelUnshuffle(factor)(x)
    assert torch.equal(PixelShuffle(factor)(coarse), x)
    means = coarse.unflatten(1, (3, -1)).mean(2)
    torch.testing.assert_close(means, block_mean(x, factor))


@given(factor=st.lists(st.integers(1, 24), min_size=1, max_size=3))
def test_steps_multiply_to_the_factor(factor):
    product = [1] * len(factor)
    for step in upsampling_steps(factor):
        assert max(step) > 1
        product = [n * r for n, r in zip(product, step, strict=True)]
    assert product == factor


@pytest.mark.parametrize("kind", ["shuffle", "resize"])
@pytest.mark.parametrize("factor", [*FACTORS, (8, 8)])
def test_learned_upsampling_has_the_factors_size(kind, factor):
    layer = Upsampling(len(factor), 4, factor, kind)
    x = torch.randn(2, 4, *[3] * len(factor))
    assert layer(x).shape == (2, 4, *[3 * r for r in factor])


def test_a_resized_constant_has_no_pattern_and_a_shuffled_one_may_have():
    torch.manual_seed(0)
    inside = []
    for kind in ("resize", "shuffle"):
        y = Upsampling(2, 4, (4, 4), kind)(torch.ones(1, 4, 6, 6))
        inside.append(y[:, :, 8:16, 8:16].std((2, 3)).max().item())
    assert inside[0] < 1e-6 < 1e-2 < inside[1]


@pytest.mark.parametrize(("kind", "mode"), [("linear", "bilinear"), ("cubic", "bicubic")])
def test_interpolation_is_torchs(kind, mode):
    x = torch.randn(2, 3, 5, 6)
    expected = nn.functional.interpolate(x, size=(10, 24), mode=mode, align_corners=False)
    torch.testing.assert_close(interpolate(x, (2, 4), kind), expected)
    deep = torch.randn(2, 3, 4, 5, 6)
    turned = interpolate(deep.movedim(2, 4), (3, 2, 2), kind).movedim(4, 2)
    torch.testing.assert_close(interpolate(deep, (2, 3, 2), kind), turned)
    torch.testing.assert_close(
        interpolate(deep[:, :, :1], (1, 2, 4), kind)[:, :, 0],
        interpolate(deep[:, :, 0], (2, 4), kind),
    )
    line = interpolate(x[:, :, 2], (4,), kind)
    one = nn.functional.interpolate(x[:, :, 2:3], size=(1, 24), mode=mode, align_corners=False)
    torch.testing.assert_close(line, one[:, :, 0])


@pytest.mark.parametrize("kind", ["nearest", "linear", "cubic"])
@settings(max_examples=10, deadline=None)
@given(columns=st.integers(1, 7), turn=st.integers(0, 7), factor=st.integers(1, 4))
def test_on_a_circle_no_column_is_the_first(kind, columns, turn, factor):
    x = torch.randn(1, 2, 3, columns)
    y = interpolate(x.roll(turn, -1), (2, factor), kind, wrap=True)
    torch.testing.assert_close(
        y, interpolate(x, (2, factor), kind, wrap=True).roll(turn * factor, -1)
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_convolutions_on_a_circle_commute_with_turns(rank, size):
    torch.manual_seed(0)
    layer = field_conv(rank, 2, 3, size, wrap=True).double()
    x = torch.randn(2, 2, *[4] * (rank - 1), 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x.roll(3, -1)), layer(x).roll(3, -1))
    plain = field_conv(rank, 2, 3, size).double()
    plain.load_state_dict(dict(zip(plain.state_dict(), layer.state_dict().values(), strict=True)))
    inner = slice(size, 8 - size) if size < 4 else slice(4, 4)
    torch.testing.assert_close(layer(x)[..., inner], plain(x)[..., inner])


def test_what_cannot_be_is_refused():
    with pytest.raises(ShapeError, match="groups of 6"):
        PixelShuffle((2, 3))(torch.zeros(1, 4, 2, 2))
    with pytest.raises(OptionError, match="Did you mean 'shuffle'"):
        Upsampling(2, 4, (2, 2), "shufle")
    with pytest.raises(OptionError, match="must be one of nearest, linear, cubic"):
        interpolate(torch.zeros(1, 1, 2), (2,), "bilinear")
