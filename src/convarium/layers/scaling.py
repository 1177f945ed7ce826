"""Layers that weight channels: by a learned number, or by what the whole map holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convarium.layers.activations import Activation, make_activation
from convarium.layers.rank import torch_layers


class LayerScale(nn.Module):
    """Multiply each channel by a learned number that starts small.

    Args:
        channels: of the map.
        initial: what every number starts at.

    Shape:
        (B, C, *S) -> (B, C, *S)

    References:
        Touvron et al. 2021, "Going deeper with image transformers", arXiv:2103.17239, eq. 4.
    """

    def __init__(self, channels: int, initial: float = 1e-6) -> None:
        super().__init__()
        self.initial = initial
        self.gamma = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x`."""
        return x * self.gamma.view(-1, *(1,) * (x.ndim - 2))


class SqueezeExcitation(nn.Module):
    """Weight each channel by a gate that sees the mean of every channel.

        x -> mean over positions -> 1x1 to `squeezed` -> activation -> 1x1 back -> gate -> times x

    Args:
        spatial_dims: 1, 2 or 3.
        channels: of the map.
        squeezed: channels between the two 1x1 convolutions; both have biases.
        activation: between them.
        gate: at the end, usually "sigmoid" or "hardsigmoid".

    Shape:
        (B, C, *S) -> (B, C, *S)

    Example:
        >>> SqueezeExcitation(2, channels=8, squeezed=2)(torch.zeros(1, 8, 5, 5)).shape
        torch.Size([1, 8, 5, 5])

    References:
        Hu, Shen, Albanie, Sun and Wu 2017, "Squeeze-and-excitation networks", arXiv:1709.01507,
        eq. 2 to 4.
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        squeezed: int,
        *,
        activation: Activation = "relu",
        gate: Activation = "sigmoid",
    ) -> None:
        super().__init__()
        rank = torch_layers(spatial_dims)
        self.mean = rank.adaptive_avg_pool(1)
        self.reduce = rank.conv(channels, squeezed, 1)
        self.activation = make_activation(activation)
        self.expand = rank.conv(squeezed, channels, 1)
        self.gate = make_activation(gate)

    def forward(self, x: Tensor) -> Tensor:
        """Weight the channels of `x`."""
        y = self.expand(self.activation(self.reduce(self.mean(x))))
        z: Tensor = x * self.gate(y)
        return z
