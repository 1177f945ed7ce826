"""U-Net: down to see far, up again beside what was seen on the way, and on to the fine size.

    x -> [conv 3, relu] x 2 ------------------------------ + -> [conv 3, relu] x 2 -> x2 -> ... fine
             pool 2 -> [conv 3, relu] x 2 ---------- + -> [...] -> x2 _|
                          pool 2 -> [conv 3, relu] x 2 -> x2 _|

Half the size and twice the channels at each level: the last one sees far for little work. On the
way up each level reads the map of its own size again, so that no place is lost. The top level is
the coarse field; from there the network goes on in steps to the fine one.

Differs from the paper: convolutions keep the size; the way up starts with an upsampling and a
convolution, or a pixel shuffle, for the paper's transposed convolution; and it goes on beyond the
size of the input. What the last convolution gives is added to the interpolated coarse field, unless
`start` says otherwise.

References:
    Ronneberger, Fischer, Brox 2015, "U-Net: convolutional networks for biomedical image
    segmentation", arXiv:1505.04597, section 2 and figure 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from convarium.layers import (
    CONVOLUTIONS,
    Blocks,
    InitialTable,
    Upsampling,
    UpsamplingKind,
    field_conv,
    he_normal_fan_in,
    make_pool,
    upsampling_steps,
)
from convarium.models.contract import Stage
from convarium.models.fields import FieldToField
from convarium.models.options import at_least
from convarium.models.variants import Variant


class UNet(FieldToField):
    """Levels of two convolutions, down and up again, and on to the fine size.

    Args:
        widths: channels of each level, from the coarse field down.
        upsampling: "shuffle" or "resize", for the steps to the fine size; see `layers.Upsampling`.

    Shape:
        (B, C, *S) -> (B, P T, *(S factor))

    Raises:
        OptionError: no level, or a value below 1.

    Example:
        >>> model = UNet(widths=[4, 8], factor=8, parts="normal")
        >>> model(model.example_input(batch=2, size=6)).shape
        torch.Size([2, 2, 48, 48])
    """

    initial: InitialTable = ((CONVOLUTIONS, he_normal_fan_in),)

    def __init__(
        self,
        *,
        widths: Sequence[int] = (32, 64, 128),
        upsampling: UpsamplingKind = "resize",
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        at_least(1, widths=widths)
        d, wrap, before = self.spatial_dims, self.wrap, self.reader.channels
        self.stem = nn.Identity()
        stages = []
        for level, width in enumerate(widths):
            stage = Blocks(TwoConvs(d, before, width, wrap=wrap))
            if level:
                stage.insert(0, make_pool("max", d))
            self.add_module(f"stage{level + 1}", stage)
            stages.append(Stage(f"stage{level + 1}", width, 2**level))
            before = width
        self.stages = tuple(stages)
        self.smallest_input = 2 ** (len(stages) - 1)
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = WayUp(d, widths, self.factor, upsampling, wrap=wrap)
        self.head = field_conv(d, widths[0], self.writer.channels, 1)
        self.initialise_weights()

    def finer(self, x: Tensor, mask: Tensor | None, fine: Tensor | None) -> Tensor:
        """The map that the head reads: the way up needs the maps of all levels."""
        *maps, last = self.features(x, mask, fine)
        y: Tensor = self.neck(*maps, self.final(last))
        return y


class TwoConvs(nn.Sequential):
    """Two convolutions that keep the size, with ReLUs.

    Shape:
        (B, C_in, *S) -> (B, C_out, *S)
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, *, wrap: bool
    ) -> None:
        super().__init__(
            field_conv(spatial_dims, in_channels, out_channels, 3, wrap=wrap),
            nn.ReLU(),
            field_conv(spatial_dims, out_channels, out_channels, 3, wrap=wrap),
            nn.ReLU(),
        )


class WayUp(nn.Module):
    """From the map of the last level to the size of the first, and on to the fine size.

    Shape:
        (B, C_1, *S), ..., (B, C_n, *(S / 2^(n - 1))) -> (B, C_1, *(S factor))
    """

    def __init__(
        self,
        spatial_dims: int,
        widths: Sequence[int],
        factor: Sequence[int],
        upsampling: UpsamplingKind,
        *,
        wrap: bool,
    ) -> None:
        super().__init__()
        d, below = spatial_dims, list(pairwise(widths))[::-1]
        self.smaller = nn.ModuleList(
            field_conv(d, wide, width, 3, wrap=wrap) for width, wide in below
        )
        self.levels = nn.ModuleList(
            Blocks(TwoConvs(d, 2 * width, width, wrap=wrap)) for width, _ in below
        )
        top = widths[0]
        steps: list[nn.Module] = []
        for step in upsampling_steps(factor):
            steps.append(Upsampling(d, top, step, upsampling, wrap=wrap))
            steps.append(Blocks(TwoConvs(d, top, top, wrap=wrap)))
        self.steps = nn.Sequential(*steps)

    def forward(self, *maps: Tensor) -> Tensor:
        """Map the levels' maps, from the first to the last, to (B, C_1, *F)."""
        y, beside = maps[-1], maps[-2::-1]
        for conv, level, skip in zip(self.smaller, self.levels, beside, strict=True):
            y = nn.functional.interpolate(y, size=skip.shape[2:], mode="nearest")
            y = level(torch.cat([skip, conv(y)], 1))
        z: Tensor = self.steps(y)
        return z


VARIANTS = (
    Variant(
        name="unet",
        cls=UNet,
        keywords={},
        source="Ronneberger et al. 2015, figure 1, with three levels and half the channels",
        parameters=572_641,
        summary="two convolutions a level, down and up again, and on to the fine size",
        year=2015,
    ),
)
