import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from convarium.errors import OptionError
from convarium.layers import (
    CausalBlock,
    CausalConv1d,
    initialise,
    materialise_weights,
    uniform_fan_in,
)
from convarium.layers.causal import make_causal_conv


def by_formula(conv, x):
    """y_t = b + sum over taps of w_j x_(t - (K - 1 - j) d), term by term."""
    taps, d = conv.kernel_size[0], conv.dilation[0]
    steps = []
    for t in range(x.shape[2]):
        total = conv.bias.clone().expand(len(x), -1).clone()
        for j in range(taps):
            source = t - (taps - 1 - j) * d
            if source >= 0:
                total += x[:, :, source] @ conv.weight[:, :, j].t()
        steps.append(total)
    return torch.stack(steps, 2)


@settings(max_examples=15)
@given(taps=st.integers(1, 4), dilation=st.integers(1, 5), length=st.integers(1, 12))
def test_a_causal_convolution_is_the_sum_over_its_taps(taps, dilation, length):
    torch.manual_seed(0)
    conv = CausalConv1d(2, 3, taps, dilation=dilation).double()
    x = torch.randn(2, 2, length, dtype=torch.float64)
    torch.testing.assert_close(conv(x), by_formula(conv, x))


@given(
    taps=st.integers(1, 4),
    dilation=st.integers(1, 5),
    chunks=st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
def test_steps_and_chunks_give_what_the_whole_gives(taps, dilation, chunks):
    torch.manual_seed(0)
    conv = CausalConv1d(2, 3, taps, dilation=dilation).double()
    x = torch.randn(2, 2, sum(chunks), dtype=torch.float64)
    expected = conv(x)
    memory = torch.zeros(2, conv.reach * 2, dtype=torch.float64)
    found = []
    for chunk in x.split(chunks, 2):
        y, memory = conv.stream(chunk, memory)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, 2), expected)
    state = torch.zeros(2, sum(conv.memory), dtype=torch.float64)
    for t in range(x.shape[2]):
        pieces = state.split(conv.memory, 1) if conv.memory else []
        y = conv.taps().step(x[:, :, t], pieces)
        state = torch.cat([state, x[:, :, t]], 1)[:, 2:] if conv.reach else state
        torch.testing.assert_close(y, expected[:, :, t])
    torch.testing.assert_close(state, memory)


def test_weight_norm_is_torchs_own():
    torch.manual_seed(0)
    conv = make_causal_conv(4, 6, 3, dilation=2, norm="weight")
    reference = parametrizations.weight_norm(nn.Conv1d(4, 6, 3, dilation=2, padding=4), dim=0)
    reference.load_state_dict(conv.state_dict())
    with torch.no_grad():
        for module in (conv, reference):
            module.parametrizations.weight.original0.mul_(1.7)
    x = torch.randn(2, 4, 9)
    torch.testing.assert_close(conv(x), reference(x)[:, :, :9])
    g, v = conv.parametrizations.weight.original0, conv.parametrizations.weight.original1
    torch.testing.assert_close(conv.weight, g * v / v.flatten(1).norm(dim=1)[:, None, None])


def test_materialised_weights_compute_the_same_without_the_norm():
    torch.manual_seed(0)
    block = CausalBlock(3, 5, 3, dilation=2, dropout=0.1).eval()
    x = torch.randn(2, 3, 11)
    expected = block(x)
    materialise_weights(block)
    assert not [name for name, _ in block.named_parameters() if "parametrizations" in name]
    assert type(block.conv1) is CausalConv1d
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-6)


def test_the_initial_rule_draws_the_weight_of_a_weight_normed_layer():
    torch.manual_seed(0)
    conv = make_causal_conv(4, 6, 3, dilation=1, norm="weight")
    with torch.no_grad():
        conv.parametrizations.weight.original1.fill_(9.0)
    initialise(conv, [((nn.Conv1d,), uniform_fan_in)])
    bound = 1 / 12**0.5
    assert 0.8 * bound < conv.weight.abs().max() <= bound + 1e-6
    torch.testing.assert_close(conv.weight, conv.parametrizations.weight.original1)


def test_dropout_drops_whole_channels():
    torch.manual_seed(0)
    block = CausalBlock(4, 4, 1, dilation=1, norm="none", dropout=0.5)
    drawn = block.drop1(torch.ones(50, 4, 7))
    assert set(drawn.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(drawn.amax(2), drawn.amin(2))


def test_an_unknown_norm_is_named():
    with pytest.raises(OptionError, match=r"norm \(='layer'\) must be one of weight, batch, none"):
        CausalBlock(1, 1, 3, dilation=1, norm="layer")
