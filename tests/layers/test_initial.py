import math

import torch
from torch import nn

from convarium import layers


def test_he_normal_has_variance_two_over_fan_out():
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, 3)
    layers.he_normal(conv)
    weights = conv.weight.detach().double() / math.sqrt(2 / (128 * 9))
    assert abs(weights.mean().item()) < 5 / math.sqrt(weights.numel())
    assert abs(weights.var().item() - 1) < 5 * math.sqrt(2 / weights.numel())
    assert abs((weights**4).mean().item() - 3) < 0.1  # a normal draw; a uniform one gives 1.8
    assert not conv.bias.any()


def test_uniform_fan_in_fills_its_interval():
    torch.manual_seed(0)
    linear = nn.Linear(100, 400)
    layers.uniform_fan_in(linear)
    for tensor in (linear.weight, linear.bias):
        assert 0.095 < tensor.max().item() <= 0.1
        assert -0.1 <= tensor.min().item() < -0.095


def test_the_first_row_of_a_table_wins_and_other_layers_stay():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    nn.init.constant_(net[1].weight, 7.0)
    layers.initialise(net, [((nn.Linear,), layers.unit), ((nn.Module,), lambda module: None)])
    assert net[0].weight.tolist() == [[1, 1], [1, 1]]
    assert net[1].weight.tolist() == [7, 7]
