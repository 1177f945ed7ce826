"""ESPCN: all work at the coarse size, and the channels of the last convolution become fine cells.

    x (B, C, *S) -> [conv 5 -> tanh -> conv 3 -> tanh] -> conv 3 (B, T r^d, *S) -> pixel shuffle

Against a network that interpolates first, each convolution has as many multiply-adds less as the
factor has fine cells, and filters of its own for each of these cells replace the interpolation.

References:
    Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", arXiv:1609.05158, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from convarium.errors import OptionError
from convarium.layers import Blocks, PixelShuffle, UpsamplingKind, field_conv, make_activation
from convarium.models.contract import Stage
from convarium.models.fields import FieldToField
from convarium.models.options import at_least
from convarium.models.variants import Variant


class ESPCN(FieldToField):
    """Three convolutions on the coarse field, and a pixel shuffle.

    Args:
        channels: of the first two convolutions.
        kernel_sizes: of the three convolutions.
        upsampling: "shuffle", or "resize": the map is made finer by repeating its positions, and
            the last convolution works at the fine size.

    Shape:
        (B, C, *S) -> (B, P T, *(S factor))

    Raises:
        OptionError: lists of other lengths, or a value out of range.

    Example:
        >>> model = ESPCN(factor=2, wrap=True)
        >>> model(model.example_input(batch=2, size=(8, 12))).shape
        torch.Size([2, 1, 16, 24])
    """

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 32),
        kernel_sizes: Sequence[int] = (5, 3, 3),
        upsampling: UpsamplingKind = "shuffle",
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        at_least(1, channels=channels, kernel_sizes=kernel_sizes)
        if len(channels) + 1 != len(kernel_sizes):
            raise OptionError(
                f"kernel_sizes (={list(kernel_sizes)}) must have one number more than channels "
                f"(={list(channels)}): the last is the head's."
            )
        d, wrap, before = self.spatial_dims, self.wrap, self.reader.channels
        layers: list[nn.Module] = []
        for width, size in zip(channels, kernel_sizes[:-1], strict=True):
            layers += [field_conv(d, before, width, size, wrap=wrap), make_activation("tanh")]
            before = width
        self.stem = nn.Identity()
        self.stage1 = Blocks(nn.Sequential(*layers))
        self.stages = (Stage("stage1", before, 1),)
        self.heatmap_layer = "stage1"
        self.final = nn.Identity()
        self.neck, self.head = nn.Identity(), nn.Sequential()
        if upsampling == "resize":
            scale = tuple(float(r) for r in self.factor)
            self.neck = nn.Upsample(scale_factor=scale, mode="nearest")
        inner = 1 if upsampling == "resize" else prod(self.factor)
        outputs = self.writer.channels * inner
        self.head.append(field_conv(d, before, outputs, kernel_sizes[-1], wrap=wrap))
        if upsampling == "shuffle":
            self.head.append(PixelShuffle(self.factor))
        self.initialise_weights()


VARIANTS = (
    Variant(
        name="espcn",
        cls=ESPCN,
        keywords={"start": "none"},
        source="Shi et al. 2016, section 3.2 (5-3-3)",
        parameters=24_752,
        summary="three convolutions on the coarse field, and a pixel shuffle",
        year=2016,
    ),
)
