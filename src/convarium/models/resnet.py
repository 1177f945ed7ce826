"""Residual networks: the 2015 form, v1.5, pre-activation, wide, ResNeXt, and the CIFAR nets.

    x -> stem -> layer1 -> layer2 -> layer3 -> layer4 -> [norm -> relu] -> mean -> linear
         /4       /4        /8        /16       /32       pre-activation only

Every layer is a row of blocks (see `convarium.layers.residual`); the first block of a layer halves
the map, except in layer1. The stem is a 7x7 convolution with stride 2 and a 3x3 max pool with
stride 2 ("imagenet"), a 3x3 convolution ("cifar"), or that and a 2x2 max pool ("pool").

Deeper plain networks fit even their training data worse, although they could copy a shallower one
and pass its result on. A residual block makes that copy the easy case: its branch learns only what
to add to its input, zero to begin with if need be, and the gradient reaches every block through the
additions, unshrunk. Pre-activation takes the last ReLU off this path, so that it is the identity
from end to end; wide and grouped blocks spend the weights on channels or on groups, not on depth.

Differs from the paper: bottlenecks take their stride in the 3x3 convolution ("v1.5"), as all
published weights do; `stride_in="1x1"` is the 2015 form. With blur pooling, shortcuts keep their
plain stride, as in timm's weights. Wide nets have no dropout between their convolutions.

References:
    He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385,
    table 1 (ImageNet), section 4.2 (CIFAR-10).
    He, Zhang, Ren, Sun 2016, "Identity mappings in deep residual networks", arXiv:1603.05027.
    Zagoruyko, Komodakis 2016, "Wide residual networks", arXiv:1605.07146.
    Xie et al. 2016, "Aggregated residual transformations", arXiv:1611.05431, table 1.
    Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, ClassVar, Final, Literal

from torch import nn

from convarium.errors import OptionError
from convarium.layers import (
    BasicBlock,
    Blocks,
    BlurPool,
    BottleneckBlock,
    Norm,
    PreActBasicBlock,
    PreActBottleneckBlock,
    Shortcut,
    drop_path_rates,
    global_average,
    make_conv,
    make_norm,
    torch_layers,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, block_counts, equal_lengths, probability
from convarium.models.scaling import OutputStride, Step, steps
from convarium.models.variants import Variant

EXPANSION: Final = {"basic": 1, "bottleneck": 4}
STEM_REDUCTION: Final = {"imagenet": 4, "cifar": 1, "pool": 2}

_TORCHVISION: Final = Layout(
    (
        (r"^conv1\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        (r"\.bn(\d)\.", r".norm\1."),
        (r"\.downsample\.", ".shortcut."),
        (r"^fc\.", "head."),
    )
)
_TIMM: Final = Layout(
    (
        (r"^stages\.(?P<stage>\d)\.blocks\.", "{stage}."),
        (r"\.downsample\.conv\.", ".shortcut."),
        (r"^norm\.", "final.norm."),
        (r"^head\.fc\.", "head."),
        *_TORCHVISION.rules,  # as its nets without pre-activation are named
    )
)


class ResNet(Classifier):
    """A residual network; the rows of `VARIANTS` are its published forms.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        block: "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 with four times the width).
        order: "post" (conv, norm, relu) or "pre" (norm, relu, conv: version 2).
        depths: blocks in each layer.
        widths: of each layer's 3x3 convolutions; a bottleneck's output has four times as many.
        stem_width: channels of the stem; None takes the first of `widths`.
        stem: "imagenet" (1/4 of the size), "cifar" (all of it) or "pool" (half).
        shortcut: where the shape changes: "projection" (1x1 convolution), "pad" (zeros, no
            parameters), or "none" for a plain net without any shortcut.
        groups: of the 3x3 convolution of bottlenecks.
        width_per_group: channels of a group in a layer of width 64; scales the 3x3 convolutions.
        stride_in: where a bottleneck halves the map: "3x3" (v1.5) or "1x1" (the 2015 form).
        downsample: "stride", or "blur": a blur behind the convolution or pool takes its stride.
        output_stride: limit of the reduction; later strides become dilation, the weights stay.
        norm: in every block.
        zero_gamma: start the last norm of each block at 0, so that each block starts as identity.
        drop_path: probability of dropping the last block's branch, in equal steps from 0 on.
        dropout: probability, before the head.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: lists of different lengths, a value out of range, or an option without effect.

    Example:
        >>> model = ResNet(depths=[1, 1], widths=[16, 32], stem="cifar", num_classes=10)
        >>> [(stage.name, stage.channels, stage.reduction) for stage in model.stages]
        [('layer1', 16, 1), ('layer2', 32, 2)]
    """

    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _TIMM}

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        block: Literal["basic", "bottleneck"] = "basic",
        order: Literal["post", "pre"] = "post",
        depths: Sequence[int] = (2, 2, 2, 2),
        widths: Sequence[int] = (64, 128, 256, 512),
        stem_width: int | None = None,
        stem: Literal["imagenet", "cifar", "pool"] = "imagenet",
        shortcut: Shortcut = "projection",
        groups: int = 1,
        width_per_group: int = 64,
        stride_in: Literal["3x3", "1x1"] = "3x3",
        downsample: Literal["stride", "blur"] = "stride",
        output_stride: OutputStride = 32,
        norm: Norm = "batch",
        zero_gamma: bool = False,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        block_counts(depths=depths)
        at_least(1, widths=widths, groups=groups, width_per_group=width_per_group)
        probability(dropout=dropout, drop_path=drop_path)
        _check_together(self.config)
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        self.smallest_input = 2 if stem == "pool" and downsample == "stride" else 1
        before = widths[0] if stem_width is None else stem_width
        self.stem = _stem(self.config, before)
        places = steps([1, *[2] * (len(depths) - 1)], STEM_REDUCTION[stem], output_stride)
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        stages = []
        for i, (depth, width, place) in enumerate(zip(depths, widths, places, strict=True), 1):
            blocks = _layer(self.config, before, width, place, [*islice(rates, depth)])
            self.add_module(f"layer{i}", blocks)
            before = width * EXPANSION[block]
            stages.append(Stage(f"layer{i}", before, place.reduction))
        self.stages = tuple(stages)

        last = {"norm": make_norm(norm, before, spatial_dims), "act": nn.ReLU()}
        self.final = nn.Sequential(OrderedDict(last)) if order == "pre" else nn.Identity()
        self.heatmap_layer = "final" if order == "pre" else stages[-1].name
        self.neck = global_average(spatial_dims, dropout)
        self.build_head(before, num_classes)
        self.initialise_weights()
        if zero_gamma:
            self._zero_last_norms()

    def _zero_last_norms(self) -> None:
        for module in self.modules():
            if isinstance(module, BasicBlock | BottleneckBlock):
                last = module.norm2 if isinstance(module, BasicBlock) else module.norm3
                nn.init.zeros_(last.get_parameter("weight"))


_BLOCKS: Final[dict[tuple[str, str], type[nn.Module]]] = {
    ("basic", "post"): BasicBlock,
    ("basic", "pre"): PreActBasicBlock,
    ("bottleneck", "post"): BottleneckBlock,
    ("bottleneck", "pre"): PreActBottleneckBlock,
}


def _layer(
    config: Mapping[str, Any], before: int, width: int, place: Step, rates: Sequence[float]
) -> Blocks:
    """One block per drop-path rate; the first changes the shape of the map."""
    block, order = config["block"], config["order"]
    names = ["shortcut", "norm", *(["groups", "stride_in"] if block == "bottleneck" else [])]
    options = {name: config[name] for name in names}
    if block == "bottleneck":
        inner = int(width * config["width_per_group"] / 64) * config["groups"]
        options["inner_channels"] = inner
    make = partial(_BLOCKS[block, order], config["spatial_dims"], **options)
    first: dict[str, Any] = {"shared": True} if order == "pre" else {}
    first |= {"stride": place.stride, "dilation": (place.entry, place.dilation)}
    first["blur"] = config["downsample"] == "blur" and place.stride > 1
    after, dilation = width * EXPANSION[block], (place.dilation, place.dilation)
    return Blocks(
        make(before, after, drop_path=rates[0], **first),
        *(make(after, after, drop_path=rate, dilation=dilation) for rate in rates[1:]),
    )


def _stem(config: Mapping[str, Any], width: int) -> nn.Sequential:
    """The first convolution, its norm and ReLU (after-activation nets only), and its pool."""
    at_least(1, stem_width=width)
    rank, norm = torch_layers(config["spatial_dims"]), config["norm"]
    size, stride = (7, 2) if config["stem"] == "imagenet" else (3, 1)
    channels, bias = (config["in_channels"], width), norm == "none"
    conv = make_conv(config["spatial_dims"], *channels, size, stride=stride, bias=bias)
    parts: dict[str, nn.Module] = {"conv": conv}
    if config["order"] == "post":
        parts |= {"norm": make_norm(norm, width, config["spatial_dims"]), "act": nn.ReLU()}
    if config["stem"] != "cifar" and config["downsample"] == "blur":
        pool = rank.max_pool(3, stride=1, padding=1)
        parts["pool"] = nn.Sequential(pool, BlurPool(config["spatial_dims"]))
    elif config["stem"] != "cifar":
        parts["pool"] = rank.max_pool(3, 2, 1) if config["stem"] == "imagenet" else rank.max_pool(2)
    return nn.Sequential(OrderedDict(parts))


_FOR_BOTTLENECKS: Final = {"groups": 1, "width_per_group": 64, "stride_in": "3x3"}
_REMEDIES: Final = {
    "drop_path": "needs a shortcut around each block; use another shortcut, or leave it out.",
    "zero_gamma": "needs a norm at the end of each block and a shortcut around it; "
    "use order='post' with a norm and a shortcut, or leave it out.",
    "downsample": "needs a stride; use output_stride=32, and more layers or another stem.",
} | dict.fromkeys(
    _FOR_BOTTLENECKS, "has no effect on basic blocks; use block='bottleneck', or leave it out."
)


def _check_together(config: Mapping[str, Any]) -> None:
    """An option that would be ignored is an error, and so is a layer without channels."""
    equal_lengths(depths=config["depths"], widths=config["widths"])
    basic, plain = config["block"] == "basic", config["shortcut"] == "none"
    normed = config["order"] == "post" and config["norm"] != "none"
    flat = config["stem"] == "cifar" and len(config["depths"]) == 1
    wrong = {name: basic and config[name] != value for name, value in _FOR_BOTTLENECKS.items()}
    wrong["drop_path"] = plain and config["drop_path"] > 0
    wrong["zero_gamma"] = config["zero_gamma"] and (plain or not normed)
    wrong["downsample"] = config["downsample"] == "blur" and (flat or config["output_stride"] < 32)
    for name in (name for name in wrong if wrong[name]):
        raise OptionError(f"{name} (={config[name]!r}) {_REMEDIES[name]}")
    if not basic and min(config["widths"]) * config["width_per_group"] < 64:
        raise OptionError(
            f"widths (={config['widths']}) and width_per_group (={config['width_per_group']}) "
            "leave a layer without channels; make their product 64 or more."
        )


_18: Final[dict[str, Any]] = {"depths": (2, 2, 2, 2)}
_50: Final[dict[str, Any]] = {"block": "bottleneck", "depths": (3, 4, 6, 3)}
_101: Final[dict[str, Any]] = _50 | {"depths": (3, 4, 23, 3)}
_152: Final[dict[str, Any]] = _50 | {"depths": (3, 8, 36, 3)}
_200: Final[dict[str, Any]] = _50 | {"depths": (3, 24, 36, 3)}
_PRE: Final[dict[str, Any]] = {"order": "pre"}
_DOUBLE: Final[dict[str, Any]] = {"width_per_group": 128}
_32X4: Final[dict[str, Any]] = {"groups": 32, "width_per_group": 4}
_32X8: Final[dict[str, Any]] = {"groups": 32, "width_per_group": 8}
_64X4: Final[dict[str, Any]] = {"groups": 64, "width_per_group": 4}
_CIFAR: Final[dict[str, Any]] = {"widths": (16, 32, 64), "stem": "cifar", "num_classes": 10}
_SMALL: Final[dict[str, Any]] = _CIFAR | {"depths": (1, 1, 1), "widths": (64, 128, 256)}


def _cifar(layers: int, shortcut: str) -> dict[str, Any]:
    return _CIFAR | {"depths": ((layers - 2) // 6,) * 3, "shortcut": shortcut}


def _thin(layers: int) -> dict[str, Any]:
    depths = ((layers - 2) // 9,) * 3
    return _CIFAR | _PRE | {"depths": depths, "block": "bottleneck", "stride_in": "1x1"}


def _wide(layers: int, factor: int) -> dict[str, Any]:
    widths = [factor * width for width in (16, 32, 64)]
    return _CIFAR | _PRE | {"depths": ((layers - 4) // 6,) * 3, "widths": widths, "stem_width": 16}


_V1: Final = ("He et al. 2015, table 1", 2015)
_V1_5: Final = ("He et al. 2015, table 1; stride in the 3x3", 2015)
_V2: Final = ("He et al. 2016, figure 1 (b), table 5 (152 and 200); stride in the 3x3", 2016)
_C1: Final = ("He et al. 2015, section 4.2 and table 6", 2015)
_C2: Final = ("He et al. 2016, tables 2 and 4", 2016)
_WIDE: Final = ("Zagoruyko and Komodakis 2016, table 8", 2016)
_WRN: Final = ("Zagoruyko and Komodakis 2016, table 4, without dropout", 2016)
_NEXT: Final = ("Xie et al. 2016, tables 1 and 3", 2016)
_BLURRED: Final = ("Zhang 2019, section 3.2; 3 taps, plain shortcuts as in timm", 2019)
_OURS: Final = ("our own", None)

_ROWS: Final = (
    ("resnet18", 11_689_512, "18 layers, basic blocks", _V1, _18),
    ("resnet34", 21_797_672, "34 layers, basic blocks", _V1, {"depths": (3, 4, 6, 3)}),
    ("resnet50", 25_557_032, "50 layers, bottlenecks, v1.5", _V1_5, _50),
    ("resnet101", 44_549_160, "101 layers, bottlenecks, v1.5", _V1_5, _101),
    ("resnet152", 60_192_808, "152 layers, bottlenecks, v1.5", _V1_5, _152),
    ("resnetv2_50", 25_549_352, "50 layers, pre-activation", _V2, _50 | _PRE),
    ("resnetv2_101", 44_541_480, "101 layers, pre-activation", _V2, _101 | _PRE),
    ("resnetv2_152", 60_185_128, "152 layers, pre-activation", _V2, _152 | _PRE),
    ("resnetv2_200", 64_666_152, "200 layers, pre-activation", _V2, _200 | _PRE),
    ("wide_resnet50_2", 68_883_240, "50 layers, 3x3 twice as wide", _WIDE, _50 | _DOUBLE),
    ("wide_resnet101_2", 126_886_696, "101 layers, 3x3 twice as wide", _WIDE, _101 | _DOUBLE),
    ("resnext50_32x4d", 25_028_904, "50 layers, 32 groups of 4", _NEXT, _50 | _32X4),
    ("resnext101_32x4d", 44_177_704, "101 layers, 32 groups of 4", _NEXT, _101 | _32X4),
    ("resnext101_32x8d", 88_791_336, "101 layers, 32 groups of 8", _NEXT, _101 | _32X8),
    ("resnext101_64x4d", 83_455_272, "101 layers, 64 groups of 4", _NEXT, _101 | _64X4),
    ("resnetblur18", 11_689_512, "18 layers, blur pooling", _BLURRED, _18 | {"downsample": "blur"}),
    ("resnetblur50", 25_557_032, "50 layers, blur pooling", _BLURRED, _50 | {"downsample": "blur"}),
    ("resnet20_cifar", 269_722, "20 layers, shortcuts without parameters", _C1, _cifar(20, "pad")),
    ("resnet32_cifar", 464_154, "32 layers, shortcuts without parameters", _C1, _cifar(32, "pad")),
    ("resnet44_cifar", 658_586, "44 layers, shortcuts without parameters", _C1, _cifar(44, "pad")),
    ("resnet56_cifar", 853_018, "56 layers, shortcuts without parameters", _C1, _cifar(56, "pad")),
    (
        "resnet110_cifar",
        1_727_962,
        "110 layers, shortcuts without parameters",
        _C1,
        _cifar(110, "pad"),
    ),
    ("plain20_cifar", 269_722, "20 layers, no shortcuts", _C1, _cifar(20, "none")),
    ("plain32_cifar", 464_154, "32 layers, no shortcuts", _C1, _cifar(32, "none")),
    ("plain44_cifar", 658_586, "44 layers, no shortcuts", _C1, _cifar(44, "none")),
    ("plain56_cifar", 853_018, "56 layers, no shortcuts", _C1, _cifar(56, "none")),
    ("plain110_cifar", 1_727_962, "110 layers, no shortcuts", _C1, _cifar(110, "none")),
    ("resnetv2_110_cifar", 1_727_962, "110 layers, pre-activation", _C2, _cifar(110, "pad") | _PRE),
    ("resnetv2_164_cifar", 1_703_258, "164 layers, pre-activation bottlenecks", _C2, _thin(164)),
    (
        "resnetv2_1001_cifar",
        10_327_706,
        "1001 layers, pre-activation bottlenecks",
        _C2,
        _thin(1001),
    ),
    ("wrn_16_8", 10_961_370, "16 layers, 8 times as wide", _WRN, _wide(16, 8)),
    ("wrn_40_4", 8_949_210, "40 layers, 4 times as wide", _WRN, _wide(40, 4)),
    ("wrn_28_10", 36_479_194, "28 layers, 10 times as wide", _WRN, _wide(28, 10)),
    ("resnet8", 1_227_594, "8 layers, basic blocks, for small images", _OURS, _SMALL),
    ("resnet10", 5_418_792, "10 layers, basic blocks", _OURS, {"depths": (1, 1, 1, 1)}),
)

VARIANTS: Final = tuple(
    Variant(name, ResNet, keywords, source, parameters, summary, year)
    for name, parameters, summary, (source, year), keywords in _ROWS
)
