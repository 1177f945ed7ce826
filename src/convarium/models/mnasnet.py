"""MNASNet: a network found by a search that measured every candidate on a phone.

    x -> stem -> stage1 -> stage2 -> stage3 -> stage4 -> stage5 -> final -> mean -> linear
         /2      /2        /4        /8        /16       /32       1x1 conv, norm, relu

    block:  1x1 -> norm -> relu -> depthwise k -> norm -> relu -> 1x1 -> norm -> [+ x]

A search over whole networks is too large unless it repeats one small cell everywhere; but what is
best on a large map with few channels is not best on a small map with many. MNASNet cuts the network
into rows, lets each row choose its own kernel size, expansion, width and depth, and repeats blocks
only within a row. Its reward multiplies accuracy by the measured time to a small negative power, so
that it finds good trades rather than the most accurate network under a fixed limit. The outcome
mixes 3x3 and 5x5 kernels, which no rule of thumb had proposed.

Differs from the paper: these are the B1 networks of the reference code, without gates, where figure
7 draws A1, with gates in three rows; padding is symmetric unless `padding="tf_same"`; the width 1.3
is torchvision's.

References:
    Tan et al. 2018, "MnasNet: platform-aware neural architecture search for mobile",
    arXiv:1807.11626, figure 7 (the rows), eq. 2 (the reward), figure 5 (width multipliers).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, NamedTuple

from torch import nn

from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Blocks,
    ConvNormAct,
    InitialTable,
    InvertedResidual,
    Padding,
    global_average,
    he_normal,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import probability
from convarium.models.scaling import OutputStride, Step, positive, round_to_eight, steps
from convarium.models.variants import Variant


class Row(NamedTuple):
    """Blocks that are alike: one row of the search."""

    expansion: int
    kernel_size: int
    channels: int
    blocks: int


# The rows of B1 by resolution.
_TABLE: Final = (
    (Row(1, 3, 16, 1),),
    (Row(3, 3, 24, 3),),
    (Row(3, 5, 40, 3),),
    (Row(6, 5, 80, 3), Row(6, 3, 96, 2)),
    (Row(6, 5, 192, 4), Row(6, 3, 320, 1)),
)
_STRIDES: Final = (1, 2, 2, 2, 2)

_TORCHVISION: Final = Layout(
    (
        (r"^layers\.0\.", "stem.conv."),
        (r"^layers\.1\.", "stem.norm."),
        (r"^layers\.3\.", "stage1.a0.depthwise.conv."),
        (r"^layers\.4\.", "stage1.a0.depthwise.norm."),
        (r"^layers\.6\.", "stage1.a0.project.conv."),
        (r"^layers\.7\.", "stage1.a0.project.norm."),
        (r"^layers\.(?P<stage>8|9|10)\.", "{stage}.a"),
        (r"^layers\.11\.", "stage4.b"),
        (r"^layers\.12\.", "stage5.a"),
        (r"^layers\.13\.", "stage5.b"),
        (r"^layers\.14\.", "final.conv."),
        (r"^layers\.15\.", "final.norm."),
        (r"\.layers\.0\.", ".expand.conv."),
        (r"\.layers\.1\.", ".expand.norm."),
        (r"\.layers\.3\.", ".depthwise.conv."),
        (r"\.layers\.4\.", ".depthwise.norm."),
        (r"\.layers\.6\.", ".project.conv."),
        (r"\.layers\.7\.", ".project.norm."),
        (r"^classifier\.1\.", "head."),
    ),
    first=7,
)
_TIMM: Final = Layout(
    (
        (r"^conv_stem\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        (r"^conv_head\.", "final.conv."),
        (r"^bn2\.", "final.norm."),
        (r"^classifier\.", "head."),
        (r"^(blocks\.0\.0)\.bn1\.", r"\1.depthwise.norm."),
        (r"^(blocks\.0\.0)\.conv_pw\.", r"\1.project.conv."),
        (r"^(blocks\.0\.0)\.bn2\.", r"\1.project.norm."),
        (r"\.conv_pw\.", ".expand.conv."),
        (r"\.bn1\.", ".expand.norm."),
        (r"\.conv_dw\.", ".depthwise.conv."),
        (r"\.bn2\.", ".depthwise.norm."),
        (r"\.conv_pwl\.", ".project.conv."),
        (r"\.bn3\.", ".project.norm."),
        (r"^blocks\.(?P<stage>[0-3])\.", "{stage}.a"),
        (r"^blocks\.4\.", "stage4.b"),
        (r"^blocks\.5\.", "stage5.a"),
        (r"^blocks\.6\.", "stage5.b"),
    )
)


def uniform_fan_out(module: nn.Module) -> None:
    """Uniform in +-sqrt(3 / outputs), bias 0."""
    nn.init.kaiming_uniform_(module.get_parameter("weight"), mode="fan_out", nonlinearity="sigmoid")
    nn.init.zeros_(module.get_parameter("bias"))


class MNASNet(Classifier):
    """MNASNet B1 of any width.

    Convolutions start with He's normal, fan-out; the head uniform in +-sqrt(3 / num_classes) with
    bias 0, as in torchvision. A stage holds the rows that share a resolution: blocks a0, a1, ... of
    the first, b0, b1, ... of the second.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        width_multiplier: times all channels but those of the last map, rounded to a multiple of 8.
        stem: "imagenet" halves the map; "cifar", for small images, does not.
        output_stride: upper limit of the reduction; later strides become dilation, the weights
            stay the same.
        padding: "same" (symmetric) or "tf_same".
        norm_eps: added to the variance in batch norms.
        norm_momentum: weight of the newest batch in running averages; the paper's is very small.
        dropout: probability, before the head.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: a value out of range, or an option without effect.

    Example:
        >>> model = MNASNet(width_multiplier=0.5, output_stride=16)
        >>> [(stage.channels, stage.reduction) for stage in model.stages]
        [(8, 2), (16, 4), (24, 8), (48, 16), (160, 16)]
    """

    initial: InitialTable = (
        (CONVOLUTIONS, he_normal),
        (NORMS, unit),
        ((nn.Linear,), uniform_fan_out),
    )
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _TIMM}

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        width_multiplier: float = 1.0,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        output_stride: OutputStride = 32,
        padding: Padding = "same",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.0003,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        positive(width_multiplier=width_multiplier, norm_eps=norm_eps)
        probability(norm_momentum=norm_momentum, dropout=dropout)
        first = 2 if stem == "imagenet" else 1
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        norm = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        like: dict[str, Any] = {"padding": padding, "activation": "relu", **norm}
        layer: Callable[..., nn.Module] = partial(ConvNormAct, spatial_dims, **like)

        before = round_to_eight(32 * width_multiplier)
        self.stem = layer(in_channels, before, 3, stride=first)
        stages = []
        places = steps(_STRIDES, first, output_stride)
        for i, (rows, place) in enumerate(zip(_TABLE, places, strict=True), start=1):
            scaled = [
                row._replace(channels=round_to_eight(row.channels * width_multiplier))
                for row in rows
            ]
            self.add_module(f"stage{i}", _stage(layer, before, scaled, place))
            before = scaled[-1].channels
            stages.append(Stage(f"stage{i}", before, place.reduction))
        self.stages = tuple(stages)
        self.final = layer(before, 1280)
        self.heatmap_layer = "final"
        self.neck = global_average(spatial_dims, dropout)
        self.build_head(1280, num_classes)
        self.initialise_weights()


def _stage(
    layer: Callable[..., nn.Module], before: int, rows: Sequence[Row], place: Step
) -> Blocks:
    """The blocks of one resolution; only the first has a stride."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for letter, row in zip("ab", rows, strict=False):
        for k in range(row.blocks):
            stride, dilation = place.at(len(blocks))
            # Only blocks with an expansion have a shortcut, and none that halves the map.
            joined = row.expansion > 1 and not (place.halves and not blocks)
            blocks[f"{letter}{k}"] = InvertedResidual(
                layer,
                before,
                row.channels,
                row.kernel_size,
                expansion=row.expansion,
                stride=stride,
                dilation=dilation,
                residual=joined and before == row.channels,
            )
            before = row.channels
    return Blocks(blocks)


def _row(width: float, parameters: int) -> Variant:
    return Variant(
        name=f"mnasnet{width}".replace(".", "_"),
        cls=MNASNet,
        keywords={"width_multiplier": width},
        source="Tan et al. 2018, B1 of the reference code",
        parameters=parameters,
        summary=f"B1, 17 searched blocks, {width} times the channels",
        year=2018,
    )


VARIANTS: Final = (
    _row(0.5, 2_218_512),
    _row(0.75, 3_170_208),
    _row(1.0, 4_383_312),
    _row(1.3, 6_282_256),
)
