"""Residual blocks of any rank: a branch of convolutions, and a way around it.

    basic               x -> conv3 -> norm -> relu -> conv3 -> norm -> + shortcut(x) -> relu
    bottleneck          x -> conv1 -> norm -> relu -> conv3 -> norm -> relu -> conv1 -> norm
                          -> + shortcut(x) -> relu

The norm ends the branch before the addition; only the ReLU follows it. The forms with norm and ReLU
first are in `convarium.layers.preactivation`. Shortcuts, where the shape changes: "projection" is a
strided 1x1 convolution (option B of the paper), "pad" subsamples and adds channels of zeros (option
A, no parameters), "none" leaves the shortcut out (a plain net).

All blocks take, besides `stride`:

    dilation    between the taps of 3x3 convolutions: up to the strided one, and behind it
    blur        the strided convolution keeps the size, and a `BlurPool` behind its ReLU halves it
    drop_path   probability of leaving the branch out, for each sample of a training batch

References:
    He et al. 2015, "Deep residual learning", arXiv:1512.03385, figures 2 and 5, section 3.3.
    Xie et al. 2016, "Aggregated residual transformations", arXiv:1611.05431 (groups).
    Huang et al. 2016, "Stochastic depth", arXiv:1603.09382 (drop path).
    Yu, Koltun and Funkhouser 2017, "Dilated residual networks", arXiv:1705.09914 (dilation).
    Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486 (blur).
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers.blur import BlurPool
from convarium.layers.conv import make_conv
from convarium.layers.drop_path import DropPath
from convarium.layers.norms import Norm, make_norm
from convarium.layers.rank import torch_layers

Shortcut = Literal["projection", "pad", "none"]
Dilation = tuple[int, int]

UNDILATED: Final[Dilation] = (1, 1)


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


def make_shortcut(
    kind: Shortcut,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    stride: int,
    dilation: Dilation,
    norm: Norm | None,
) -> nn.Module | None:
    """The way around a branch; `norm` None means a projection without a norm.

    Raises:
        OptionError: no shortcut has this name.
    """
    if kind not in get_args(Shortcut):
        raise OptionError(f"shortcut (={kind!r}) must be one of {', '.join(get_args(Shortcut))}.")
    if kind == "none":
        return None
    strided = stride > 1 or dilation[0] != dilation[1]  # or would be, if it were not dilated
    if not strided and in_channels == out_channels:
        return nn.Identity()
    if kind == "pad":
        return PadShortcut(spatial_dims, in_channels, out_channels, stride)
    bias = norm == "none"
    conv = make_conv(spatial_dims, in_channels, out_channels, 1, stride=stride, bias=bias)
    if norm is None:
        return conv
    return nn.Sequential(conv, make_norm(norm, out_channels, spatial_dims))


def make_relu(spatial_dims: int, stride: int, blur: bool) -> nn.Module:
    """ReLU; with `blur`, followed by the step that the convolution before it did not take."""
    return nn.Sequential(nn.ReLU(), BlurPool(spatial_dims, stride=stride)) if blur else nn.ReLU()


class Residual(nn.Module):
    """What every block ends with: the branch, dropped or not, plus what passes around it."""

    shortcut: nn.Module | None
    drop_path: DropPath | None

    def total(self, branch: Tensor, x: Tensor) -> Tensor:
        """The sum of the branch's map and the shortcut of `x`."""
        if self.drop_path is not None:
            branch = self.drop_path(branch)
        return branch if self.shortcut is None else branch + self.shortcut(x)


class BasicBlock(Residual):
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
        dilation: Dilation = UNDILATED,
        blur: bool = False,
        shortcut: Shortcut = "projection",
        norm: Norm = "batch",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        d, c, bias, step = spatial_dims, out_channels, norm == "none", 1 if blur else stride
        near, far = dilation
        self.conv1 = make_conv(d, in_channels, c, 3, stride=step, dilation=near, bias=bias)
        self.norm1 = make_norm(norm, c, d)
        self.act1 = make_relu(d, stride, blur)
        self.conv2 = make_conv(d, c, c, 3, dilation=far, bias=bias)
        self.norm2 = make_norm(norm, c, d)
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.shortcut = make_shortcut(shortcut, d, in_channels, c, stride, dilation, norm)
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        z: Tensor = self.act2(self.total(y, x))
        return z


class BottleneckBlock(Residual):
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
        dilation: between the taps of the 3x3 convolution: up to the step, and behind it.
        blur: take the step by a `BlurPool` behind that convolution's ReLU.
        shortcut: what to do where the shape changes.
        norm: see `make_norm`.
        drop_path: probability of leaving the branch out, for a sample in training.

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
        dilation: Dilation = UNDILATED,
        blur: bool = False,
        shortcut: Shortcut = "projection",
        norm: Norm = "batch",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        d, c, bias, early = spatial_dims, inner_channels, norm == "none", stride_in == "1x1"
        step = 1 if blur else stride
        first, second, taps = (step, 1, dilation[1]) if early else (1, step, dilation[0])
        self.conv1 = make_conv(d, in_channels, c, 1, stride=first, bias=bias)
        self.norm1 = make_norm(norm, c, d)
        self.act1 = make_relu(d, stride, blur and early)
        self.conv2 = make_conv(d, c, c, 3, stride=second, dilation=taps, groups=groups, bias=bias)
        self.norm2 = make_norm(norm, c, d)
        self.act2 = make_relu(d, stride, blur and not early)
        self.conv3 = make_conv(d, c, out_channels, 1, bias=bias)
        self.norm3 = make_norm(norm, out_channels, d)
        self.drop_path = DropPath(drop_path) if drop_path else None
        self.shortcut = make_shortcut(
            shortcut, d, in_channels, out_channels, stride, dilation, norm
        )
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        z: Tensor = self.act3(self.total(y, x))
        return z
