"""Densely connected networks: every layer reads the maps of all layers before it.

    x -> stem -> block1 -> block2 -> block3 -> block4 -> norm -> relu -> mean -> linear
         /4      /4        /8        /16       /32
    block   [transition ->] layer1 -> layer2 -> ... -> all maps, concatenated
    layer   all maps so far -> norm -> relu -> conv1, 4k -> norm -> relu -> conv3, k channels

Within a block nothing is added up and nothing is thrown away: a layer adds k channels of its own
(k is the growth rate) to what is known, and later layers read them unchanged. Gradients reach
every layer over a short path, features are computed once and used again, and k can be as small as
12, so a dense network needs few parameters. The price is a wide input of each layer. The 1x1
convolution to 4k channels in front of the 3x3 (the bottleneck, "B") and the transition between
two blocks, which keeps half the channels ("C") and a quarter of the positions, hold it in bounds.

Differs from the paper: the weights of convolutions start normal with variance 2 / fan-in, as in
torchvision; the authors' program takes the fan-out.

References:
    Huang, Liu, van der Maaten and Weinberger 2016, "Densely connected convolutional networks",
    arXiv:1608.06993, section 3, tables 1 (ImageNet) and 2 (CIFAR).
    Pleiss, Chen, Huang, Li, van der Maaten and Weinberger 2017, "Memory-efficient implementation
    of DenseNets", arXiv:1707.06990, section 3: `memory_efficient`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Blocks,
    global_average,
    make_conv,
    make_norm,
    make_pool,
    recomputed,
    torch_layers,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, block_counts, probability
from convarium.models.variants import Variant

_TORCHVISION: Final = Layout(
    (
        (r"^features\.(conv|norm)0\.", r"stem.\1."),
        (r"^features\.norm5\.", "final.norm."),
        (r"^classifier\.", "head."),
        (r"^features\.transition1\.", "block2.transition.squeeze."),
        (r"^features\.transition2\.", "block3.transition.squeeze."),
        (r"^features\.transition3\.", "block4.transition.squeeze."),
        (r"^features\.denseblock(\d)\.denselayer(\d+)\.", r"block\1.layer\2."),
        (r"\.(norm|conv)\.?1\.", r".squeeze.\1."),  # "norm.1" in files of before 2018
        (r"\.(norm|conv)\.?2\.", r".grow.\1."),
    )
)


class Joined(nn.Sequential):
    """Concatenate the maps along the channels and apply the children in order.

    Shape:
        (B, C_1, *S), (B, C_2, *S), ... -> (B, C', *S)
    """

    def forward(self, *maps: Tensor) -> Tensor:
        """Map all given maps to one."""
        x = torch.cat(maps, 1) if len(maps) > 1 else maps[0]
        for child in self:
            x = child(x)
        return x


class Parts(nn.Sequential):
    """Parts in order, of which the first may take several maps.

    With `memory_efficient`, only what each part is given and gives is kept for the gradient: the
    maps and the outputs of convolutions. Concatenations, which hold every map once for each later
    layer, norms and relus are computed again. Without dropout, no convolution is: recomputing
    stops where the convolution at the end of a part has its input.

    Shape:
        (B, C_1, *S), (B, C_2, *S), ... -> (B, C', *S')
    """

    memory_efficient: bool = False

    def forward(self, *maps: Tensor) -> Tensor:
        """Map all given maps to one."""
        for part in self:
            maps = (recomputed(part, *maps) if self.memory_efficient else part(*maps),)
        return maps[0]


class DenseLayer(Parts):
    """The maps that one layer adds: `squeeze` (1x1, with a bottleneck only), then `grow` (3x3).

        maps -> concatenate -> norm -> relu -> conv1 -> norm -> relu -> conv3

    Shape:
        (B, C_1, *S), (B, C_2, *S), ... -> (B, growth_rate, *S)
    """


class Transition(Parts):
    """Fewer channels by `squeeze` (1x1), and half the positions along each axis by a mean.

    Shape:
        (B, C, *S) -> (B, C', *floor(S / 2))
    """


class DenseBlock(Blocks):
    """A transition, except in the first block, and dense layers; all their maps, concatenated.

    Shape:
        (B, C, *S) -> (B, C' + layers * growth_rate, *S'), halved (floor) by the transition
    """

    def forward(self, x: Tensor) -> Tensor:
        """Give every layer all the maps before it."""
        maps = [x]
        for child in self:
            y = self.run(child, *maps)
            maps = [*maps, y] if isinstance(child, DenseLayer) else [y]
        return torch.cat(maps, 1)


def he_normal_fan_in(module: nn.Module) -> None:
    """Normal with variance 2 / fan_in, fan_in = C_in k^d (He et al. 2015, arXiv:1502.01852)."""
    nn.init.kaiming_normal_(module.get_parameter("weight"), mode="fan_in", nonlinearity="relu")


def uniform_without_bias(module: nn.Module) -> None:
    """Weight uniform in +-1 / sqrt(fan_in), torch's own choice for linear layers; bias 0."""
    weight = module.get_parameter("weight")
    bound = weight.shape[1] ** -0.5
    nn.init.uniform_(weight, -bound, bound)
    nn.init.zeros_(module.get_parameter("bias"))


class DenseNet(Classifier):
    """A densely connected network; the rows of `VARIANTS` are its published forms.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        depths: dense layers in each block.
        growth_rate: k, the channels that each layer adds.
        stem: "imagenet" (7x7 convolution with stride 2, norm, relu, 3x3 max pool with stride 2:
            1/4 of the size) or "cifar" (3x3 convolution: all of it).
        stem_channels: of the stem's convolution; twice the growth rate in most published forms.
        bottleneck: channels between a layer's two convolutions, in growth rates; 0 leaves the
            1x1 convolution out.
        compression: share of the channels that a transition keeps, above 0 and at most 1; their
            number is rounded down, and is 1 at least.
        dropout: probability, after every convolution but the stem's.
        memory_efficient: compute the concatenations again for the gradient, with less memory and
            more time; weights, outputs and gradients are the same.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: a value out of range.

    Example:
        >>> model = DenseNet(depths=[2, 2], growth_rate=8, stem="cifar", num_classes=10)
        >>> [stage.channels for stage in model.stages]
        [80, 56]
    """

    initial = (
        (CONVOLUTIONS, he_normal_fan_in),
        (NORMS, unit),
        ((nn.Linear,), uniform_without_bias),
    )
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _TORCHVISION}

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: Sequence[int] = (6, 12, 24, 16),
        growth_rate: int = 32,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        stem_channels: int = 64,
        bottleneck: int = 4,
        compression: float = 0.5,
        dropout: float = 0.0,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        block_counts(depths=depths)
        at_least(1, growth_rate=growth_rate, stem_channels=stem_channels)
        at_least(0, bottleneck=bottleneck)
        probability(dropout=dropout)
        if not 0.0 < compression <= 1.0:
            raise OptionError(
                f"compression (={compression!r}) must be above 0 and at most 1 (keep all channels)."
            )
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        self.stem = _stem(stem, spatial_dims, in_channels, stem_channels)
        stages, channels, reduction = [], stem_channels, 4 if stem == "imagenet" else 1
        for i, depth in enumerate(depths, start=1):
            parts: dict[str, nn.Module] = {}
            if i > 1:
                after = max(int(channels * compression), 1)
                parts["transition"] = _transition(spatial_dims, channels, after, dropout)
                channels, reduction = after, reduction * 2
            for j in range(1, depth + 1):
                layer = _layer(spatial_dims, channels, growth_rate, bottleneck, dropout)
                parts[f"layer{j}"] = layer
                channels += growth_rate
            self.add_module(f"block{i}", DenseBlock(OrderedDict(parts)))
            stages.append(Stage(f"block{i}", channels, reduction))
        self.stages = tuple(stages)
        self.smallest_input = reduction - stages[0].reduction + 1  # as the stem rounds up
        for module in self.modules():
            if isinstance(module, Parts):
                module.memory_efficient = memory_efficient
        norm = make_norm("batch", channels, spatial_dims)
        self.final = nn.Sequential(OrderedDict(norm=norm, act=nn.ReLU()))
        self.heatmap_layer = "final"
        self.neck = global_average(spatial_dims)
        self.build_head(channels, num_classes)
        self.initialise_weights()


def _stem(kind: str, spatial_dims: int, in_channels: int, channels: int) -> nn.Sequential:
    """The first convolution; its norm, relu and pool belong to the large form only."""
    if kind == "cifar":
        conv = make_conv(spatial_dims, in_channels, channels, 3)
        return nn.Sequential(OrderedDict({"conv": conv}))
    parts = {
        "conv": make_conv(spatial_dims, in_channels, channels, 7, stride=2),
        "norm": make_norm("batch", channels, spatial_dims),
        "act": nn.ReLU(),
        "pool": torch_layers(spatial_dims).max_pool(3, stride=2, padding=1),
    }
    return nn.Sequential(OrderedDict(parts))


def _convolution(spatial_dims: int, before: int, after: int, size: int, dropout: float) -> Joined:
    """Norm, relu, convolution, dropout: what the whole network is made of."""
    parts: dict[str, nn.Module] = {
        "norm": make_norm("batch", before, spatial_dims),
        "act": nn.ReLU(),
        "conv": make_conv(spatial_dims, before, after, size),
    }
    if dropout:
        parts["dropout"] = nn.Dropout(dropout)
    return Joined(OrderedDict(parts))


def _layer(
    spatial_dims: int, channels: int, growth_rate: int, bottleneck: int, dropout: float
) -> DenseLayer:
    parts = {}
    if bottleneck:
        inner = bottleneck * growth_rate
        parts["squeeze"] = _convolution(spatial_dims, channels, inner, 1, dropout)
        channels = inner
    parts["grow"] = _convolution(spatial_dims, channels, growth_rate, 3, dropout)
    return DenseLayer(OrderedDict(parts))


def _transition(spatial_dims: int, before: int, after: int, dropout: float) -> Transition:
    squeeze = _convolution(spatial_dims, before, after, 1, dropout)
    return Transition(OrderedDict(squeeze=squeeze, pool=make_pool("avg", spatial_dims)))


def _row(
    name: str, parameters: int, summary: str, source: str, depths: Sequence[int], **keywords: Any
) -> Variant:
    keywords = {"depths": depths, **keywords}
    return Variant(name, DenseNet, keywords, source, parameters, summary, 2016)


_ONE: Final = "Huang et al. 2016, table 1"
_TWO: Final = "Huang et al. 2016, table 2"
_AUTHORS: Final = "Huang et al. 2016, the authors' models (github.com/liuzhuang13/DenseNet)"

_IMAGENET = (
    _row("densenet121", 7_978_856, "121 layers, growth rate 32", _ONE, (6, 12, 24, 16)),
    _row("densenet169", 14_149_480, "169 layers, growth rate 32", _ONE, (6, 12, 32, 32)),
    _row("densenet201", 20_013_928, "201 layers, growth rate 32", _ONE, (6, 12, 48, 32)),
    _row(
        "densenet161",
        28_681_000,
        "161 layers, growth rate 48",
        _AUTHORS,
        (6, 12, 36, 24),
        growth_rate=48,
        stem_channels=96,
    ),
    _row(
        "densenet264",
        33_337_704,
        "264 layers by name, 265 by count, growth rate 32",
        _ONE,
        (6, 12, 64, 48),
    ),
)

_CIFAR: Final[dict[str, Any]] = {"stem": "cifar", "num_classes": 10}
_PLAIN: Final[dict[str, Any]] = {"stem_channels": 16, "bottleneck": 0, "compression": 1.0}

_SMALL = tuple(
    _row(
        f"densenet_{kind}{layers}_{k}",
        parameters,
        f"{layers} layers for 32x32 images, growth rate {k}, {words}",
        _TWO,
        ((layers - 4) // (3 if kind == "" else 6),) * 3,
        growth_rate=k,
        **_CIFAR,
        **(_PLAIN if kind == "" else {"stem_channels": 2 * k}),
    )
    for kind, words, layers, k, parameters in (
        ("", "without bottlenecks", 40, 12, 1_019_722),
        ("", "without bottlenecks", 100, 12, 6_979_642),
        ("", "without bottlenecks", 100, 24, 27_249_082),
        ("bc_", "bottlenecks, compression", 100, 12, 769_162),
        ("bc_", "bottlenecks, compression", 250, 24, 15_324_406),
        ("bc_", "bottlenecks, compression", 190, 40, 25_624_430),
    )
)

VARIANTS: Final = (*_IMAGENET, *_SMALL)
