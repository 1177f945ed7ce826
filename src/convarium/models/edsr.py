"""EDSR: residual blocks without norms at the coarse size, and a learned upsampling at the end.

    x -> conv 3 -> [x + s (conv 3 -> relu -> conv 3)] x N -> conv 3 -> + -> upsampling -> conv 3
            |_________________________________________________________|

The blocks are those of a residual network without batch norms, which would take the range of the
values away that a field has, and without the ReLU behind the sum. Wide networks train only if each
branch is scaled, by s = .1. What the last convolution gives is added to the interpolated coarse
field, unless `start` says otherwise.

Differs from the paper: the start from the interpolated field, which the paper does not have
(start="none"); the mean that the paper subtracts is the normalisation of every network of fields.

References:
    Lim, Son, Kim, Nah, Lee 2017, "Enhanced deep residual networks for single image
    super-resolution", arXiv:1707.02921, table 1 and figure 3.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convarium.layers import Blocks, Upsampling, UpsamplingKind, field_conv
from convarium.models.contract import Stage
from convarium.models.fields import FieldToField
from convarium.models.options import at_least
from convarium.models.variants import Variant


class EDSR(FieldToField):
    """Residual blocks around which the first map passes, and an upsampling.

    Args:
        depth: residual blocks.
        width: channels of all maps.
        branch_scale: what each branch is multiplied with before the sum.
        upsampling: "shuffle" or "resize"; see `layers.Upsampling`.

    Shape:
        (B, C, *S) -> (B, P T, *(S factor))

    Raises:
        OptionError: a value is out of range.

    Example:
        >>> model = EDSR(depth=2, width=8, in_channels=2, constraint="softmax")
        >>> model(model.example_input(batch=2, size=8)).shape
        torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        *,
        depth: int = 16,
        width: int = 64,
        branch_scale: float = 1.0,
        upsampling: UpsamplingKind = "shuffle",
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        at_least(1, depth=depth, width=width)
        d, wrap = self.spatial_dims, self.wrap
        self.stem = field_conv(d, self.reader.channels, width, 3, wrap=wrap)
        self.stage1 = LongSkip(d, width, depth, branch_scale, wrap=wrap)
        self.stages = (Stage("stage1", width, 1),)
        self.heatmap_layer = "stage1"
        self.final = nn.Identity()
        self.neck = Upsampling(d, width, self.factor, upsampling, wrap=wrap)
        self.head = field_conv(d, width, self.writer.channels, 3, wrap=wrap)
        self.initialise_weights()


class LongSkip(nn.Module):
    """Residual blocks and a convolution, around which the map passes.

    Shape:
        (B, C, *S) -> (B, C, *S)
    """

    def __init__(
        self, spatial_dims: int, width: int, depth: int, branch_scale: float, *, wrap: bool
    ) -> None:
        super().__init__()
        blocks = (PlainBlock(spatial_dims, width, branch_scale, wrap=wrap) for _ in range(depth))
        self.blocks = Blocks(*blocks)
        self.conv = field_conv(spatial_dims, width, width, 3, wrap=wrap)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C, *S)."""
        y: Tensor = x + self.conv(self.blocks(x))
        return y


class PlainBlock(nn.Module):
    """Two convolutions without norms, around which the map passes.

    Shape:
        (B, C, *S) -> (B, C, *S)
    """

    def __init__(self, spatial_dims: int, width: int, branch_scale: float, *, wrap: bool) -> None:
        super().__init__()
        self.conv1 = field_conv(spatial_dims, width, width, 3, wrap=wrap)
        self.act = nn.ReLU()
        self.conv2 = field_conv(spatial_dims, width, width, 3, wrap=wrap)
        self.branch_scale = branch_scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C, *S)."""
        y: Tensor = x + self.branch_scale * self.conv2(self.act(self.conv1(x)))
        return y


_SOURCE = "Lim et al. 2017, table 1"

VARIANTS = (
    Variant(
        name="edsr_small",
        cls=EDSR,
        keywords={"depth": 8, "width": 32},
        source="our own, after Lim et al. 2017",
        parameters=231_809,
        summary="eight residual blocks of 32 channels without norms",
        year=2017,
    ),
    Variant(
        name="edsr_baseline",
        cls=EDSR,
        keywords={},
        source=_SOURCE,
        parameters=1_515_265,
        summary="sixteen residual blocks of 64 channels without norms",
        year=2017,
    ),
    Variant(
        name="edsr",
        cls=EDSR,
        keywords={"depth": 32, "width": 256, "branch_scale": 0.1},
        source=_SOURCE,
        parameters=43_080_705,
        summary="32 residual blocks of 256 channels without norms",
        year=2017,
    ),
)
