"""Which layers suffer from 8-bit numbers: each is rounded alone, and the outputs are compared.

weight: 255 steps a channel, input: 256 steps a tensor -> relative squared error of the outputs
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from convarium.deploy.neighbours import LAYERS
from convarium.graph import untouched


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
            handle = layer.register_forward_pre_hook(_rounded_input)
            try:
                layer.weight.data.copy_(_rounded_weight(layer))
                error = (model(samples) - expected).square().mean()
            finally:
                handle.remove()
                layer.weight.data.copy_(weight)
            found[name] = float(error / energy)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _rounded_input(layer: nn.Module, given: Any) -> Any:
    x, *rest = given
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = float((high - low) / 255) or 1.0
    zero = int((-low / scale).round().clamp(0, 255))
    return (torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255), *rest)


def _rounded_weight(layer: Any) -> Tensor:
    """With 255 steps, symmetric, for each channel of the output."""
    weight: Tensor = layer.weight.detach()
    axis = 1 if isinstance(layer, _ConvTransposeNd) else 0
    others = [d for d in range(weight.ndim) if d != axis]
    scale = (weight.abs().amax(others) / 127).clamp(min=1e-12)
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, axis, -127, 127)
