import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium import layers
from convarium.errors import OptionError


@given(
    rank=st.integers(1, 3),
    kernel=st.integers(1, 6),
    dilation=st.integers(1, 3),
    stride=st.integers(1, 3),
    size=st.integers(1, 9),
)
def test_any_kernel_keeps_the_size_even_ones_too(rank, kernel, dilation, stride, size):
    conv = layers.make_conv(rank, 2, 4, kernel, stride=stride, dilation=dilation, groups=2)
    y = conv(torch.zeros(1, 2, *[size] * rank))
    assert tuple(y.shape) == (1, 4, *[-(-size // stride)] * rank)


def test_an_even_kernel_pads_left_floor_and_right_ceil():
    conv = layers.make_conv(1, 1, 1, 4)
    nn.init.constant_(conv[1].weight, 1.0)
    x = torch.tensor([[[1.0, 10.0, 100.0, 1000.0]]])
    assert conv(x).tolist() == [[[111.0, 1111.0, 1110.0, 1100.0]]]


def test_a_convolution_before_a_norm_has_no_bias():
    assert layers.ConvBlock(2, 3, 4).conv.bias is None
    assert layers.ConvBlock(2, 3, 4, norm="none").conv.bias is not None


@pytest.mark.parametrize("norm", ["batch", "group", "wide_group", "layer", "instance", "none"])
@pytest.mark.parametrize("pool", ["max", "avg", "none"])
def test_the_block_is_conv_norm_activation_dropout_pool(norm, pool):
    torch.manual_seed(0)
    block = layers.ConvBlock(2, 3, 8, norm=norm, activation="tanh", pool=pool).eval()
    x = torch.randn(2, 3, 6, 8)
    y = torch.tanh(block.norm(nn.functional.conv2d(x, block.conv.weight, block.conv.bias, 1, 1)))
    if pool != "none":
        y = getattr(nn.functional, f"{pool}_pool2d")(y, 2)
    torch.testing.assert_close(block(x), y)


def test_dropout_acts_in_training_only():
    block = layers.ConvBlock(1, 2, 64, dropout=0.5, activation="sigmoid")
    x = torch.randn(4, 2, 16)
    share = (block(x) == 0).float().mean().item()
    assert 0.45 < share < 0.55
    assert (block.eval()(x) != 0).all()


def test_an_unknown_padding_is_an_error():
    with pytest.raises(OptionError, match=r"padding \(='valid'\) must be one of same, tf_same"):
        layers.make_conv(2, 3, 8, 3, padding="valid")
