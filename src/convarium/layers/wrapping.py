"""Convolutions of gridded fields, on which the last axis may be a circle."""

from __future__ import annotations

from torch import nn

from convarium.layers.conv import make_conv
from convarium.layers.rank import torch_layers


def field_conv(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, *, wrap: bool = False
) -> nn.Module:
    """A convolution with a bias that keeps the size of a field.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input map.
        out_channels: channels of the output map.
        kernel_size: taps along each axis.
        wrap: the last axis is a circle, such as all longitudes: beyond its last cell comes its
            first. The other axes are padded with zeros, and so is the last one without this.

    Shape:
        (B, C_in, *S) -> (B, C_out, *S)

    Example:
        >>> import torch
        >>> layer = field_conv(1, 1, 1, 3, wrap=True)
        >>> x = torch.randn(1, 1, 8)
        >>> torch.allclose(layer(x.roll(3, -1)), layer(x).roll(3, -1))
        True
    """
    if not wrap or kernel_size == 1:
        return make_conv(spatial_dims, in_channels, out_channels, kernel_size, bias=True)
    rank = torch_layers(spatial_dims)
    left, odd = divmod(kernel_size - 1, 2)
    sides = (left, left + odd)
    pads: list[nn.Module] = [rank.circular_pad(sides + (0, 0) * (spatial_dims - 1))]  # type: ignore[arg-type]
    if spatial_dims > 1:
        pads.append(rank.zero_pad((0, 0) + sides * (spatial_dims - 1)))  # type: ignore[arg-type]
    return nn.Sequential(*pads, rank.conv(in_channels, out_channels, kernel_size))
