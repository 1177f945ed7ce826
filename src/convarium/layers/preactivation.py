"""Residual blocks with norm and ReLU before each convolution, and nothing after the addition.

    basic        x -> norm -> relu -> conv3 -> norm -> relu -> conv3 -> + shortcut(x)
    bottleneck   x -> norm -> relu -> conv1 -> norm -> relu -> conv3 -> norm -> relu -> conv1
                   -> + shortcut(x)

So the way around is clean through the whole network: a block's output is its input plus a branch,
and so is the gradient. Shortcuts and the other arguments are those of `convarium.layers.residual`.
With `shared`, the shortcut starts after the first ReLU: so in the first block of a stage.

References:
    He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027, figure 1 and
    the appendix.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from convarium.layers.conv import make_conv
from convarium.layers.drop_path import DropPath
from convarium.layers.norms import Norm, make_norm
from convarium.layers.residual import (
    UNDILATED,
    Dilation,
    Residual,
    Shortcut,
    make_relu,
    make_shortcut,
)


class PreActBasicBlock(Residual):
    """The basic block with norm and ReLU before each convolution, and a clean way around.

        x -> norm -> relu -> conv3 (stride) -> norm -> relu -> conv3 -> + shortcut

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
        dilation: Dilation = UNDILATED,
        blur: bool = False,
        shortcut: Shortcut = "projection",
        shared: bool = False,
        norm: Norm = "batch",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        d, c, bias, step = spatial_dims, out_channels, norm == "none", 1 if blur else stride
        near, far = dilation
        self.shared = shared
        self.shortcut = make_shortcut(shortcut, d, in_channels, c, stride, dilation, None)
        self.norm1 = make_norm(norm, in_channels, d)
        self.act1 = nn.ReLU()
        self.conv1 = make_conv(d, in_channels, c, 3, stride=step, dilation=near, bias=bias)
        self.norm2 = make_norm(norm, c, d)
        self.act2 = make_relu(d, stride, blur)
        self.conv2 = make_conv(d, c, c, 3, dilation=far, bias=bias)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        activated = self.act1(self.norm1(x))
        y = self.conv2(self.act2(self.norm2(self.conv1(activated))))
        return self.total(y, activated if self.shared else x)


class PreActBottleneckBlock(Residual):
    """The bottleneck block with norm and ReLU before each convolution.

        x -> norm -> relu -> conv1 -> norm -> relu -> conv3 -> norm -> relu -> conv1 -> + shortcut

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
        shared: bool = False,
        norm: Norm = "batch",
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        d, c, bias, early = spatial_dims, inner_channels, norm == "none", stride_in == "1x1"
        step = 1 if blur else stride
        first, second, taps = (step, 1, dilation[1]) if early else (1, step, dilation[0])
        self.shared = shared
        self.shortcut = make_shortcut(
            shortcut, d, in_channels, out_channels, stride, dilation, None
        )
        self.norm1 = make_norm(norm, in_channels, d)
        self.act1 = nn.ReLU()
        self.conv1 = make_conv(d, in_channels, c, 1, stride=first, bias=bias)
        self.norm2 = make_norm(norm, c, d)
        self.act2 = make_relu(d, stride, blur and early)
        self.conv2 = make_conv(d, c, c, 3, stride=second, dilation=taps, groups=groups, bias=bias)
        self.norm3 = make_norm(norm, c, d)
        self.act3 = make_relu(d, stride, blur and not early)
        self.conv3 = make_conv(d, c, out_channels, 1, bias=bias)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S')."""
        activated = self.act1(self.norm1(x))
        y = self.conv1(activated)
        y = self.conv2(self.act2(self.norm2(y)))
        y = self.conv3(self.act3(self.norm3(y)))
        return self.total(y, activated if self.shared else x)
