"""The arithmetic of folding: a line a channel, taken into the layer before or behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def line(norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel that a batch norm in eval mode comes down to, in float64.

    >>> norm = nn.BatchNorm1d(1, eps=0.0).eval()
    >>> [x.item() for x in line(norm)]
    [1.0, 0.0]
    """
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def absorb_after(layer: Any, scale: Tensor, shift: Tensor) -> None:
    """Let a layer give scale y + shift where it gave y, for each channel of its output.

    Shape:
        scale, shift: (C_out,)
    """
    weight = layer.weight.double()
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    if isinstance(layer, _ConvTransposeNd):  # (C_in, C_out / groups, *K)
        parts = weight.unflatten(0, (layer.groups, -1))
        factor = scale.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
        weight = (parts * factor).flatten(0, 1)
    else:  # (C_out, C_in / groups, *K)
        weight = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    _set(layer, weight, bias)


def absorb_before(layer: Any, scale: Tensor, shift: Tensor) -> None:
    """Let a layer give of x what it gave of scale x + shift, for each channel of its input.

    Shape:
        scale, shift: (C_in,)
    """
    weight = layer.weight.double()
    groups = layer.groups if isinstance(layer, _ConvNd) else 1
    parts = weight.unflatten(0, (groups, -1))  # (groups, C_out / groups, C_in / groups, *K)
    ones = [1] * (weight.ndim - 2)
    moved = (parts * shift.view(groups, 1, -1, *ones)).flatten(2).sum(2).flatten()
    bias = moved if layer.bias is None else layer.bias.double() + moved
    _set(layer, (parts * scale.view(groups, 1, -1, *ones)).flatten(0, 1), bias)


def refusal_before(layer: nn.Module) -> str:
    """Why a norm cannot go into the layer behind it, or nothing."""
    if isinstance(layer, nn.Linear):
        return ""
    kind = type(layer)
    if isinstance(layer, _ConvTransposeNd):
        return "a transposed convolution behind it reaches its border with fewer taps"
    if kind not in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return f"the {kind.__name__} behind it pads in a way of its own"
    padding: Any = layer.padding
    pads = padding not in ("valid",) if isinstance(padding, str) else any(padding)
    if pads and layer.padding_mode == "zeros":
        return "the convolution behind it pads with zeros, which a shift would not reach"
    return ""


def _set(layer: Any, weight: Tensor, bias: Tensor) -> None:
    """New values of a layer's own kind."""
    kind, device = layer.weight.dtype, layer.weight.device
    learns = layer.weight.requires_grad
    layer.weight = nn.Parameter(weight.to(kind), requires_grad=learns)
    layer.bias = nn.Parameter(bias.to(device, kind), requires_grad=learns)
