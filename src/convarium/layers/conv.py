"""Convolutions that keep the size, alone and with what follows them: norm, activation, and more."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers.activations import Activation, make_activation
from convarium.layers.norms import Norm, make_norm
from convarium.layers.pools import Pool, make_pool
from convarium.layers.rank import torch_layers

Padding = Literal["same", "tf_same"]


def make_conv(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    padding: Padding = "same",
) -> nn.Module:
    """A convolution with zero padding d(k - 1) in all, so that stride 1 keeps the size.

    An odd total is split as left = floor, right = ceil, by an explicit pad in front: padding an
    even kernel by k // 2 on both sides would make every map one position longer. The padding
    "tf_same" depends on the size of the input instead (see `convarium.layers.same`).

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))

    Raises:
        OptionError: no padding has this name.

    Example:
        >>> make_conv(1, 3, 8, kernel_size=5, dilation=2)
        Conv1d(3, 8, kernel_size=(5,), stride=(1,), padding=(4,), dilation=(2,), bias=False)
    """
    rank = torch_layers(spatial_dims)
    if padding not in get_args(Padding):
        raise OptionError(f"padding (={padding!r}) must be one of {', '.join(get_args(Padding))}.")
    if padding == "tf_same":
        return rank.same_conv(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
    left, odd = divmod(dilation * (kernel_size - 1), 2)
    conv = rank.conv(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        padding=0 if odd else left,
        dilation=dilation,
        groups=groups,
        bias=bias,
    )
    if not odd:
        return conv
    sides = (left, left + 1) * spatial_dims
    return nn.Sequential(rank.zero_pad(sides), conv)  # type: ignore[arg-type]


class ConvNormAct(nn.Sequential):
    """Convolution, batch norm and, unless it is None, activation.

        x -> conv k, stride s -> norm -> act

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input map.
        out_channels: channels of the output map.
        kernel_size: taps along each axis.
        stride: step of the convolution along each axis.
        dilation: distance between taps along each axis.
        groups: the convolution's groups.
        padding: see `make_conv`.
        norm_eps: added to the variance.
        norm_momentum: weight of the newest batch in the running averages.
        activation: see `make_activation`.

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))

    Example:
        >>> layer = ConvNormAct(2, 8, 16, 3, stride=2, activation=None)
        >>> [name for name, _ in layer.named_children()]
        ['conv', 'norm']
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: Padding = "same",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        activation: Activation | None = "relu",
    ) -> None:
        super().__init__()
        self.conv = make_conv(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
        )
        self.norm = make_norm(
            "batch", out_channels, spatial_dims, eps=norm_eps, momentum=norm_momentum
        )
        if activation is not None:
            self.act = make_activation(activation)


class ConvBlock(nn.Module):
    """Convolution, norm, activation, dropout, pool; the convolution has a bias without a norm.

        x -> conv k, stride s -> norm -> activation -> dropout -> pool 2

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input map.
        out_channels: channels of the output map.
        kernel_size: taps along each axis; even ones keep the size too.
        stride: step of the convolution along each axis.
        dilation: distance between taps along each axis.
        groups: the convolution's groups.
        norm: see `make_norm`.
        activation: see `make_activation`.
        dropout: probability of setting an activation to 0 in training.
        pool: "max" or "avg" halves the map, "none" keeps it.

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride)), halved (floor) by the pool

    Example:
        >>> import torch
        >>> block = ConvBlock(2, 3, 8, kernel_size=4, pool="max")
        >>> block(torch.zeros(1, 3, 10, 6)).shape
        torch.Size([1, 8, 5, 3])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: float = 0.0,
        pool: Pool = "none",
    ) -> None:
        super().__init__()
        self.conv = make_conv(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=norm == "none",
        )
        self.norm = make_norm(norm, out_channels, spatial_dims)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.pool = make_pool(pool, spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        x = self.activation(self.norm(self.conv(x)))
        y: Tensor = self.pool(self.dropout(x))
        return y
