"""VGG: depth from 3x3 convolutions alone, with and without batch norm.

    x -> [conv3 -> (norm) -> relu] x depth -> pool 2 -> [...] -> mean to 7x7
         stage1 /2        stage2 /4 ...         stage5 /32
      -> linear 4096 -> relu -> dropout -> linear 4096 -> relu -> dropout -> linear

A large kernel can be taken apart. Two 3x3 convolutions in a row see the same 5x5 field as one 5x5
convolution, with 18 weights instead of 25 for each pair of channels; three see 7x7 with 27 instead
of 49; and there is a ReLU between them, so the same field is judged by a richer function. That
leaves one choice, how many of them to stack: after every pool the map is half as large and, up to
512, twice as wide. The price is paid elsewhere, as the first dense layer alone holds 103 million
weights.

Differs from the paper: weights start by He's rule, and normal with standard deviation 0.01 in
dense layers, where the paper copied layers of a trained shallow network into the deep ones; the
rows `*_bn` have a batch norm after each convolution (which keeps its bias, as published), so that
deep ones train from scratch; the mean to 7x7 lets the network read other sizes than 224.

References:
    Simonyan and Zisserman 2014, "Very deep convolutional networks for large-scale image
    recognition", arXiv:1409.1556, table 1 (columns A, B, D and E), section 2.3 (why 3x3).
    Ioffe and Szegedy 2015, "Batch normalization", arXiv:1502.03167.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from torch import nn

from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Blocks,
    InitialTable,
    Norm,
    he_normal,
    make_conv,
    make_norm,
    make_pool,
    small_normal,
    torch_layers,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, block_counts, equal_lengths, probability
from convarium.models.variants import Variant

_FEATURES: Final = (r"^features\.(?P<layer>\d+)\.", "{layer}.")
_TORCHVISION: Final = Layout(
    (
        _FEATURES,
        (r"^classifier\.0\.", "neck.linear1."),
        (r"^classifier\.3\.", "neck.linear2."),
        (r"^classifier\.6\.", "head."),
    )
)
_TIMM: Final = Layout(
    (_FEATURES, (r"^pre_logits\.fc(\d)\.", r"neck.linear\1."), (r"^head\.fc\.", "head."))
)


class VGG(Classifier):
    """Stages of 3x3 convolutions with a pool at the end of each, and three dense layers.

    A stage is one block for gradient checkpointing: only what enters it is kept.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the last layer out.
        depths: convolutions in each stage.
        widths: channels of each stage. Each stage halves the map, so inputs must have
            2 to the number of stages positions or more; small images want fewer stages.
        norm: after each convolution; they have biases in any case.
        pooled_size: positions along each axis that the dense layers read.
        dense_width: outputs of the two hidden dense layers.
        dropout: probability, on what leaves the hidden dense layers.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: lists of different lengths or a value out of range.

    Example:
        >>> small = VGG(depths=[1, 2], widths=[16, 32], pooled_size=2, dense_width=64)
        >>> [(stage.name, stage.channels, stage.reduction) for stage in small.stages]
        [('stage1', 16, 2), ('stage2', 32, 4)]
    """

    initial: InitialTable = (
        (CONVOLUTIONS, he_normal),
        (NORMS, unit),
        ((nn.Linear,), small_normal),
    )
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _TIMM}

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: Sequence[int] = (1, 1, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        norm: Norm = "none",
        pooled_size: int = 7,
        dense_width: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        block_counts(depths=depths)
        at_least(1, widths=widths, pooled_size=pooled_size, dense_width=dense_width)
        equal_lengths(depths=depths, widths=widths)
        probability(dropout=dropout)

        self.stem = nn.Identity()
        before, stages = in_channels, []
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            self.add_module(f"stage{i}", Blocks(_stage(spatial_dims, before, width, depth, norm)))
            stages.append(Stage(f"stage{i}", width, 2**i))
            before = width
        self.stages = tuple(stages)
        self.smallest_input = stages[-1].reduction

        self.final = nn.Identity()
        self.heatmap_layer = stages[-1].name
        self.neck = _dense(spatial_dims, before, pooled_size, dense_width, dropout)
        self.build_head(dense_width, num_classes)
        self.initialise_weights()


def _stage(spatial_dims: int, before: int, width: int, depth: int, norm: Norm) -> nn.Sequential:
    parts = OrderedDict[str, nn.Module]()
    for i in range(1, depth + 1):
        parts[f"conv{i}"] = make_conv(spatial_dims, before, width, 3, bias=True)
        if norm != "none":
            parts[f"norm{i}"] = make_norm(norm, width, spatial_dims)
        parts[f"act{i}"] = nn.ReLU()
        before = width
    parts["pool"] = make_pool("max", spatial_dims)
    return nn.Sequential(parts)


def _dense(
    spatial_dims: int, channels: int, pooled_size: int, width: int, dropout: float
) -> nn.Sequential:
    """The last map to a vector of `width` numbers."""
    parts = OrderedDict[str, nn.Module](
        pool=torch_layers(spatial_dims).adaptive_avg_pool(pooled_size),
        flatten=nn.Flatten(1),
        linear1=nn.Linear(channels * pooled_size**spatial_dims, width),
        act1=nn.ReLU(),
        dropout1=nn.Dropout(dropout),
        linear2=nn.Linear(width, width),
        act2=nn.ReLU(),
        dropout2=nn.Dropout(dropout),
    )
    return nn.Sequential(parts)


# Layers with weights, column of table 1, parameters, those of the batch norms, depths.
_TABLE: Final = (
    (11, "A", 132_863_336, 5_504, (1, 1, 2, 2, 2)),
    (13, "B", 133_047_848, 5_888, (2, 2, 2, 2, 2)),
    (16, "D", 138_357_544, 8_448, (2, 2, 3, 3, 3)),
    (19, "E", 143_667_240, 11_008, (2, 2, 4, 4, 4)),
)

VARIANTS: Final = (
    *(
        Variant(
            name=f"vgg{layers}",
            cls=VGG,
            keywords={"depths": depths},
            source=f"Simonyan and Zisserman 2014, table 1, column {column}",
            parameters=parameters,
            summary=f"{layers} layers with weights",
            year=2014,
        )
        for layers, column, parameters, _, depths in _TABLE
    ),
    *(
        Variant(
            name=f"vgg{layers}_bn",
            cls=VGG,
            keywords={"depths": depths, "norm": "batch"},
            source=f"Simonyan and Zisserman 2014, table 1, column {column}, with batch norm",
            parameters=parameters + norms,
            summary=f"{layers} layers with weights, batch norm",
            year=2014,
        )
        for layers, column, parameters, norms, depths in _TABLE
    ),
)
