"""Multiply-adds of convolutions and linear layers at 224 x 224, to the last digit that is known.

The figures are those that the papers and the libraries' pages print: biases, norms, activations and
pools are not counted.
"""

import math

import pytest
import torch
from torch import nn

import convarium.models as models
from convarium.layers import CONVOLUTIONS
from convarium.models import catalogue

GMACS = {
    "alexnet": 0.714,
    "vgg16": 15.470,
    "resnet18": 1.814,
    "resnet50": 4.089,
    "densenet121": 2.834,
    "mobilenet_v1": 0.569,
    "mobilenet_v2": 0.301,
    "efficientnet_b0": 0.386,
    "convnext_tiny": 4.456,
}


def multiply_adds(model, x):
    """Counted as the layers run, by the sizes of what they give."""
    counts = []

    def count(module, inputs, output):
        if isinstance(module, nn.Linear):
            counts.append(module.in_features * output.numel())
        else:
            kernel = math.prod(module.kernel_size) * module.in_channels // module.groups
            counts.append(kernel * output.numel())

    layers = [m for m in model.modules() if isinstance(m, (*CONVOLUTIONS, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    model(x)
    for handle in handles:
        handle.remove()
    return sum(counts)


@pytest.mark.parametrize("name", GMACS)
def test_multiply_adds_are_the_published_ones(name):
    with torch.device("meta"), torch.no_grad():
        model = models.create(name).eval()
        found = multiply_adds(model, torch.empty(1, 3, 224, 224))
    assert round(found / 1e9, 3) == GMACS[name]


@pytest.mark.parametrize("name", GMACS)
def test_the_catalogue_tells_the_same(name):
    row = catalogue.find(name)
    assert row["input_size"] == [224, 224]
    assert round(row["macs"] / 1e9, 3) == GMACS[name]
