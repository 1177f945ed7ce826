"""Residual networks: the 2015 form, v1.5, pre-activation, wide, ResNeXt, and the CIFAR nets.

    x -> stem -> layer1 -> layer2 -> layer3 -> layer4 -> [norm -> relu] -> mean -> linear
         /4       /4        /8        /16       /32       pre-activation only

Every layer is a row of blocks (see `convarium.layers.residual`); the first block of a layer halves
the map, except in layer1. The stem is a 7x7 convolution with stride 2 and a 3x3 max pool with
stride 2 ("imagenet"), a 3x3 convolution ("cifar"), or that and a 2x2 max pool ("pool").

References:
    He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385,
    table 1 (ImageNet), section 4.2 (CIFAR-10).
    He, Zhang, Ren, Sun 2016, "Identity mappings in deep residual networks", arXiv:1603.05027.
    Zagoruyko, Komodakis 2016, "Wide residual networks", arXiv:1605.07146.
    Xie et al. 2016, "Aggregated residual transformations", arXiv:1611.05431, table 1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal

from torch import nn

from convarium.errors import OptionError
from convarium.layers import (
    BasicBlock,
    Blocks,
    BottleneckBlock,
    Norm,
    PreActBasicBlock,
    PreActBottleneckBlock,
    Shortcut,
    global_average,
    make_conv,
    make_norm,
    torch_layers,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.options import at_least, equal_lengths, probability
from convarium.models.variants import Variant

EXPANSION: Final = {"basic": 1, "bottleneck": 4}
STEM_REDUCTION: Final = {"imagenet": 4, "cifar": 1, "pool": 2}


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
        stem: "imagenet" (1/4 of the size), "cifar" (all of it) or "pool" (half).
        shortcut: where the shape changes: "projection" (1x1 convolution), "pad" (zeros, no
            parameters), or "none" for a plain net without any shortcut.
        groups: of the 3x3 convolution of bottlenecks.
        width_per_group: channels of a group in a layer of width 64; scales the 3x3 convolutions.
        stride_in: where a bottleneck halves the map: "3x3" (v1.5) or "1x1" (the 2015 form).
        norm: in every block.
        zero_gamma: start the last norm of each block at 0, so that each block starts as identity.
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
        stem: Literal["imagenet", "cifar", "pool"] = "imagenet",
        shortcut: Shortcut = "projection",
        groups: int = 1,
        width_per_group: int = 64,
        stride_in: Literal["3x3", "1x1"] = "3x3",
        norm: Norm = "batch",
        zero_gamma: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        at_least(1, depths=depths, widths=widths, groups=groups, width_per_group=width_per_group)
        equal_lengths(depths=depths, widths=widths)
        probability(dropout=dropout)
        _check_together(self.config)
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims

        self.stem = _stem(stem, order, norm, spatial_dims, in_channels, widths[0])
        before, reduction, stages, pre = widths[0], STEM_REDUCTION[stem], [], order == "pre"
        for i, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            stride = 1 if i == 1 else 2
            after, reduction = width * EXPANSION[block], reduction * stride
            options: dict[str, Any] = {"shortcut": shortcut, "norm": norm}
            if block == "bottleneck":
                inner = int(width * width_per_group / 64) * groups
                options |= {"inner_channels": inner, "groups": groups, "stride_in": stride_in}
            make = partial(_BLOCKS[block, order], spatial_dims, **options)
            self.add_module(f"layer{i}", _layer(make, depth, before, after, stride, shared=pre))
            stages.append(Stage(f"layer{i}", after, reduction))
            before = after
        self.stages = tuple(stages)

        self.final = _norm_relu(norm, before, spatial_dims) if pre else nn.Identity()
        self.heatmap_layer = "final" if pre else stages[-1].name
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
    make: Callable[..., nn.Module], depth: int, before: int, after: int, stride: int, shared: bool
) -> Blocks:
    """`depth` blocks; the first changes the shape and, in "pre" order, shares its first ReLU."""
    first = make(before, after, stride=stride, **({"shared": True} if shared else {}))
    return Blocks(first, *(make(after, after) for _ in range(depth - 1)))


def _stem(
    kind: str, order: str, norm: Norm, spatial_dims: int, in_channels: int, width: int
) -> nn.Sequential:
    """The first convolution, its norm and ReLU (after-activation nets only), and its pool."""
    rank, imagenet = torch_layers(spatial_dims), kind == "imagenet"
    size, stride, bias = (7, 2, norm == "none") if imagenet else (3, 1, norm == "none")
    conv = make_conv(spatial_dims, in_channels, width, size, stride=stride, bias=bias)
    parts: dict[str, nn.Module] = {"conv": conv}
    if order == "post":
        parts |= {"norm": make_norm(norm, width, spatial_dims), "act": nn.ReLU()}
    if imagenet:
        parts["pool"] = rank.max_pool(3, stride=2, padding=1)
    elif kind == "pool":
        parts["pool"] = rank.max_pool(2)
    return nn.Sequential(OrderedDict(parts))


def _norm_relu(norm: Norm, channels: int, spatial_dims: int) -> nn.Sequential:
    parts = {"norm": make_norm(norm, channels, spatial_dims), "act": nn.ReLU()}
    return nn.Sequential(OrderedDict(parts))


def _check_together(config: dict[str, Any]) -> None:
    """An option that would be ignored is an error, and so is a layer without channels."""
    if config["block"] == "basic":
        for name, neutral in (("groups", 1), ("width_per_group", 64), ("stride_in", "3x3")):
            if config[name] != neutral:
                raise OptionError(
                    f"{name} (={config[name]!r}) has no effect on basic blocks; "
                    "use block='bottleneck', or leave it out."
                )
    elif min(config["widths"]) * config["width_per_group"] < 64:
        raise OptionError(
            f"widths (={config['widths']}) and width_per_group (={config['width_per_group']}) "
            "leave a layer without channels; make their product 64 or more."
        )
    normed = config["order"] == "post" and config["norm"] != "none"
    if config["zero_gamma"] and not (normed and config["shortcut"] != "none"):
        raise OptionError(
            "zero_gamma (=True) needs a norm at the end of each block and a shortcut around it; "
            "use order='post' with a norm and a shortcut, or leave it out."
        )


def _row(
    name: str, parameters: int, summary: str, source: str, year: int, **keywords: Any
) -> Variant:
    return Variant(name, ResNet, keywords, source, parameters, summary, year)


_18: Final[dict[str, Any]] = {"depths": (2, 2, 2, 2)}
_34: Final[dict[str, Any]] = {"depths": (3, 4, 6, 3)}
_50: Final[dict[str, Any]] = {"block": "bottleneck", "depths": (3, 4, 6, 3)}
_101: Final[dict[str, Any]] = {"block": "bottleneck", "depths": (3, 4, 23, 3)}
_152: Final[dict[str, Any]] = {"block": "bottleneck", "depths": (3, 8, 36, 3)}
_V1: Final = "He et al. 2015, table 1; stride in the 3x3"
_V2: Final = "He et al. 2016, figure 1 (b), stride in the 3x3"
_WIDE: Final = "Zagoruyko and Komodakis 2016, table 8"
_NEXT: Final = "Xie et al. 2016, table 1"

_IMAGENET = (
    _row("resnet18", 11_689_512, "18 layers, basic blocks", "He et al. 2015, table 1", 2015, **_18),
    _row("resnet34", 21_797_672, "34 layers, basic blocks", "He et al. 2015, table 1", 2015, **_34),
    _row("resnet50", 25_557_032, "50 layers, bottlenecks, v1.5", _V1, 2015, **_50),
    _row("resnet101", 44_549_160, "101 layers, bottlenecks, v1.5", _V1, 2015, **_101),
    _row("resnet152", 60_192_808, "152 layers, bottlenecks, v1.5", _V1, 2015, **_152),
    _row("resnetv2_50", 25_549_352, "50 layers, pre-activation", _V2, 2016, order="pre", **_50),
    _row("resnetv2_101", 44_541_480, "101 layers, pre-activation", _V2, 2016, order="pre", **_101),
    _row("resnetv2_152", 60_185_128, "152 layers, pre-activation", _V2, 2016, order="pre", **_152),
    _row(
        "wide_resnet50_2",
        68_883_240,
        "50 layers, 3x3 convolutions twice as wide",
        _WIDE,
        2016,
        width_per_group=128,
        **_50,
    ),
    _row(
        "wide_resnet101_2",
        126_886_696,
        "101 layers, 3x3 convolutions twice as wide",
        _WIDE,
        2016,
        width_per_group=128,
        **_101,
    ),
    _row(
        "resnext50_32x4d",
        25_028_904,
        "50 layers, 32 groups of 4 channels",
        _NEXT,
        2016,
        groups=32,
        width_per_group=4,
        **_50,
    ),
    _row(
        "resnext101_32x8d",
        88_791_336,
        "101 layers, 32 groups of 8 channels",
        _NEXT,
        2016,
        groups=32,
        width_per_group=8,
        **_101,
    ),
    _row(
        "resnext101_64x4d",
        83_455_272,
        "101 layers, 64 groups of 4 channels",
        _NEXT,
        2016,
        groups=64,
        width_per_group=4,
        **_101,
    ),
)

_CIFAR: Final[dict[str, Any]] = {"widths": (16, 32, 64), "stem": "cifar", "num_classes": 10}
_PRE: Final[dict[str, Any]] = _CIFAR | {"order": "pre"}
_PRE_BOTTLENECK: Final[dict[str, Any]] = _PRE | {"block": "bottleneck", "stride_in": "1x1"}
_SECTION: Final = "He et al. 2015, section 4.2 and table 6"
_SIZES: Final = ((20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962))

_SMALL = (
    *(
        _row(
            f"{kind}{layers}_cifar",
            parameters,
            f"{layers} layers for 32x32 images, {words}",
            _SECTION,
            2015,
            depths=((layers - 2) // 6,) * 3,
            shortcut=shortcut,
            **_CIFAR,
        )
        for kind, shortcut, words in (
            ("resnet", "pad", "shortcuts without parameters"),
            ("plain", "none", "no shortcuts"),
        )
        for layers, parameters in _SIZES
    ),
    _row(
        "resnetv2_110_cifar",
        1_727_962,
        "110 layers for 32x32 images, pre-activation",
        "He et al. 2016, table 2",
        2016,
        depths=(18, 18, 18),
        shortcut="pad",
        **_PRE,
    ),
    _row(
        "resnetv2_164_cifar",
        1_703_258,
        "164 layers for 32x32 images, pre-activation bottlenecks",
        "He et al. 2016, table 2",
        2016,
        depths=(18, 18, 18),
        **_PRE_BOTTLENECK,
    ),
    _row(
        "resnetv2_1001_cifar",
        10_327_706,
        "1001 layers for 32x32 images, pre-activation bottlenecks",
        "He et al. 2016, table 4",
        2016,
        depths=(111, 111, 111),
        **_PRE_BOTTLENECK,
    ),
    Variant(
        name="resnet8",
        cls=ResNet,
        keywords={
            "depths": (1, 1, 1),
            "widths": (64, 128, 256),
            "stem": "cifar",
            "num_classes": 10,
        },
        source="our own",
        parameters=1_227_594,
        summary="8 layers, basic blocks, for small images",
    ),
    Variant(
        name="resnet10",
        cls=ResNet,
        keywords={"depths": (1, 1, 1, 1)},
        source="our own: resnet18 with one block a layer",
        parameters=5_418_792,
        summary="10 layers, basic blocks",
    ),
)

VARIANTS: Final = (*_IMAGENET, *_SMALL)
