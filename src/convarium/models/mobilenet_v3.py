"""MobileNet V3: inverted residuals with gates, in an order found by search, tuned for real phones.

    x -> stem -> stage1 -> ... -> final -> mean -> linear -> hardswish -> dropout -> linear
         /2               /32     1x1 conv                      neck                 head

    block:  1x1 -> depthwise k -> [gate] -> 1x1 -> [+ x], each 1x1 and k with its norm

Multiply-adds say little about milliseconds, so this network was found by asking the phone itself: a
search tried kernel sizes, widths and gates against measured time, and hands finished what it left
expensive. The last convolution moved behind the global mean, where the map has one position
instead of 49; the stem could be halved; swish, whose sigmoid is slow, became a shape of straight
lines and is used only in the deeper half, where maps are small. Gates let a block see its whole
map, for few operations.

Differs from the paper: padding is symmetric unless `padding="tf_same"`; the squeezed width of the
gates, a quarter of the block's, is rounded to a multiple of 8, and the last convolution of the
small network has no gate, as in the reference code and the published weights. Widths below 1
narrow the last two layers too, as in torchvision; timm's narrow nets keep them.

References:
    Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244, table 1 (large), table 2
    (small), sections 5.1 (the last layers), 5.2 (hardswish) and 5.3 (the gates).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal, NamedTuple

from torch import Tensor, nn

from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Activation,
    Blocks,
    ConvNormAct,
    InitialTable,
    Padding,
    SqueezeExcitation,
    global_average,
    he_normal,
    small_normal,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout, Rule
from convarium.models.options import probability
from convarium.models.scaling import OutputStride, Step, positive, round_to_eight, steps
from convarium.models.variants import Variant

_RE: Final = "relu"
_HS: Final = "hardswish"

# The first block has no expansion, so that its numbers count from elsewhere.
_TORCHVISION: Final = Layout(
    (
        (r"^features\.0\.", "stem."),
        (r"\.block\.\d\.fc1\.", ".gate.reduce."),
        (r"\.block\.\d\.fc2\.", ".gate.expand."),
        (r"^features\.1\.block\.0\.", "features.1.depthwise."),
        (r"^features\.1\.block\.[12]\.", "features.1.project."),
        (r"\.block\.0\.", ".expand."),
        (r"\.block\.1\.", ".depthwise."),
        (r"\.block\.[23]\.", ".project."),
        (r"^features\.(?P<block>\d+)\.", "{block}."),
        (r"(stem|expand|depthwise|project|final)\.0\.", r"\1.conv."),
        (r"(stem|expand|depthwise|project|final)\.1\.", r"\1.norm."),
        (r"^classifier\.0\.", "neck.linear."),
        (r"^classifier\.3\.", "head."),
    ),
    first=1,
)
_TIMM: Final[tuple[Rule, ...]] = (
    (r"^conv_stem\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^(blocks\.0\.0)\.bn1\.", r"\1.depthwise.norm."),
    (r"^(blocks\.0\.0)\.conv_pw\.", r"\1.project.conv."),
    (r"^(blocks\.0\.0)\.bn2\.", r"\1.project.norm."),
    (r"^(blocks\.\d\.\d)\.conv(_pw)?\.", r"\1.expand.conv."),
    (r"\.bn1\.", ".expand.norm."),
    (r"\.conv_dw\.", ".depthwise.conv."),
    (r"\.bn2\.", ".depthwise.norm."),
    (r"\.se\.conv_", ".gate."),
    (r"\.conv_pwl\.", ".project.conv."),
    (r"\.bn3\.", ".project.norm."),
    (r"^conv_head\.", "neck.linear."),
    (r"^classifier\.", "head."),
)


def _timm(n: int) -> Layout:
    """Their blocks are numbered by rows; row n shares a stage with the n blocks before it."""
    rules = (
        (rf"^blocks\.(?P<stage>[0-{n - 1}])\.", "{stage}."),
        (rf"^blocks\.{n}\.0\.", f"stage{n}.{n}."),
        (rf"^blocks\.{n}\.1\.", f"stage{n}.{n + 1}."),
        (rf"^blocks\.{n + 1}\.", f"stage{n + 1}."),
        (rf"^blocks\.{n + 2}\.0\.expand\.", "final."),
    )
    return Layout((*_TIMM, *rules))


class Row(NamedTuple):
    """A row of tables 1 and 2: one block."""

    kernel_size: int
    wide: int
    channels: int
    gate: bool
    activation: Activation

    def scaled(self, multiplier: float) -> Row:
        """The row of a wider or thinner network."""
        wide, channels = self.wide * multiplier, self.channels * multiplier
        return self._replace(wide=round_to_eight(wide), channels=round_to_eight(channels))


class GatedResidual(nn.Module):
    """An inverted residual, with or without a gate.

        x -> 1x1 to the wide end -> depthwise k, stride s -> gate -> 1x1 to C' -> [+ x]

    Each convolution is followed by its norm and, but for the last, the activation; where the block
    is no wider than its input, the first is left out.

    Args:
        spatial_dims: 1, 2 or 3.
        layer: makes convolution -> norm -> activation.
        before: channels of the input, C.
        row: kernel size k, channels inside, channels of the output C', gate, activation.
        stride: of the depthwise convolution, s.
        dilation: of the depthwise convolution.
        residual: add the input; it needs C = C' and s = 1.

    Shape:
        (B, C, *S) -> (B, C', *ceil(S / s))

    References:
        Howard et al. 2019, arXiv:1905.02244, figure 4.
    """

    def __init__(
        self,
        spatial_dims: int,
        layer: Callable[..., nn.Module],
        before: int,
        row: Row,
        *,
        stride: int = 1,
        dilation: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        wide, layer = row.wide, partial(layer, activation=row.activation)
        place = {"stride": stride, "dilation": dilation, "groups": wide}
        self.expand = layer(before, wide) if wide != before else nn.Identity()
        self.depthwise = layer(wide, wide, row.kernel_size, **place)
        gate = partial(SqueezeExcitation, spatial_dims, wide, round_to_eight(wide // 4))
        self.gate = gate(gate="hardsigmoid") if row.gate else nn.Identity()
        self.project = layer(wide, row.channels, activation=None)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C', *S')."""
        y: Tensor = self.project(self.gate(self.depthwise(self.expand(x))))
        return x + y if self.residual else y


class MobileNetV3(Classifier):
    """What both sizes share; `MobileNetV3Large` and `MobileNetV3Small` are the networks.

    Convolutions start with He's normal, fan-out; the linear layers of neck and head with a normal
    of deviation .01; biases at 0, as in torchvision.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        width_multiplier: times all channels, rounded to a multiple of 8.
        stem: "imagenet" halves the map; "cifar", for small images, does not.
        output_stride: upper limit of the reduction; later strides become dilation, the weights
            stay the same.
        padding: "same" (symmetric) or "tf_same".
        norm_eps: added to the variance in batch norms.
        norm_momentum: weight of the newest batch in running averages.
        dropout: probability, before the head.

    Attributes:
        table: the blocks, by resolution.
        embedding: length of the vector before the head, before `width_multiplier`.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: a value out of range, or an option without effect.

    Example:
        >>> model = MobileNetV3Small(width_multiplier=0.5, output_stride=16)
        >>> [(stage.channels, stage.reduction) for stage in model.stages]
        [(8, 4), (16, 8), (24, 16), (48, 16)]
    """

    table: ClassVar[Sequence[Sequence[Row]]]
    embedding: ClassVar[int]
    initial: InitialTable = (
        (CONVOLUTIONS, he_normal),
        (NORMS, unit),
        ((nn.Linear,), small_normal),
    )

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
        norm_eps: float = 1e-3,
        norm_momentum: float = 0.01,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        positive(width_multiplier=width_multiplier, norm_eps=norm_eps)
        probability(norm_momentum=norm_momentum, dropout=dropout)
        first = 2 if stem == "imagenet" else 1
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        norm = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        like: dict[str, Any] = {"padding": padding, "activation": "hardswish", **norm}
        layer: Callable[..., nn.Module] = partial(ConvNormAct, spatial_dims, **like)

        before = round_to_eight(16 * width_multiplier)
        self.stem = layer(in_channels, before, 3, stride=first)
        stages = []
        strides = (1, 2, 2, 2, 2)[-len(self.table) :]  # the small network halves at once
        places = steps(strides, first, output_stride)
        for i, (rows, place) in enumerate(zip(self.table, places, strict=True), start=1):
            scaled = [row.scaled(width_multiplier) for row in rows]
            self.add_module(f"stage{i}", _stage(spatial_dims, layer, before, scaled, place))
            before = scaled[-1].channels
            stages.append(Stage(f"stage{i}", before, place.reduction))
        self.stages = tuple(stages)
        self.final = layer(before, 6 * before)
        self.heatmap_layer = "final"
        vector = round_to_eight(self.embedding * width_multiplier)
        self.neck = _neck(spatial_dims, 6 * before, vector, dropout)
        self.build_head(vector, num_classes)
        self.initialise_weights()


class MobileNetV3Large(MobileNetV3):
    """MobileNet V3 large: table 1 of the paper. Arguments as in `MobileNetV3`."""

    table: ClassVar[Sequence[Sequence[Row]]] = (
        (Row(3, 16, 16, False, _RE),),
        (Row(3, 64, 24, False, _RE), Row(3, 72, 24, False, _RE)),
        (Row(5, 72, 40, True, _RE), *[Row(5, 120, 40, True, _RE)] * 2),
        (
            Row(3, 240, 80, False, _HS),
            Row(3, 200, 80, False, _HS),
            *[Row(3, 184, 80, False, _HS)] * 2,
            Row(3, 480, 112, True, _HS),
            Row(3, 672, 112, True, _HS),
        ),
        (Row(5, 672, 160, True, _HS), *[Row(5, 960, 160, True, _HS)] * 2),
    )
    embedding: ClassVar[int] = 1280
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _timm(4)}


class MobileNetV3Small(MobileNetV3):
    """MobileNet V3 small: table 2 of the paper. Arguments as in `MobileNetV3`."""

    table: ClassVar[Sequence[Sequence[Row]]] = (
        (Row(3, 16, 16, True, _RE),),
        (Row(3, 72, 24, False, _RE), Row(3, 88, 24, False, _RE)),
        (
            Row(5, 96, 40, True, _HS),
            *[Row(5, 240, 40, True, _HS)] * 2,
            Row(5, 120, 48, True, _HS),
            Row(5, 144, 48, True, _HS),
        ),
        (Row(5, 288, 96, True, _HS), *[Row(5, 576, 96, True, _HS)] * 2),
    )
    embedding: ClassVar[int] = 1024
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION, "timm": _timm(3)}


def _stage(
    spatial_dims: int,
    layer: Callable[..., nn.Module],
    before: int,
    rows: Sequence[Row],
    place: Step,
) -> Blocks:
    """The blocks of one resolution; only the first has a stride."""
    blocks = Blocks()
    for k, row in enumerate(rows):
        stride, dilation = place.at(k)
        joined = before == row.channels and not (place.halves and k == 0)
        options: dict[str, Any] = {"stride": stride, "dilation": dilation, "residual": joined}
        blocks.append(GatedResidual(spatial_dims, layer, before, row, **options))
        before = row.channels
    return blocks


def _neck(spatial_dims: int, before: int, after: int, dropout: float) -> nn.Sequential:
    """The mean over all positions, and the layer that came from before it."""
    parts = {
        "mean": global_average(spatial_dims),
        "linear": nn.Linear(before, after),
        "act": nn.Hardswish(),
        "dropout": nn.Dropout(dropout),
    }
    return nn.Sequential(OrderedDict(parts))


def _row(cls: type[MobileNetV3], size: str, table: int, parameters: int, summary: str) -> Variant:
    source = f"Howard et al. 2019, table {table}"
    return Variant(f"mobilenet_v3_{size}", cls, {}, source, parameters, summary, 2019)


VARIANTS: Final = (
    _row(MobileNetV3Small, "small", 2, 2_542_856, "11 inverted residuals, 9 of them with gates"),
    _row(MobileNetV3Large, "large", 1, 5_483_032, "15 inverted residuals, 8 of them with gates"),
)
