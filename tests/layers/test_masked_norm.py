import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from convarium.layers import MaskedBatchNorm1d
from convarium.layers.blocks import recomputed

LENGTHS = st.lists(st.integers(1, 8), min_size=2, max_size=5)


def pair(momentum=0.1, dtype=torch.float64):
    """A masked norm, and torch's own with the same weights."""
    torch.manual_seed(0)
    ours = MaskedBatchNorm1d(3, momentum=momentum).to(dtype)
    nn.init.uniform_(ours.weight, 0.5, 2)
    nn.init.uniform_(ours.bias)
    theirs = nn.BatchNorm1d(3, momentum=momentum).to(dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def sequences(lengths, dtype=torch.float64):
    torch.manual_seed(sum(lengths))
    x = 3 * torch.randn(len(lengths), 3, 8, dtype=dtype) + 2
    return x, torch.arange(8) < torch.tensor(lengths)[:, None]


@settings(max_examples=25)
@given(lengths=LENGTHS, momentum=st.sampled_from([0.1, 0.7, None]))
def test_it_is_torchs_norm_of_the_real_steps_alone(lengths, momentum):
    ours, theirs = pair(momentum)
    for _ in range(2):
        x, mask = sequences(lengths)
        alone = torch.cat([row[:, :n] for row, n in zip(x, lengths, strict=True)], 1)[None]
        x.requires_grad_()
        alone = alone.detach().requires_grad_()
        y, expected = ours(x, mask), theirs(alone)
        found = torch.cat([row[:, :n] for row, n in zip(y, lengths, strict=True)], 1)[None]
        torch.testing.assert_close(found, expected)
        found.square().sum().backward()
        expected.square().sum().backward()
        gradient = torch.cat([r[:, :n] for r, n in zip(x.grad, lengths, strict=True)], 1)[None]
        torch.testing.assert_close(gradient, alone.grad, atol=1e-9, rtol=1e-9)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
        for name, buffer in theirs.named_buffers():
            torch.testing.assert_close(ours.get_buffer(name), buffer)


def test_without_a_mask_and_in_evaluation_it_is_torchs_norm():
    ours, theirs = pair()
    x, mask = sequences([8, 3])
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.eval()(x, mask), theirs.eval()(x))
    torch.testing.assert_close(ours.train().settled(x[:, :, 0]), theirs(x)[:, :, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_numbers_are_summed_in_float32(dtype):
    ours, theirs = pair(dtype=torch.float32)
    x, mask = sequences([8, 8], torch.float32)
    y = ours(x.to(dtype), mask)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), theirs(x.to(dtype).float()), atol=0.03, rtol=0.03)


def test_recomputing_moves_the_averages_once():
    ours, _ = pair()
    twin = copy.deepcopy(ours)
    x, mask = sequences([8, 3, 5])
    x.requires_grad_()
    recomputed(ours, x, mask).square().sum().backward()
    twin(x, mask)
    for name, buffer in twin.named_buffers():
        assert torch.equal(ours.get_buffer(name), buffer)


def test_one_real_step_in_all_is_normalised_to_the_shift():
    ours, _ = pair()
    x, mask = sequences([1, 0])
    torch.testing.assert_close(ours(x, mask)[0, :, 0], ours.bias)
    assert ours.running_var.isfinite().all()
