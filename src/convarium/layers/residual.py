"""Residual blocks: basic and bottleneck, with the norm after the convolution or before it.

    basic               x -> conv3 -> norm -> relu -> conv3 -> norm -> + shortcut(x) -> relu
    bottleneck          x -> conv1 -> norm -> relu -> conv3 -> norm -> relu -> conv1 -> norm
                          -> + shortcut(x) -> relu
    pre-activation      x -> norm -> relu -> conv3 -> norm -> relu -> conv3 -> + shortcut(x)

The norm ends the branch before the addition; only the ReLU follows it. Shortcuts, where the shape
changes: "projection" is a strided 1x1 convolution (option B of the paper), "pad" subsamples and
adds channels of zeros (option A, no parameters), "none" leaves the shortcut out (a plain net).

References:
    He et al. 2015, "Deep residual learning", arXiv:1512.03385, figures 2 and 5, section 3.3.
    He et al. 2016, "Identity mappings", arXiv:1603.05027, figure 1 and the appendix.
    Xie et al. 2016, "Aggregated residual transformations", arXiv:1611.05431 (groups).
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers.conv import make_conv
from convarium.layers.norms import Norm, make_norm
from convarium.layers.rank import torch_layers

Shortcut = Literal["projection", "pad", "none"]


class PadShortcut(nn.Module):
    """Every `stride`-th position, with channels of zeros behind the given ones.

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))

    Raises:
        OptionError: C_out is below C_in, so that channels would be dropped.

    References:
        He et al. 2015, arXiv:1512.03385, section 3.3, option A.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise OptionError(
                f"shortcut (='pad') adds channels and cannot go from {in_channels} to "
                f"{out_channels}; use 'projection', or widths that do not shrink."
            )
        self.subsample = torch_layers(spatial_dims).avg_pool(1, stride=stride)
        self.padding = (0, 0) * spatial_dims + (0, out_channels - in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        return nn.functional.pad(self.subsample(x), self.padding)


def _make_shortcut(
    kind: Shortcut,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    stride: int,
    norm: Norm | None,
) -> nn.Module | None:
    """The way around a branch; `norm` None means a projection without a norm."""
    if kind == "none":
        return None
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(spatial_dims, in_channels, out_channels, stride)
    bias = norm == "none"
    conv = make_conv(spatial_dims, in_channels, out_channels, 1, stride=stride, bias=bias)
    if norm is None:
        return conv
    return nn.Sequential(conv, make_norm(norm, out_channels, spatial_dims))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input passes.

        x -> conv3 (stride) -> norm -> relu -> conv3 -> norm -> + shortcut(x) -> relu

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))

    Example:
        >>> import torch
        >>> BasicBlock(2, 16, 32, stride=2)(torch.zeros(1, 16, 9, 9)).shape
        torch.Size([1, 32, 5, 5])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = "projection",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        d, bias = spatial_dims, norm == "none"
        self.conv1 = make_conv(d, in_channels, out_channels, 3, stride=stride, bias=bias)
        self.norm1 = make_norm(norm, out_channels, d)
        self.act1 = nn.ReLU()
        self.conv2 = make_conv(d, out_channels, out_channels, 3, bias=bias)
        self.norm2 = make_norm(norm, out_channels, d)
        self.shortcut = _make_shortcut(shortcut, d, in_channels, out_channels, stride, norm)
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        z: Tensor = self.act2(y)
        return z


class BottleneckBlock(nn.Module):
    """A 3x3 convolution at a quarter of the width, between two 1x1 convolutions.

        x -> conv1 -> norm -> relu -> conv3 -> norm -> relu -> conv1 -> norm -> + shortcut -> relu

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input map.
        out_channels: channels of the output map.
        inner_channels: channels of the 3x3 convolution.
        groups: groups of the 3x3 convolution (ResNeXt's cardinality).
        stride: step along each axis.
        stride_in: the convolution that takes the step: "3x3" (v1.5) or "1x1" (the 2015 paper).
        shortcut: what to do where the shape changes.
        norm: see `make_norm`.

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        inner_channels: int,
        groups: int = 1,
        stride: int = 1,
        stride_in: Literal["3x3", "1x1"] = "3x3",
        shortcut: Shortcut = "projection",
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        d, inner, bias = spatial_dims, inner_channels, norm == "none"
        first, second = (1, stride) if stride_in == "3x3" else (stride, 1)
        self.conv1 = make_conv(d, in_channels, inner, 1, stride=first, bias=bias)
        self.norm1 = make_norm(norm, inner, d)
        self.act1 = nn.ReLU()
        self.conv2 = make_conv(d, inner, inner, 3, stride=second, groups=groups, bias=bias)
        self.norm2 = make_norm(norm, inner, d)
        self.act2 = nn.ReLU()
        self.conv3 = make_conv(d, inner, out_channels, 1, bias=bias)
        self.norm3 = make_norm(norm, out_channels, d)
        self.shortcut = _make_shortcut(shortcut, d, in_channels, out_channels, stride, norm)
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        z: Tensor = self.act3(y)
        return z


class PreActBasicBlock(nn.Module):
    """The basic block with norm and ReLU before each convolution, and a clean way around.

        x -> norm -> relu -> conv3 (stride) -> norm -> relu -> conv3 -> + shortcut

    With `shared`, the shortcut starts after the first ReLU: so in the first block of a stage.

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = "projection",
        shared: bool = False,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        d, bias = spatial_dims, norm == "none"
        self.shared = shared
        self.shortcut = _make_shortcut(shortcut, d, in_channels, out_channels, stride, None)
        self.norm1 = make_norm(norm, in_channels, d)
        self.act1 = nn.ReLU()
        self.conv1 = make_conv(d, in_channels, out_channels, 3, stride=stride, bias=bias)
        self.norm2 = make_norm(norm, out_channels, d)
        self.act2 = nn.ReLU()
        self.conv2 = make_conv(d, out_channels, out_channels, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        activated = self.act1(self.norm1(x))
        y: Tensor = self.conv2(self.act2(self.norm2(self.conv1(activated))))
        if self.shortcut is not None:
            y = y + self.shortcut(activated if self.shared else x)
        return y


class PreActBottleneckBlock(nn.Module):
    """The bottleneck block with norm and ReLU before each convolution.

        x -> norm -> relu -> conv1 -> norm -> relu -> conv3 -> norm -> relu -> conv1 -> + shortcut

    Arguments as in `BottleneckBlock`; with `shared`, the shortcut starts after the first ReLU.

    Shape:
        (B, C_in, *S) -> (B, C_out, *ceil(S / stride))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        inner_channels: int,
        groups: int = 1,
        stride: int = 1,
        stride_in: Literal["3x3", "1x1"] = "3x3",
        shortcut: Shortcut = "projection",
        shared: bool = False,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        d, inner, bias = spatial_dims, inner_channels, norm == "none"
        first, second = (1, stride) if stride_in == "3x3" else (stride, 1)
        self.shared = shared
        self.shortcut = _make_shortcut(shortcut, d, in_channels, out_channels, stride, None)
        self.norm1 = make_norm(norm, in_channels, d)
        self.act1 = nn.ReLU()
        self.conv1 = make_conv(d, in_channels, inner, 1, stride=first, bias=bias)
        self.norm2 = make_norm(norm, inner, d)
        self.act2 = nn.ReLU()
        self.conv2 = make_conv(d, inner, inner, 3, stride=second, groups=groups, bias=bias)
        self.norm3 = make_norm(norm, inner, d)
        self.act3 = nn.ReLU()
        self.conv3 = make_conv(d, inner, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        activated = self.act1(self.norm1(x))
        y = self.conv1(activated)
        y = self.conv2(self.act2(self.norm2(y)))
        z: Tensor = self.conv3(self.act3(self.norm3(y)))
        if self.shortcut is not None:
            z = z + self.shortcut(activated if self.shared else x)
        return z
