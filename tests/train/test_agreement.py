"""Whether an arithmetic agrees with float32: known errors of layers, and of real networks."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convarium import models, tasks
from convarium.data import Batch
from convarium.tasks import Objective
from convarium.train.agreement import LOSS_LIMITS, Agreement, agreement, layer_limit
from convarium.train.gradients import Pass

PLAIN = Pass(
    task=tasks.Classification(classes=("a", "b", "c")),
    objective=Objective(),
    device=torch.device("cpu"),
    memory_format=torch.contiguous_format,
    precision="fp32",
    accumulate=1,
    seed=0,
)
BF16 = dataclasses.replace(PLAIN, precision="bf16")
LAST = dataclasses.replace(PLAIN, memory_format=torch.channels_last)


def batch(shape=(8, 3, 16, 16), seed=0):
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    index = torch.arange(len(inputs))
    return Batch(inputs=(inputs,), target=index % 3, mask=None, index=index, weight=None)


def compared(network, passes, on=None):
    return agreement(copy.deepcopy(network), passes, network, PLAIN, batch() if on is None else on)


def relative(found, exact):
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def test_a_linear_layer_differs_by_its_roundings():
    torch.manual_seed(0)
    network, on = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), batch((8, 3, 2, 2))
    x, layer = on.inputs[0].flatten(1), network[1]
    weight = layer.weight.detach()
    terms = (each.bfloat16().float() for each in (x, weight, layer.bias.detach()))
    rounded = F.linear(*terms).bfloat16()  # rounded numbers, an exact sum, one more rounding
    outputs = F.linear(x, weight, layer.bias.detach())
    loss = float(F.cross_entropy(rounded.float(), on.target))
    exact = float(F.cross_entropy(outputs, on.target))
    found = compared(network, BF16, on)
    assert found.loss == pytest.approx(abs(loss - exact) / exact, rel=0.05, abs=1e-4)
    assert found.layer == "1"
    # each number is rounded by at most half a unit, 2^-8, and there are a few roundings
    assert relative(rounded, outputs) * 0.5 < found.layers < 3 * 2**-8
    assert found.holds


@pytest.mark.parametrize("name", ["resnet20_cifar", "mobilenet_v2", "convnext_atto"])
def test_layers_of_real_networks_agree(name):
    torch.manual_seed(0)
    network = models.create(name, num_classes=3, in_channels=3).train()
    found = compared(network, BF16, batch((4, 3, 32, 32)))
    assert 2**-10 < found.layers < layer_limit("bf16")
    assert found.holds
    other = copy.deepcopy(network).to(memory_format=torch.channels_last)
    found = agreement(other, LAST, network, PLAIN, batch((4, 3, 32, 32)))
    assert found.layers < 1e-5
    assert found.holds


def test_float32_agrees_with_itself_to_the_last_bit():
    network = models.create("convnet", num_classes=3, in_channels=3, dropout=0.5).train()
    found = compared(network, PLAIN)
    assert (found.loss, found.layers) == (0, 0)
    assert found.holds


class WrongBackward(torch.autograd.Function):
    """Adds nothing, and gives a gradient that is too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.2 * gradient


class Bad(nn.Conv2d):
    """A convolution that is wrong in bf16, in the way that it is told."""

    kind = "gradient"

    def forward(self, x):
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        if self.kind == "gradient":
            return super().forward(WrongBackward.apply(x))
        if self.kind == "weight":
            return F.conv2d(x, WrongBackward.apply(self.weight), self.bias)
        return super().forward(x) * torch.tensor(float("nan"))


@pytest.mark.parametrize("kind", ["gradient", "weight", "output"])
def test_a_wrong_layer_is_found_and_named(kind):
    torch.manual_seed(0)
    bad = Bad(4, 4, 3)
    bad.kind = kind
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        bad,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )
    found = compared(network, BF16)
    assert not found.holds
    if kind != "output":
        assert found.layer == "2"
        assert found.layers == pytest.approx(0.2, rel=0.1)
        assert found.sentence() == f"2 differs by {found.layers:.2g}, at most 0.031"


class Idle(nn.Linear):
    """A layer with a weight that it does not use."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.idle = nn.Parameter(torch.ones(2, 2))


def test_a_weight_without_a_gradient_agrees():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), Idle(768, 3))
    found = compared(network, BF16)
    assert 0 < found.layers < layer_limit("bf16")
    assert found.holds


def test_modes_and_hooks_are_put_back():
    network = models.create("convnet", num_classes=3, in_channels=3).eval()
    other = copy.deepcopy(network).train()
    agreement(other, BF16, network, PLAIN, batch())
    assert not any(module.training for module in network.modules())
    assert all(module.training for module in other.modules())
    assert not any(module._forward_hooks for module in other.modules())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_limits(precision):
    limit = layer_limit(precision)
    assert limit == 8 * {"fp32": 2**-11, "bf16": 2**-8}[precision]
    most = LOSS_LIMITS[precision]
    assert Agreement(precision, most, limit, "x").holds
    assert not Agreement(precision, most * 1.01, limit, "x").holds
    assert not Agreement(precision, most, limit * 1.01, "x").holds
    assert not Agreement(precision, float("nan"), 0.0, "").holds
    assert not Agreement(precision, 0.0, float("nan"), "x").holds
    assert Agreement(precision, 1.0, 0.0, "").sentence().startswith("the loss differs by 1 of it")
