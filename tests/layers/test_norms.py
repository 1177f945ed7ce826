import pytest
import torch
from torch import nn

from convarium import layers
from convarium.errors import OptionError

AXES = {"batch": (0, 2, 3), "layer": (1,), "instance": (2, 3)}


@pytest.mark.parametrize("kind", AXES)
def test_each_norm_averages_over_its_own_axes(kind):
    x = torch.randn(5, 8, 4, 6, dtype=torch.float64) * 3 + 1
    norm = layers.make_norm(kind, 8, 2).double()
    mean = x.mean(AXES[kind], keepdim=True)
    variance = x.var(AXES[kind], unbiased=False, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())


def test_group_norm_takes_the_largest_group_count_that_divides():
    counts = [layers.make_norm("group", c, 1).num_groups for c in (64, 48, 6, 7)]
    assert counts == [32, 16, 2, 1]


def test_saved_networks_keep_their_groups_and_wide_ones_have_two_channels_or_more():
    def counts(kind):
        return [layers.make_norm(kind, c, 2).num_groups for c in (1, 2, 4, 8, 16, 32, 48)]

    assert counts("group") == [1, 2, 4, 8, 16, 32, 16]
    assert counts("wide_group") == [1, 1, 2, 4, 8, 16, 16]


def test_layer_norm_works_at_every_rank():
    for rank in (1, 2, 3):
        x = torch.randn(2, 5, *[3] * rank)
        y = layers.make_norm("layer", 5, rank)(x)
        assert y.shape == x.shape
        torch.testing.assert_close(y.mean(1), torch.zeros_like(y.mean(1)), atol=1e-6, rtol=0)


def test_batch_norm_has_momentum_a_tenth_and_starts_as_identity():
    norm = layers.make_norm("batch", 3, 2)
    assert (norm.momentum, norm.eps) == (0.1, 1e-5)
    assert norm.weight.tolist() == [1, 1, 1]
    assert norm.bias.tolist() == [0, 0, 0]


def test_an_unknown_norm_pool_or_activation_names_close_matches():
    with pytest.raises(OptionError, match=r"norm .*'batch_norm'.* must be one of batch, group"):
        layers.make_norm("batch_norm", 3, 2)
    with pytest.raises(OptionError, match=r"Did you mean 'max'"):
        layers.make_pool("maxx", 2)
    with pytest.raises(OptionError, match=r"Did you mean 'gelu'"):
        layers.make_activation("gelus")


def test_no_activation_works_in_place():
    for kind in layers.activations._TABLE:
        x = torch.randn(100)
        before = x.clone()
        layers.make_activation(kind)(x)
        assert torch.equal(x, before)


def test_the_global_average_is_the_mean_over_all_positions():
    x = torch.randn(2, 3, 4, 5, 6)
    torch.testing.assert_close(layers.global_average(3)(x), x.mean((2, 3, 4)))
    assert isinstance(layers.global_average(1, dropout=0.3)[-1], nn.Dropout)
