"""Grad-CAM of every family against captum's LayerGradCam, in float64: the same raw maps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import convarium
from convarium.explain import grad_cam
from convarium.models import catalogue

TOLERANCE = 1e-6

QUICK = {
    **dict.fromkeys(("convnet", "lenet5", "resnet20_cifar", "resnet8", "speednet"), 32),
    **dict.fromkeys(("densenet_40_12", "plain20_cifar"), 32),
    **dict.fromkeys(("alexnet", "vgg11_bn", "squeezenet1_1", "mobilenet_v1"), 64),
    **dict.fromkeys(("mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "resnet18"), 64),
    **dict.fromkeys(("efficientnet_b0", "convnext_atto"), 64),
}
SEQUENCES = {
    "tcn": (2, 1, 60),
    "text_cnn": (2, 12),
    "resnet1d": (2, 1, 40),
    "inception_time": (2, 1, 40),
}

SCORING = [row["name"] for row in catalogue.read() if row["input_kind"] != "fields"]


def settled(name: str, shape: tuple[int, ...], **options: object) -> tuple[nn.Module, torch.Tensor]:
    """A network in float64 whose norms know their inputs, and a batch.

    With norms that do not, a thousand layers make numbers that float32 cannot hold.
    """
    torch.manual_seed(0)
    network = convarium.create(name, **options).double()
    if network.input_kind == "tokens":
        return network.eval(), network.example_input(*shape)
    x = torch.randn(max(2, shape[0]), *shape[1:], dtype=torch.float64)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            network.train()(x)
    for norm in norms:  # one position and two samples have next to no spread
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean)
        norm.running_var.clamp_(min=0.1)
    return network.eval(), x[: shape[0]]


def largest_difference(network: nn.Module, x: torch.Tensor) -> float:
    """Of the raw maps, as a share of the largest value of each sample's map."""
    from captum.attr import LayerGradCam

    with torch.no_grad():  # what a ReLU behind the classes has not cut off
        target = network(x).topk(2).indices[range(len(x)), range(len(x))].tolist()
    heat = grad_cam(network, x, target=target)
    layer = network.get_submodule(heat.layer)
    theirs = LayerGradCam(network, layer).attribute(x, target=target).detach().squeeze(1)
    assert theirs.shape == heat.values.shape
    largest = theirs.abs().flatten(1).amax(1)
    assert (largest > 0).all()
    return float(((heat.values - theirs).abs().flatten(1).amax(1) / largest).max())


@pytest.mark.parametrize("name", QUICK)
def test_raw_maps_are_captums(name: str) -> None:
    channels = 1 if name == "lenet5" else 3
    options = {"dense_width": 16} if name in ("alexnet", "vgg11_bn") else {}
    network, x = settled(name, (2, channels, QUICK[name], QUICK[name]), **options)
    assert largest_difference(network, x) <= TOLERANCE


@pytest.mark.parametrize("name", SEQUENCES)
def test_raw_maps_of_sequences_are_captums(name: str) -> None:
    options = {"vocabulary": 50} if name == "text_cnn" else {}
    network, x = settled(name, SEQUENCES[name], num_classes=6, **options)
    assert largest_difference(network, x) <= TOLERANCE


@pytest.mark.long
@pytest.mark.parametrize("name", SCORING)
def test_raw_maps_of_every_network_are_captums(name: str) -> None:
    with torch.device("meta"):
        shape = convarium.create(name).example_input().shape
    network, x = settled(name, (1, *shape[1:]))
    assert largest_difference(network, x) <= TOLERANCE
