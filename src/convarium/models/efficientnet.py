"""EfficientNet B0 to B7, Lite0 to Lite4 and EfficientNetV2: small nets scaled as a whole.

    x -> stem -> stage1 -> stage2 -> stage3 -> stage4 -> stage5 -> final -> mean -> linear
         /2      /2        /4        /8        /16       /32       1x1 conv, norm, activation

More layers, more channels and larger images each make a network better, and each alone soon stops
paying: a larger image needs more layers to be seen as a whole and more channels for finer patterns.
EfficientNet grows the three together at a fixed exchange rate, from a small net, B0, that a search
found by weighing accuracy against multiply-adds. Version 2 measured that depthwise convolutions are
slow on large maps in spite of their few multiply-adds, and starts with full ones. Lite leaves out
the gates and SiLU, slow on small devices.

Differs from the paper: padding is symmetric unless `padding="tf_same"` (Lite has it), and the batch
norms of B0 to B4 have eps 1e-5 and momentum .1, as in torchvision, and those of Lite 1e-3 and .1,
as in timm, where the reference code has 1e-3 and .01.

References:
    Tan, Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks",
    arXiv:1905.11946, table 1 (B0), eq. 3 (scaling), table 2 (B0 to B7).
    Tan, Le 2021, "EfficientNetV2: smaller models and faster training", arXiv:2104.00298, table 4.
    Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, NamedTuple

from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers import (
    Blocks,
    ConvNormAct,
    DropPath,
    InitialTable,
    Padding,
    SqueezeExcitation,
    drop_path_rates,
    global_average,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, block_counts, equal_lengths, probability
from convarium.models.scaling import OutputStride, positive, round_to_eight, steps
from convarium.models.variants import Variant

Options = Mapping[str, Any]

# The blocks of stage1 have no expansion: what comes second elsewhere is their first part.
_TORCHVISION: Final = (
    (r"^classifier\.1\.", "head."),
    (r"^features\.0\.", "stem."),
    (r"^features\.(?P<stage>[1-4])\.(\d+)\.block\.", r"{stage}.a\2."),
    (r"^features\.5\.(\d+)\.block\.", r"stage4.b\1."),
    (r"^features\.6\.(\d+)\.block\.", r"stage5.a\1."),
    (r"^features\.7\.(\d+)\.block\.", r"stage5.b\1."),
    (r"^features\.\d\.", "final."),
    (r"\.\d\.fc1\.", ".gate.reduce."),
    (r"\.\d\.fc2\.", ".gate.expand."),
    (r"^(fused.\.\w+(?=\.1)|stage1\.\w+(?=\.2)|\w+\.\w+(?=\.3))\.\d\.(\d)", r"\1.project.\2"),
    (r"^(stage1\.\w+(?=\.0)|\w+\.\w+(?=\.1))\.\d\.(\d)", r"\1.depthwise.\2"),
    (r"^(\w+\.\w+)\.0\.(\d)", r"\1.expand.\2"),
    (r"\.0\.(\w+)$", r".conv.\1"),
    (r"\.1\.(\w+)$", r".norm.\1"),
)
_ENDS: Final = (
    (r"^_?conv_stem\.", "stem.conv."),
    (r"^(_bn0|bn1)\.", "stem.norm."),
    (r"^_?conv_head\.", "final.conv."),
    (r"^(_bn1|bn2)\.", "final.norm."),
    (r"^(classifier|_fc)\.", "head."),
)
_TIMM: Final = (
    *_ENDS,
    (r"^blocks\.(?P<stage>[0-3])\.", "{stage}.a"),
    (r"^blocks\.4\.", "stage4.b"),
    (r"^blocks\.5\.", "stage5.a"),
    (r"^blocks\.6\.", "stage5.b"),
    (r"\.conv_pwl\.|(?<=^stage1\.a\d)\.conv_pw\.", ".project.conv."),
    (r"\.bn3\.|(?<=^(?:stage1|fused\d)\.a\d)\.bn2\.", ".project.norm."),
    (r"(?<=\d)\.conv(_exp|_pw)?\.", ".expand.conv."),
    (r"\.bn2\.|(?<=^stage1\.a\d)\.bn1\.", ".depthwise.norm."),
    (r"\.bn1\.", ".expand.norm."),
    (r"\.conv_dw\.", ".depthwise.conv."),
    (r"\.se\.conv_", ".gate."),
)
_LITE: Final = (
    *_ENDS,
    (r"^_blocks\.(?P<block>\d+)\.", "{block}."),
    (r"\._(expand|depthwise|project)_conv\.", r".\1.conv."),
    (r"\._bn0\.", ".expand.norm."),
    (r"\._bn1\.", ".depthwise.norm."),
    (r"\._bn2\.", ".project.norm."),
)


class Row(NamedTuple):
    """A row of the paper's table: blocks that are alike."""

    fused: bool
    expansion: int
    kernel_size: int
    channels: int
    blocks: int


class MBConv(nn.Sequential):
    """Inverted residual block: wide inside, narrow where blocks meet.

        x -> 1x1 to e C -> depthwise k, stride s -> gate -> 1x1 to C' -> drop path -> [+ x]
        x -> k to e C, stride s                          -> 1x1 to C' -> drop path -> [+ x]   fused

    Each convolution has its norm and, but for the last 1x1, the activation. With e = 1 there is no
    1x1 to e C, and a fused block is one convolution k to C'. Gates squeeze to a quarter of C, the
    INPUT's channels.

    Shape:
        (B, C, *S) -> (B, C', *ceil(S / s))

    References:
        Sandler et al. 2018, arXiv:1801.04381, figure 3 (b); with a gate: Tan et al. 2018,
        arXiv:1807.11626, figure 7; fused: Tan and Le 2021, arXiv:2104.00298, figure 2.
    """

    def __init__(
        self, options: Options, before: int, row: Row, residual: bool, drop_path: float, **at: Any
    ) -> None:
        super().__init__()
        self.residual = residual
        layer, inside, expanded = _layer(options), before * row.expansion, row.expansion > 1
        if row.fused:
            full = inside if expanded else row.channels
            self.expand = layer(before, full, row.kernel_size, **at)
        elif expanded:
            self.expand = layer(before, inside)
        if not row.fused:
            self.depthwise = layer(inside, inside, row.kernel_size, groups=inside, **at)
        if not row.fused and not options["lite"]:
            quarter, rank = max(before // 4, 1), options["spatial_dims"]
            self.gate = SqueezeExcitation(rank, inside, quarter, activation="silu")
        if expanded or not row.fused:
            self.project = layer(inside, row.channels, activation=None)
        self.drop_path = DropPath(drop_path if residual else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C', *S')."""
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self.residual else y


def uniform_fan_out(linear: nn.Module) -> None:
    """Uniform in +-1 / sqrt(outputs), bias 0: the head of the reference code."""
    bound = 1.0 / math.sqrt(linear.get_parameter("weight").shape[0])
    nn.init.uniform_(linear.get_parameter("weight"), -bound, bound)
    nn.init.zeros_(linear.get_parameter("bias"))


class EfficientNet(Classifier):
    """EfficientNet of both versions, and Lite.

    Convolutions start with He's normal, fan-out; the head uniform in +-1 / sqrt(num_classes);
    biases at 0. A stage holds the rows of the table that share a resolution: blocks a0, a1, ... of
    its first row, b0, b1, ... of its second.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        version: 1; 2 has other expansions and kernels, and fused blocks in stages fused1 to fused3.
        widths: channels of each row of the table, seven or fewer.
        depths: blocks of each row.
        width_multiplier: times all channels, rounded to a multiple of 8.
        depth_multiplier: times the blocks of each row, rounded up.
        resolution: positions along each axis that the network is made for (cifar stem: 32).
        lite: ReLU6 for SiLU, no gates, and the multipliers leave the channels of the stem and of
            the last map, and the blocks of the first and last row, as they are.
        stem: "imagenet" halves the map; "cifar", for small images, does not.
        output_stride: limit of the reduction: later strides become dilation of the same weights.
        padding: "same" (symmetric) or "tf_same".
        norm_eps: added to the variance in batch norms.
        norm_momentum: weight of the newest batch in running averages.
        dropout: probability, before the head.
        drop_path: times i / n, the probability of leaving out block i of n, counted from 0.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: lists of different lengths, a value out of range, or an option without effect.

    Example:
        >>> model = EfficientNet(width_multiplier=0.5, output_stride=16)
        >>> [(stage.channels, stage.reduction) for stage in model.stages]
        [(8, 2), (16, 4), (24, 8), (56, 16), (160, 16)]
    """

    initial: InitialTable = (((nn.Linear,), uniform_fan_out), *Classifier.initial)
    layouts: ClassVar[Mapping[str, Layout]] = {
        "torchvision": Layout(_TORCHVISION, first=1),
        "timm": Layout(_TIMM),
        "efficientnet_lite": Layout(_LITE),
    }

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        version: Literal[1, 2] = 1,
        widths: Sequence[int] = (16, 24, 40, 80, 112, 192, 320),
        depths: Sequence[int] = (1, 2, 2, 3, 3, 4, 1),
        width_multiplier: float = 1.0,
        depth_multiplier: float = 1.0,
        resolution: int = 224,
        lite: bool = False,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        output_stride: OutputStride = 32,
        padding: Padding = "same",
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        dropout: float = 0.2,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        positive(width_multiplier=width_multiplier, depth_multiplier=depth_multiplier)
        positive(norm_eps=norm_eps)
        probability(norm_momentum=norm_momentum, dropout=dropout, drop_path=drop_path)
        options, first = self.config, 2 if stem == "imagenet" else 1
        layer = _layer(options)
        self.input_size = (resolution if stem == "imagenet" else 32,) * spatial_dims
        table, ends = _table(options), 1.0 if lite else width_multiplier
        before = round_to_eight(ends * (32 if version == 1 else widths[0]))
        last = round_to_eight(ends * 1280)

        self.stem = layer(in_channels, before, 3, stride=first)
        parts = dict(_stages(options, table, before, first))
        for stage, blocks in parts.items():
            self.add_module(stage.name, blocks)
        self.stages = tuple(parts)
        self.final = layer(self.stages[-1].channels, last)
        self.heatmap_layer = "final"
        self.neck = global_average(spatial_dims, dropout)
        self.build_head(last, num_classes)
        self.initialise_weights()


# Of each row, by version: is it among the fused ones, its expansion, its kernel size.
_FUSED: Final = {1: 0, 2: 3}
_EXPANSIONS: Final = {1: (1, 6, 6, 6, 6, 6, 6), 2: (1, 4, 4, 4, 6, 6, 6)}
_KERNELS: Final = {1: (3, 3, 5, 3, 5, 5, 3), 2: (3, 3, 3, 3, 3, 3, 3)}
_STRIDES: Final = (1, 2, 2, 2, 2)  # of each stage


def _table(options: Options) -> list[list[Row]]:
    """The rows of each stage, with their multipliers."""
    version, widths, depths = (options[name] for name in ("version", "widths", "depths"))
    at_least(1, resolution=options["resolution"], widths=widths, depths=depths)
    equal_lengths(widths=widths, depths=depths)
    if len(widths) > 7:
        raise OptionError(f"widths (={widths}) must have at most 7 entries, one a row.")
    rows = []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        kept = options["lite"] and i in (0, len(widths) - 1)
        blocks = depth if kept else math.ceil(depth * options["depth_multiplier"])
        channels = round_to_eight(width * options["width_multiplier"])
        kind = (i < _FUSED[version], _EXPANSIONS[version][i], _KERNELS[version][i])
        rows.append(Row(*kind, channels, blocks))
    block_counts(**{"depths times depth_multiplier": [row.blocks for row in rows]})
    stages = [rows[:1], rows[1:2], rows[2:3], rows[3:5], rows[5:]]
    return [stage for stage in stages if stage]


def _layer(options: Options) -> Callable[..., nn.Module]:
    """What makes convolution -> norm -> activation, as the network's options say."""
    return partial(
        ConvNormAct,
        options["spatial_dims"],
        padding=options["padding"],
        norm_eps=options["norm_eps"],
        norm_momentum=options["norm_momentum"],
        activation="relu6" if options["lite"] else "silu",
    )


def _stages(
    options: Options, table: Sequence[Sequence[Row]], before: int, first: int
) -> Iterator[tuple[Stage, Blocks]]:
    """Each stage with its blocks, of which only the first has a stride."""
    n = sum(row.blocks for rows in table for row in rows)
    rates = iter(drop_path_rates(options["drop_path"], n + 1))
    places = steps(_STRIDES[: len(table)], first, options["output_stride"])
    for i, (rows, place) in enumerate(zip(table, places, strict=True), start=1):
        blocks = Blocks()
        for letter, row in zip("ab", rows, strict=False):
            for k in range(row.blocks):
                joined = before == row.channels and (len(blocks) > 0 or not place.halves)
                at = dict(zip(("stride", "dilation"), place.at(len(blocks)), strict=True))
                block = MBConv(options, before, row, joined, next(rates), **at)
                blocks.add_module(f"{letter}{k}", block)
                before = row.channels
        yield Stage(f"{'fused' if rows[0].fused else 'stage'}{i}", before, place.reduction), blocks


_SOURCES: Final = {
    "b": (2019, "Tan and Le 2019, table 2; multipliers of its reference code"),
    "l": (2020, "Liu 2020, its reference code"),
    "v": (2021, "Tan and Le 2021, table 4"),
}
_REFERENCE: Final = {"norm_eps": 1e-3, "norm_momentum": 0.01}
_LITE0: Final = {"lite": True, "padding": "tf_same", "norm_eps": 1e-3}
_V2: Final = {"version": 2, "norm_eps": 1e-3}
_S: Final = {"widths": (24, 48, 64, 128, 160, 256), "depths": (2, 4, 4, 6, 9, 15), **_V2}
_M: Final = {"widths": (24, 48, 80, 160, 176, 304, 512), "depths": (3, 5, 5, 7, 14, 18, 5), **_V2}
_L: Final = {"widths": (32, 64, 96, 192, 224, 384, 640), "depths": (4, 7, 7, 10, 19, 25, 7), **_V2}
_SIZES: Final = ("resolution", "dropout", "width_multiplier", "depth_multiplier")
_ROWS: Final[Sequence[tuple[Any, ...]]] = (
    ("b0", 5_288_548, {}, 224, 0.2, 1.0, 1.0),
    ("b1", 7_794_184, {}, 240, 0.2, 1.0, 1.1),
    ("b2", 9_109_994, {}, 260, 0.3, 1.1, 1.2),
    ("b3", 12_233_232, {}, 300, 0.3, 1.2, 1.4),
    ("b4", 19_341_616, {}, 380, 0.4, 1.4, 1.8),
    ("b5", 30_389_784, _REFERENCE, 456, 0.4, 1.6, 2.2),
    ("b6", 43_040_704, _REFERENCE, 528, 0.5, 1.8, 2.6),
    ("b7", 66_347_960, _REFERENCE, 600, 0.5, 2.0, 3.1),
    ("lite0", 4_652_008, _LITE0, 224, 0.2, 1.0, 1.0),
    ("lite1", 5_416_680, _LITE0, 240, 0.2, 1.0, 1.1),
    ("lite2", 6_092_072, _LITE0, 260, 0.3, 1.1, 1.2),
    ("lite3", 8_197_096, _LITE0, 280, 0.3, 1.2, 1.4),
    ("lite4", 13_006_568, _LITE0, 300, 0.3, 1.4, 1.8),
    ("v2_s", 21_458_488, _S, 384, 0.2, 1.0, 1.0),
    ("v2_m", 54_139_356, _M, 480, 0.3, 1.0, 1.0),
    ("v2_l", 118_515_272, _L, 480, 0.4, 1.0, 1.0),
)
VARIANTS: Final = tuple(
    Variant(
        name=f"efficientnet_{name}",
        cls=EfficientNet,
        keywords={**dict(zip(_SIZES, sizes, strict=True)), **form},
        source=_SOURCES[name[0]][1],
        parameters=parameters,
        summary=f"for images of {sizes[0]} x {sizes[0]}",
        year=_SOURCES[name[0]][0],
    )
    for name, parameters, form, *sizes in _ROWS
)
