"""The arithmetic of a pass: which layers stay in float32, and what they then give."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convarium import models, train
from convarium.train.arithmetic import arithmetic, slow_in_bf16
from convarium.train.learner import Learner

CPU = torch.device("cpu")


def test_depthwise_layers_with_a_stride_or_a_large_kernel_are_slow_in_bf16():
    layers = {
        "strided": nn.Conv2d(8, 8, 3, stride=2, groups=8),
        "large": nn.Conv2d(8, 16, 5, groups=8),
        "one axis": nn.Conv1d(4, 4, 7, groups=4),
        "small": nn.Conv2d(8, 8, 3, groups=8),
        "dense": nn.Conv2d(8, 8, 5, stride=2),
        "one channel": nn.Conv2d(1, 8, 5, stride=2),
        "groups": nn.Conv2d(8, 8, 5, groups=4),
    }
    found = slow_in_bf16(nn.ModuleDict(layers), CPU)
    assert found == (layers["strided"], layers["large"], layers["one axis"])
    assert slow_in_bf16(nn.ModuleDict(layers), torch.device("cuda")) == ()


def test_such_a_layer_computes_in_float32_between_two_conversions():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, stride=2, groups=8)
    network, x = nn.Sequential(first, second), torch.randn(2, 3, 9, 9)
    with arithmetic(CPU, "bf16", (second,)):
        found = network(x)
        assert torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", torch.bfloat16):
        between = first(x)
    assert between.dtype == torch.bfloat16
    expected = second(between.float())
    assert torch.equal(found, expected.bfloat16())
    gradient = torch.randn_like(found)
    weights = torch.autograd.grad(found, second.weight, gradient, retain_graph=True)
    assert torch.equal(*weights, *torch.autograd.grad(expected, second.weight, gradient.float()))


def test_nothing_of_it_stays_behind():
    network = nn.Conv2d(2, 2, 3, stride=2, groups=2)
    with pytest.raises(RuntimeError), arithmetic(CPU, "bf16", (network,)):
        network(torch.zeros(1, 5, 9, 9))
    assert not torch.is_autocast_enabled("cpu")
    assert not network._forward_hooks
    assert not network._forward_pre_hooks
    assert network(torch.zeros(1, 2, 9, 9)).dtype == torch.float32
    with arithmetic(CPU, "fp32", (network,)):
        assert network(torch.zeros(1, 2, 9, 9)).dtype == torch.float32


def test_training_takes_the_gradient_of_that_arithmetic(parts, preprocessing):
    torch.manual_seed(0)
    shape = {"in_channels": 1, "num_classes": 3}
    model = models.create("mobilenet_v1", width_multiplier=0.25, dropout=0.0, **shape)
    config = train.TrainConfig(batch_size=63, precision="bf16", layout="contiguous")
    learner = Learner(model, parts, config, preprocessing)
    assert len(learner.passes.slow) == 4  # the strides of 2 behind the stem
    (batch,) = learner.batches(0)

    def gradients(slow):
        model.train().zero_grad()
        with arithmetic(CPU, "bf16", slow):
            outputs = model(batch.inputs[0])
        nn.functional.cross_entropy(outputs.float(), batch.target).backward()
        return [p.grad.clone() for p in model.parameters()]

    by_hand, without = gradients(slow_in_bf16(model, CPU)), gradients(())
    learner.gradient(batch, epoch=0, step=0)
    found = [p.grad for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(found, by_hand, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(found, without, strict=True))
