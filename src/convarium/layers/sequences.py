"""Blocks of sequence networks that keep the length, on maps with or without a mask.

    conv block    x -> conv k -> batch norm -> relu -> zeros in the padding

Where the padding holds zeros, a convolution at the last real steps reads what it would read behind
the end of the sequence alone.
"""

from __future__ import annotations

from torch import Tensor, nn

from convarium.layers.conv import make_conv
from convarium.layers.masked_norm import MaskedBatchNorm1d
from convarium.layers.masks import MaskedMaxPool1d, hidden


class SequenceConv(nn.Module):
    """Convolution, batch norm over the real steps, ReLU; even kernels keep the length too.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps; d(k - 1) zeros in all, of an odd number the larger half behind.
        bias: of the convolution; a batch norm behind it takes any away.
        activation: whether a ReLU follows.
        pool: steps in a max pool at the end; 1 means none.

    Shape:
        (B, C_in, T), mask (B, T) -> (B, C_out, floor(T / pool))

    Example:
        >>> import torch
        >>> SequenceConv(6, 64, 8)(torch.zeros(2, 6, 10)).shape
        torch.Size([2, 64, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = False,
        activation: bool = True,
        pool: int = 1,
    ) -> None:
        super().__init__()
        self.conv = make_conv(1, in_channels, out_channels, kernel_size, bias=bias)
        self.norm = MaskedBatchNorm1d(out_channels)
        self.act = nn.ReLU() if activation else None
        self.pool = MaskedMaxPool1d(pool) if pool > 1 else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C_in, T) to (B, C_out, T'), with zeros in the padding."""
        x = self.norm(self.conv(x), mask)
        if self.act is not None:
            x = self.act(x)
        if self.pool is not None:
            y: Tensor = self.pool(x, mask)
            return y
        return hidden(x, mask)


class SequenceShortcut(nn.Module):
    """What passes around a branch: a 1x1 convolution where the channels change, and a batch norm.

    Shape:
        (B, C_in, T), mask (B, T) -> (B, C_out, T)
    """

    def __init__(self, in_channels: int, out_channels: int, *, always: bool = False) -> None:
        super().__init__()
        same = in_channels == out_channels and not always
        self.conv = None if same else make_conv(1, in_channels, out_channels, 1)
        self.norm = MaskedBatchNorm1d(out_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C_in, T) to (B, C_out, T)."""
        y: Tensor = self.norm(x if self.conv is None else self.conv(x), mask)
        return y
