"""ConvNeXt: a residual network rebuilt step by step with what vision transformers brought.

    x -> stem -> stage1 -> stage2 -> stage3 -> stage4 -> mean -> layer norm -> linear
         /4      /4        /8        /16       /32

    block    x -> depthwise 7x7 -> layer norm -> 1x1 to 4 C -> gelu -> 1x1 to C -> scale -> + x

The stem cuts the image into patches: a 4x4 convolution with stride 4, and a layer norm. Every stage
but the first begins with a layer norm and a 2x2 convolution with stride 2.

The paper asks how much of a transformer's lead over a ResNet is attention, and answers: little. It
takes the transformer's plan and keeps convolutions for the mixing: a depthwise 7x7 looks around in
each channel by itself, as attention looks around, and two 1x1 layers with four times the channels
between them mix the channels, where the weights are. One norm and one activation a block are
enough, and scales that start near 0 let deep nets begin as almost the identity.

Differs from the paper: the small sizes (atto to nano) are later ones, with the channels that the
second version's paper names. The "cifar" stem, a 3x3 convolution without stride, is ours.

References:
    Liu, Mao, Wu, Feichtenhofer, Darrell, Xie 2022, "A ConvNet for the 2020s", arXiv:2201.03545,
    section 2 and figure 4 (block), section 3 (sizes), table 5 (drop path, initial weights).
    Woo et al. 2023, "ConvNeXt V2", arXiv:2301.00808, appendix A (the small sizes).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, Literal

from torch import Tensor, nn

from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Blocks,
    ChannelNorm,
    DropPath,
    InitialTable,
    LayerScale,
    drop_path_rates,
    make_activation,
    make_conv,
    torch_layers,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, block_counts, equal_lengths, probability
from convarium.models.scaling import OutputStride, Step, positive, steps
from convarium.models.variants import Variant

STEM_REDUCTION: Final = {"imagenet": 4, "cifar": 1}

_TORCHVISION: Final = Layout(
    (
        (r"^features\.0\.0\.", "stem.conv."),
        (r"^features\.0\.1\.", "stem.norm."),
        *((rf"^features\.{2 * i}\.0\.", f"stage{i + 1}.downsample.norm.") for i in (1, 2, 3)),
        *((rf"^features\.{2 * i}\.1\.", f"stage{i + 1}.downsample.conv.") for i in (1, 2, 3)),
        *((rf"^features\.{2 * i - 1}\.", f"stage{i}.blocks.") for i in (1, 2, 3, 4)),
        (r"\.layer_scale$", ".scale.gamma"),
        (r"\.block\.0\.", ".depthwise."),
        (r"\.block\.2\.", ".norm."),
        (r"\.block\.3\.", ".expand."),
        (r"\.block\.5\.", ".project."),
        (r"^classifier\.0\.", "neck.norm."),
        (r"^classifier\.2\.", "head."),
    )
)
_TIMM: Final = Layout(
    (
        (r"^stem\.0\.", "stem.conv."),
        (r"^stem\.1\.", "stem.norm."),
        (r"^stages\.(?P<stage>\d)\.", "{stage}."),
        (r"\.downsample\.0\.", ".downsample.norm."),
        (r"\.downsample\.1\.", ".downsample.conv."),
        (r"\.gamma$", ".scale.gamma"),
        (r"\.conv_dw\.", ".depthwise."),
        (r"\.mlp\.fc1\.", ".expand."),
        (r"\.mlp\.fc2\.", ".project."),
        (r"^head\.norm\.", "neck.norm."),
        (r"^head\.fc\.", "head."),
    )
)


def truncated_normal(module: nn.Module) -> None:
    """Normal with deviation .02, cut off at +-2 (which no weight reaches); bias 0.

    References:
        Liu et al. 2022, table 5: "trunc. normal (0.2)"; the code that came with it says .02.
    """
    nn.init.trunc_normal_(module.get_parameter("weight"), std=0.02)
    nn.init.zeros_(module.get_parameter("bias"))


class ConvNeXtBlock(nn.Module):
    """Look around in each channel, then mix the channels; added to the input.

        x -> depthwise k -> layer norm -> linear to 4 C -> gelu -> linear to C -> scale -> + x

    The linear layers are the 1x1 convolutions of the paper, computed as in its code: on the last
    axis, where the channels stand between the two moves.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: of the map, in and out.
        kernel_size: of the depthwise convolution, along each axis.
        dilation: between its taps.
        layer_scale: what the scale of each channel starts at.
        drop_path: probability of leaving the branch out, for a sample in training.
        norm_eps: added to the variance.

    Shape:
        (B, C, *S) -> (B, C, *S)
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        *,
        kernel_size: int,
        dilation: int,
        layer_scale: float,
        drop_path: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.scale = LayerScale(channels, layer_scale)
        self.depthwise = make_conv(
            spatial_dims,
            channels,
            channels,
            kernel_size,
            dilation=dilation,
            groups=channels,
            bias=True,
        )
        self.norm = ChannelNorm(channels, eps=norm_eps)
        self.expand = nn.Linear(channels, 4 * channels)
        self.act = make_activation("gelu")
        self.project = nn.Linear(4 * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C, *S)."""
        y = self.norm(self.depthwise(x)).movedim(1, -1)
        y = self.project(self.act(self.expand(y))).movedim(-1, 1)
        z: Tensor = x + self.drop_path(self.scale(y))
        return z


class ConvNeXt(Classifier):
    """A ConvNeXt; the rows of `VARIANTS` are its published sizes.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        depths: blocks in each stage.
        widths: channels of each stage.
        kernel_size: of the depthwise convolutions.
        stem: "imagenet" (patches of 4x4: 1/4 of the size) or, for small images, "cifar" (a 3x3
            convolution that keeps all of it).
        output_stride: limit of the reduction; later strides become dilation, the weights stay.
        layer_scale: what the scale of each channel of a branch starts at.
        norm_eps: added to the variance in layer norms.
        drop_path: probability of dropping the last block's branch, in equal steps from 0 on.
        dropout: probability, before the head.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: lists of different lengths, a value out of range, or an option without effect.

    Example:
        >>> model = ConvNeXt(depths=[1, 1], widths=[8, 16], num_classes=10)
        >>> [(stage.name, stage.channels, stage.reduction) for stage in model.stages]
        [('stage1', 8, 4), ('stage2', 16, 8)]
    """

    initial: InitialTable = (
        ((*CONVOLUTIONS, nn.Linear), truncated_normal),
        (NORMS, unit),
    )
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _TIMM}

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: Sequence[int] = (3, 3, 9, 3),
        widths: Sequence[int] = (96, 192, 384, 768),
        kernel_size: int = 7,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        output_stride: OutputStride = 32,
        layer_scale: float = 1e-6,
        norm_eps: float = 1e-6,
        drop_path: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        block_counts(depths=depths)
        at_least(1, widths=widths, kernel_size=kernel_size)
        equal_lengths(depths=depths, widths=widths)
        positive(layer_scale=layer_scale, norm_eps=norm_eps)
        probability(dropout=dropout, drop_path=drop_path)
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims

        self.stem = _stem(stem, spatial_dims, in_channels, widths[0], norm_eps)
        strides = [1, *[2] * (len(depths) - 1)]
        places = steps(strides, STEM_REDUCTION[stem], output_stride)
        rates = iter(drop_path_rates(drop_path, sum(depths)))
        options = {"kernel_size": kernel_size, "layer_scale": layer_scale, "norm_eps": norm_eps}
        before, stages = widths[0], []
        for i, (depth, width, place) in enumerate(zip(depths, widths, places, strict=True), 1):
            parts: dict[str, nn.Module] = {}
            if i > 1:
                parts["downsample"] = _downsample(spatial_dims, before, width, place, norm_eps)
            own = islice(rates, depth)
            parts["blocks"] = _blocks(spatial_dims, width, place.dilation, own, options)
            self.add_module(f"stage{i}", nn.Sequential(OrderedDict(parts)))
            stages.append(Stage(f"stage{i}", width, place.reduction))
            before = width
        self.stages = tuple(stages)
        self.smallest_input = stages[-1].reduction

        self.final = nn.Identity()
        self.heatmap_layer = stages[-1].name
        self.neck = _neck(spatial_dims, before, norm_eps, dropout)
        self.build_head(before, num_classes)
        self.initialise_weights()


def _stem(
    kind: str, spatial_dims: int, in_channels: int, width: int, norm_eps: float
) -> nn.Sequential:
    """Patches without overlap, or a convolution that keeps the size; and a norm."""
    if kind == "imagenet":
        conv: nn.Module = torch_layers(spatial_dims).conv(in_channels, width, 4, stride=4)
    else:
        conv = make_conv(spatial_dims, in_channels, width, 3, bias=True)
    return nn.Sequential(OrderedDict(conv=conv, norm=ChannelNorm(width, eps=norm_eps)))


def _downsample(
    spatial_dims: int, before: int, width: int, place: Step, norm_eps: float
) -> nn.Sequential:
    """A norm and a 2x2 convolution with stride 2; dilated, it looks as far to the right as then."""
    rank = torch_layers(spatial_dims)
    parts: dict[str, nn.Module] = {"norm": ChannelNorm(before, eps=norm_eps)}
    if place.stride == 1:
        parts["pad"] = rank.zero_pad((0, place.entry) * spatial_dims)  # type: ignore[arg-type]
    parts["conv"] = rank.conv(before, width, 2, stride=place.stride, dilation=place.entry)
    return nn.Sequential(OrderedDict(parts))


def _blocks(
    spatial_dims: int,
    width: int,
    dilation: int,
    rates: Iterable[float],
    options: Mapping[str, Any],
) -> Blocks:
    """One block per drop-path rate."""
    return Blocks(
        *(
            ConvNeXtBlock(spatial_dims, width, dilation=dilation, drop_path=rate, **options)
            for rate in rates
        )
    )


def _neck(spatial_dims: int, width: int, norm_eps: float, dropout: float) -> nn.Sequential:
    """The mean over all positions, normalised: what the published classifier starts with."""
    return nn.Sequential(
        OrderedDict(
            pool=torch_layers(spatial_dims).adaptive_avg_pool(1),
            flatten=nn.Flatten(1),
            norm=nn.LayerNorm(width, eps=norm_eps),
            dropout=nn.Dropout(dropout),
        )
    )


_FIRST: Final = ("Liu et al. 2022, section 3 and table 1; drop path of table 5", 2022)
_LATER: Final = ("Woo et al. 2023, appendix A; first trained in timm", 2023)

_ROWS: Final = (
    ("atto", 3_695_520, (2, 2, 6, 2), 40, 0.0, _LATER),
    ("femto", 5_217_784, (2, 2, 6, 2), 48, 0.0, _LATER),
    ("pico", 9_045_672, (2, 2, 6, 2), 64, 0.0, _LATER),
    ("nano", 15_593_560, (2, 2, 8, 2), 80, 0.0, _LATER),
    ("tiny", 28_589_128, (3, 3, 9, 3), 96, 0.1, _FIRST),
    ("small", 50_223_688, (3, 3, 27, 3), 96, 0.4, _FIRST),
    ("base", 88_591_464, (3, 3, 27, 3), 128, 0.5, _FIRST),
    ("large", 197_767_336, (3, 3, 27, 3), 192, 0.5, _FIRST),
    ("xlarge", 350_196_968, (3, 3, 27, 3), 256, 0.2, _FIRST),
)

VARIANTS: Final = tuple(
    Variant(
        name=f"convnext_{size}",
        cls=ConvNeXt,
        keywords={
            "depths": depths,
            "widths": tuple(width * 2**i for i in range(4)),
            "drop_path": drop_path,
        },
        source=source,
        parameters=parameters,
        summary=f"{sum(depths)} blocks, {width} to {8 * width} channels",
        year=year,
    )
    for size, parameters, depths, width, drop_path, (source, year) in _ROWS
)
