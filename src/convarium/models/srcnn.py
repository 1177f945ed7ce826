"""SRCNN: interpolate, and let three convolutions correct the result.

    x (B, C, *S) -> bicubic, F = S factor -> [conv 9 -> relu -> conv 1 -> relu] -> conv 5 (B, T, *F)

The first network for finer images, and the plainest: it works at the fine size from the start, so
that each coarse cell costs as many multiply-adds as the factor has fine cells, and what the
interpolation has blurred is what it reads. The three convolutions find patches, map them, and put
the field together.

Differs from the paper: convolutions keep the size, where the paper's cut the border off.

References:
    Dong, Loy, He, Tang 2014, "Image super-resolution using deep convolutional networks",
    arXiv:1501.00092, sections 3.1 and 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import nn

from convarium.errors import OptionError
from convarium.layers import (
    CONVOLUTIONS,
    Blocks,
    InitialTable,
    field_conv,
    make_activation,
    tiny_normal,
)
from convarium.models.contract import Stage
from convarium.models.fields import FieldToField
from convarium.models.options import at_least
from convarium.models.variants import Variant


class SRCNN(FieldToField):
    """Three convolutions behind an interpolation.

    Args:
        channels: of the first two convolutions.
        kernel_sizes: of the three convolutions.

    Shape:
        (B, C, *S) -> (B, P T, *(S factor))

    Raises:
        OptionError: lists of other lengths, or a value out of range.

    Example:
        >>> model = SRCNN(factor=[2, 4], constraint="additive")
        >>> model(model.example_input(batch=2, size=8)).shape
        torch.Size([2, 1, 16, 32])
    """

    initial: InitialTable = ((CONVOLUTIONS, tiny_normal),)
    interpolates_first: ClassVar[bool] = True

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 32),
        kernel_sizes: Sequence[int] = (9, 1, 5),
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        _check_lengths(channels, kernel_sizes)
        d, wrap = self.spatial_dims, self.wrap
        first, second = channels
        self.stem = nn.Identity()
        mapping = nn.Sequential(
            field_conv(d, self.reader.channels, first, kernel_sizes[0], wrap=wrap),
            make_activation("relu"),
            field_conv(d, first, second, kernel_sizes[1], wrap=wrap),
            make_activation("relu"),
        )
        self.stage1 = Blocks(mapping)
        self.stages = (Stage("stage1", second, 1),)
        self.heatmap_layer = "stage1"
        self.final = nn.Identity()
        self.neck = nn.Identity()
        self.head = field_conv(d, second, self.writer.channels, kernel_sizes[2], wrap=wrap)
        self.initialise_weights()


def _check_lengths(channels: Sequence[int], kernel_sizes: Sequence[int]) -> None:
    """Refuse other than two numbers of channels and three kernels."""
    at_least(1, channels=channels, kernel_sizes=kernel_sizes)
    if len(channels) != 2 or len(kernel_sizes) != 3:
        raise OptionError(
            f"channels (={list(channels)}) must have 2 numbers and kernel_sizes "
            f"(={list(kernel_sizes)}) 3, for three convolutions."
        )


VARIANTS = (
    Variant(
        name="srcnn",
        cls=SRCNN,
        keywords={"start": "none"},
        source="Dong et al. 2014, section 4.1 (9-1-5)",
        parameters=8_129,
        summary="interpolated first, then three convolutions",
        year=2014,
    ),
)
