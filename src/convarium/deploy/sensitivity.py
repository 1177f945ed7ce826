"""Which layers suffer from 8-bit numbers: each is rounded alone, and the outputs are compared.

weight: 255 steps a channel, input: 256 steps a tensor -> relative squared error of the outputs
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from convarium.deploy.neighbours import LAYERS
from convarium.graph import untouched


class Steps(NamedTuple):
    """Into how many steps numbers are rounded.

    Attributes:
        inputs: from the smallest to the largest of a tensor.
        weights: from 0 to the largest of a channel, on each side.
    """

    inputs: int = 255
    weights: int = 127


EIGHT_BITS: Final = Steps()


def damage(model: nn.Module, samples: Tensor) -> dict[str, float]:
    """The share of the outputs' energy that rounding a layer alone changes, worst first.

    The model is left as it was; it runs once for each convolution and linear layer.

    Args:
        model: a network in eval mode.
        samples: (N, C, *S) real inputs, a few.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    >>> sorted(damage(network, torch.randn(8, 1, 2, 2)))
    ['1', '2']
    """
    layers = {k: m for k, m in model.named_modules() if isinstance(m, LAYERS)}
    found = {}
    with untouched(model), torch.inference_mode(False), torch.no_grad():
        expected = model(samples)
        energy = expected.square().mean().clamp(min=torch.finfo(expected.dtype).tiny)
        for name, layer in layers.items():
            weight = layer.weight.detach().clone()
            handle = layer.register_forward_pre_hook(_of_layer)
            try:
                axis = 1 if isinstance(layer, _ConvTransposeNd) else 0
                layer.weight.data.copy_(rounded_weight(weight, axis))
                error = (model(samples) - expected).square().mean()
            finally:
                handle.remove()
                layer.weight.data.copy_(weight)
            found[name] = float(error / energy)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _of_layer(layer: nn.Module, given: Any) -> Any:
    x, *rest = given
    return (rounded_input(x), *rest)


def rounded_input(x: Tensor, steps: Steps = EIGHT_BITS) -> Tensor:
    """A tensor of equal steps from its smallest to its largest number, with 0 among them."""
    low, high = x.detach().min().clamp(max=0), x.detach().max().clamp(min=0)
    scale = float((high - low) / steps.inputs) or 1.0
    zero = int((-low / scale).round().clamp(0, steps.inputs))
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, steps.inputs)


def rounded_weight(weight: Tensor, axis: int, steps: Steps = EIGHT_BITS) -> Tensor:
    """A weight of equal steps on both sides of 0, for each channel of the output."""
    others = [d for d in range(weight.ndim) if d != axis]
    largest = weight.detach().abs().amax(others)
    scale = (largest / steps.weights).clamp(min=1e-12)
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    ends = -steps.weights, steps.weights
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, axis, *ends)
