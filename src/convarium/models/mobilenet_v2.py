"""MobileNet V2: blocks that are wide inside and narrow where they meet.

    x -> stem -> stage1 -> stage2 -> stage3 -> stage4 -> stage5 -> final -> mean -> linear
         /2      /2        /4        /8        /16       /32       1x1 conv, norm, relu6

    block:  1x1 -> norm -> relu6 -> depthwise 3x3 -> norm -> relu6 -> 1x1 -> norm -> [+ x]

A ReLU throws away half of each direction it acts on, which hurts most where channels are few; yet
few channels are enough to carry what a layer knows on to the next. So each block widens its input
sixfold, does its non-linear work there with cheap depthwise filters, and comes back to few channels
without an activation. The narrow ends, not the wide middle, are joined by the shortcut: little has
to be kept in memory at any time, and the gradient passes through every block.

Differs from the paper: padding is symmetric unless `padding="tf_same"`; batch norms have torch's
eps and momentum (1e-5, .1), as the PyTorch weights were trained; `depth_multiplier` and
`fixed_ends` are those of timm's deeper networks, not the paper's.

References:
    Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks",
    arXiv:1801.04381, table 2 (the network), figure 3 (b) (the block).
    Wightman 2020, timm, https://github.com/huggingface/pytorch-image-models, mobilenetv2_110d and
    mobilenetv2_120d.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, NamedTuple

from torch import nn

from convarium.errors import OptionError
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
    small_normal,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import probability
from convarium.models.scaling import OutputStride, Step, positive, round_to_eight, steps
from convarium.models.variants import Variant


class Row(NamedTuple):
    """A row of table 2: blocks that are alike."""

    expansion: int
    channels: int
    blocks: int


# Table 2 by resolution.
_TABLE: Final = (
    (Row(1, 16, 1),),
    (Row(6, 24, 2),),
    (Row(6, 32, 3),),
    (Row(6, 64, 4), Row(6, 96, 3)),
    (Row(6, 160, 3), Row(6, 320, 1)),
)
_STRIDES: Final = (1, 2, 2, 2, 2)

# The first block has no expansion, so that its numbers count from elsewhere.
_TORCHVISION: Final = Layout(
    (
        (r"^features\.0\.", "stem."),
        (r"^features\.1\.conv\.0\.", "features.1.depthwise."),
        (r"^features\.1\.conv\.1\.", "features.1.project.conv."),
        (r"^features\.1\.conv\.2\.", "features.1.project.norm."),
        (r"\.conv\.0\.", ".expand."),
        (r"\.conv\.1\.", ".depthwise."),
        (r"\.conv\.2\.", ".project.conv."),
        (r"\.conv\.3\.", ".project.norm."),
        (r"^features\.(?P<block>\d+)\.", "{block}."),
        (r"(stem|expand|depthwise|final)\.0\.", r"\1.conv."),
        (r"(stem|expand|depthwise|final)\.1\.", r"\1.norm."),
        (r"^classifier\.1\.", "head."),
    ),
    first=1,
)
_TIMM: Final = Layout(
    (
        (r"^conv_stem\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        (r"^conv_head\.", "final.conv."),
        (r"^bn2\.", "final.norm."),
        (r"^classifier\.", "head."),
        (r"^(blocks\.0\.\d+)\.bn1\.", r"\1.depthwise.norm."),
        (r"^(blocks\.0\.\d+)\.conv_pw\.", r"\1.project.conv."),
        (r"^(blocks\.0\.\d+)\.bn2\.", r"\1.project.norm."),
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


class MobileNetV2(Classifier):
    """MobileNet V2 of any width and depth.

    Convolutions start with He's normal, fan-out; the head with a normal of deviation .01 and bias
    0, as in torchvision. A stage holds the rows of table 2 that share a resolution: blocks a0, a1,
    ... of its first row, b0, b1, ... of its second.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        width_multiplier: times all channels, rounded to a multiple of 8; the last map has 1280
            channels at least.
        depth_multiplier: times the blocks of each row, rounded up.
        fixed_ends: the multipliers leave the channels of the stem and of the last map, and the
            blocks of the first and last row, as they are.
        stem: "imagenet" halves the map; "cifar", for small images, does not.
        output_stride: upper limit of the reduction; later strides become dilation, the weights
            stay the same.
        padding: "same" (symmetric) or "tf_same".
        norm_eps: added to the variance in batch norms.
        norm_momentum: weight of the newest batch in running averages.
        dropout: probability, before the head.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: a value out of range, or an option without effect.

    Example:
        >>> model = MobileNetV2(width_multiplier=0.5, output_stride=8)
        >>> [(stage.channels, stage.reduction) for stage in model.stages]
        [(8, 2), (16, 4), (16, 8), (48, 8), (160, 8)]
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
        width_multiplier: float = 1.0,
        depth_multiplier: float = 1.0,
        fixed_ends: bool = False,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        output_stride: OutputStride = 32,
        padding: Padding = "same",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        positive(width_multiplier=width_multiplier, depth_multiplier=depth_multiplier)
        positive(norm_eps=norm_eps)
        probability(norm_momentum=norm_momentum, dropout=dropout)
        if fixed_ends and width_multiplier == depth_multiplier == 1.0:
            raise OptionError(
                "fixed_ends (=True) has no effect without a multiplier; "
                "give width_multiplier or depth_multiplier, or leave it out."
            )
        first = 2 if stem == "imagenet" else 1
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        norm = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        like: dict[str, Any] = {"padding": padding, "activation": "relu6", **norm}
        layer: Callable[..., nn.Module] = partial(ConvNormAct, spatial_dims, **like)

        ends = 1.0 if fixed_ends else width_multiplier
        before = round_to_eight(32 * ends)
        self.stem = layer(in_channels, before, 3, stride=first)
        stages = []
        table = _scaled(width_multiplier, depth_multiplier, fixed_ends)
        places = steps(_STRIDES, first, output_stride)
        for i, (rows, place) in enumerate(zip(table, places, strict=True), start=1):
            self.add_module(f"stage{i}", _stage(layer, before, rows, place))
            before = rows[-1].channels
            stages.append(Stage(f"stage{i}", before, place.reduction))
        self.stages = tuple(stages)
        after = round_to_eight(1280 * max(1.0, ends))
        self.final = layer(before, after)
        self.heatmap_layer = "final"
        self.neck = global_average(spatial_dims, dropout)
        self.build_head(after, num_classes)
        self.initialise_weights()


def _scaled(width: float, depth: float, fixed_ends: bool) -> list[list[Row]]:
    """The table with its multipliers."""
    ends = (_TABLE[0][0], _TABLE[-1][-1]) if fixed_ends else ()
    return [
        [
            Row(
                row.expansion,
                round_to_eight(row.channels * width),
                row.blocks if row in ends else math.ceil(row.blocks * depth),
            )
            for row in rows
        ]
        for rows in _TABLE
    ]


def _stage(
    layer: Callable[..., nn.Module], before: int, rows: Sequence[Row], place: Step
) -> Blocks:
    """The blocks of one resolution; only the first has a stride."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    for letter, row in zip("ab", rows, strict=False):
        for k in range(row.blocks):
            stride, dilation = place.at(len(blocks))
            halves = place.halves and not blocks
            blocks[f"{letter}{k}"] = InvertedResidual(
                layer,
                before,
                row.channels,
                expansion=row.expansion,
                stride=stride,
                dilation=dilation,
                residual=before == row.channels and not halves,
            )
            before = row.channels
    return Blocks(blocks)


def _row(
    name: str, parameters: int, summary: str, source: str, year: int, **keywords: Any
) -> Variant:
    return Variant(name, MobileNetV2, keywords, source, parameters, summary, year)


_DEEP: Final = "Wightman 2020, timm"

VARIANTS: Final = (
    _row("mobilenet_v2", 3_504_872, "17 inverted residuals", "Sandler et al. 2018, table 2", 2018),
    _row(
        "mobilenet_v2_110d",
        4_516_520,
        "1.1 times as wide, 1.2 times as deep",
        _DEEP,
        2020,
        width_multiplier=1.1,
        depth_multiplier=1.2,
        fixed_ends=True,
    ),
    _row(
        "mobilenet_v2_120d",
        5_831_144,
        "1.2 times as wide, 1.4 times as deep",
        _DEEP,
        2020,
        width_multiplier=1.2,
        depth_multiplier=1.4,
        fixed_ends=True,
    ),
)
