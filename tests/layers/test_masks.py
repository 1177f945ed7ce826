import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from convarium.layers import (
    EveryStep,
    LastStep,
    MaskedBlocks,
    MaskedMaxPool1d,
    MeanOverTime,
    SequenceConv,
    coarser,
    hidden,
)

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def padded(lengths, channels=2):
    torch.manual_seed(sum(lengths))
    mask = torch.arange(10) < torch.tensor(lengths)[:, None]
    x = torch.randn(len(lengths), channels, 10, dtype=torch.float64)
    return torch.where(mask[:, None], x, math.nan), mask


def test_the_padding_is_hidden_whatever_stands_there():
    x, mask = padded([3, 9])
    y = hidden(x, mask)
    assert y.isfinite().all()
    assert not y[0, :, 3:].any()
    assert torch.equal(y[1, :, :9], x[1, :, :9])
    assert hidden(x, None) is x


@given(lengths=LENGTHS, stride=st.integers(1, 4))
def test_the_coarser_mask_has_the_windows_that_a_pool_would_have(lengths, stride):
    x, mask = padded(lengths)
    found = coarser(mask, stride)
    assert found.shape[1] == nn.MaxPool1d(stride)(x).shape[2]
    assert found.sum(1).tolist() == [length // stride for length in lengths]


@given(lengths=LENGTHS)
def test_pools_over_time_see_the_real_steps(lengths):
    x, mask = padded(lengths)
    alone = [row[:, :length] for row, length in zip(x, lengths, strict=True)]
    torch.testing.assert_close(MeanOverTime()(x, mask), torch.stack([r.mean(1) for r in alone]))
    torch.testing.assert_close(LastStep()(x, mask), torch.stack([r[:, -1] for r in alone]))
    assert torch.equal(EveryStep()(x, mask), hidden(x, mask))
    whole = x[:1, :, : lengths[0]]
    torch.testing.assert_close(MeanOverTime()(whole), whole.mean(2))
    assert torch.equal(LastStep()(whole), whole[..., -1])


@given(lengths=LENGTHS, pool=st.sampled_from([(2, 2, 0), (3, 1, 1), (3, 3, 0)]))
def test_a_masked_max_pool_gives_what_each_sequence_gives_alone(lengths, pool):
    size, stride, padding = pool
    x, mask = padded(lengths)
    y = MaskedMaxPool1d(size, stride=stride, padding=padding)(x, mask)
    for row, length in enumerate(lengths):
        n = length // stride
        if n:
            alone = nn.MaxPool1d(size, stride, padding)(x[row : row + 1, :, :length])
            torch.testing.assert_close(y[row : row + 1, :, :n], alone)
        assert not y[row, :, n:].any()


def test_no_gradient_comes_from_the_padding():
    x, mask = padded([3, 9])
    x.requires_grad_()
    pool = MaskedMaxPool1d(3, stride=1, padding=1)
    (MeanOverTime()(pool(x, mask), mask) + LastStep()(x, mask)).sum().backward()
    assert x.grad.isfinite().all()
    assert not x.grad[0, :, 3:].any()


@given(lengths=LENGTHS, size=st.integers(1, 6), pool=st.integers(1, 2))
def test_a_conv_block_gives_what_torchs_layers_give_for_each_alone(lengths, size, pool):
    block = SequenceConv(2, 3, size, bias=True, pool=pool).double().eval()
    nn.init.uniform_(block.norm.running_mean)
    x, mask = padded(lengths)
    y = MaskedBlocks(block)(hidden(x, mask), mask)
    weight, bias = (
        (block.conv[1] if size % 2 == 0 else block.conv).get_parameter(name)
        for name in ("weight", "bias")
    )
    sides = ((size - 1) // 2, size - 1 - (size - 1) // 2)
    for row, length in enumerate(lengths):
        alone = nn.functional.pad(x[row : row + 1, :, :length], sides)
        alone = nn.functional.conv1d(alone, weight, bias)
        mean = block.norm.running_mean[:, None]
        alone = ((alone - mean) / (1 + 1e-5) ** 0.5).relu()
        n = length // pool
        if n:
            alone = nn.functional.max_pool1d(alone, pool) if pool > 1 else alone
            torch.testing.assert_close(y[row : row + 1, :, :n], alone)
        assert not y[row, :, n:].any()
