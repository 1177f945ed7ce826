"""MobileNet V1: every 3x3 convolution is split into a depthwise and a 1x1 convolution.

    x -> stem -> stage1 -> stage2 -> stage3 -> stage4 -> stage5 -> mean -> dropout -> linear
         /2      /2        /4        /8        /16       /32

    block:  depthwise 3x3 -> norm -> relu6 -> 1x1 -> norm -> relu6

A convolution does two things at once: it looks around every position, and it mixes channels.
Done one after the other, the two cost far less: a 3x3 filter for each channel by itself, then a
1x1 convolution that mixes. Per position the pair needs 1/C_out + 1/9 of the multiplications of the
full 3x3 convolution, eight to nine times fewer in most layers, and loses about one point of
accuracy. Nearly all the work left is in the 1x1 convolutions, which are plain matrix products. One
number, the width multiplier, thins every layer and trades accuracy for cost, which then falls with
its square.

Differs from the paper: the activation is ReLU6, as in the reference code and in the published
weights; the last block has stride 1, where table 1 prints 2 beside maps that stay 7x7; padding is
symmetric unless `padding="tf_same"`; batch norms have torch's eps and momentum (1e-5, .1), where
the reference code has 1e-3 and .0003.

References:
    Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile vision
    applications", arXiv:1704.04861, table 1 (the layers), section 3.3 (width multiplier).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Literal

from torch import Tensor, nn

from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Blocks,
    ConvNormAct,
    InitialTable,
    Padding,
    global_average,
    unit,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import probability
from convarium.models.scaling import OutputStride, positive, steps
from convarium.models.variants import Variant

# Table 1 by resolution: channels of a block's output, and blocks.
_TABLE: Final = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))
_STRIDES: Final = (1, 2, 2, 2, 2)

_TIMM: Final = Layout(
    (
        (r"^conv_stem\.", "stem.conv."),
        (r"^bn1\.", "stem.norm."),
        (r"^blocks\.(?P<stage>\d)\.", "{stage}."),
        (r"\.conv_dw\.", ".depthwise.conv."),
        (r"\.bn1\.", ".depthwise.norm."),
        (r"\.conv_pw\.", ".pointwise.conv."),
        (r"\.bn2\.", ".pointwise.norm."),
        (r"^classifier\.", "head."),
    )
)


class SeparableBlock(nn.Module):
    """A depthwise 3x3 convolution and a 1x1 convolution, each with its norm and ReLU6.

        x -> depthwise 3x3, stride s -> norm -> relu6 -> 1x1 -> norm -> relu6

    Args:
        layer: makes convolution -> norm -> activation.
        before: channels of the input, C.
        after: channels of the output, C'.
        stride: of the depthwise convolution, s.
        dilation: of the depthwise convolution.

    Shape:
        (B, C, *S) -> (B, C', *ceil(S / s))

    References:
        Howard et al. 2017, arXiv:1704.04861, figure 3 (right) and eq. 5.
    """

    def __init__(
        self,
        layer: Callable[..., nn.Module],
        before: int,
        after: int,
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.depthwise = layer(before, before, 3, stride=stride, dilation=dilation, groups=before)
        self.pointwise = layer(before, after)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C', *S')."""
        y: Tensor = self.pointwise(self.depthwise(x))
        return y


def truncated_normal(module: nn.Module) -> None:
    """Normal with deviation .09, drawn again beyond two deviations; bias 0."""
    nn.init.trunc_normal_(module.get_parameter("weight"), std=0.09, a=-0.18, b=0.18)
    if module.bias is not None:
        nn.init.zeros_(module.get_parameter("bias"))


class MobileNetV1(Classifier):
    """MobileNet V1 of any width.

    All weights start as in the reference code (TensorFlow's slim): normal with deviation .09, cut
    at two deviations; biases at 0.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        width_multiplier: times all channels, rounded down, but 8 at least.
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
        >>> model = MobileNetV1(width_multiplier=0.25, output_stride=16)
        >>> [(stage.channels, stage.reduction) for stage in model.stages]
        [(16, 2), (32, 4), (64, 8), (128, 16), (256, 16)]
    """

    initial: InitialTable = (
        (CONVOLUTIONS, truncated_normal),
        (NORMS, unit),
        ((nn.Linear,), truncated_normal),
    )
    layouts: ClassVar[Mapping[str, Layout]] = {"timm": _TIMM}

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
        norm_momentum: float = 0.1,
        dropout: float = 0.001,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        positive(width_multiplier=width_multiplier, norm_eps=norm_eps)
        probability(norm_momentum=norm_momentum, dropout=dropout)
        first = 2 if stem == "imagenet" else 1
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        norm = {"norm_eps": norm_eps, "norm_momentum": norm_momentum}
        like: dict[str, Any] = {"padding": padding, "activation": "relu6", **norm}
        layer: Callable[..., nn.Module] = partial(ConvNormAct, spatial_dims, **like)

        before = _scaled(32, width_multiplier)
        self.stem = layer(in_channels, before, 3, stride=first)
        stages = []
        places = steps(_STRIDES, first, output_stride)
        for i, ((width, depth), place) in enumerate(zip(_TABLE, places, strict=True), start=1):
            after = _scaled(width, width_multiplier)
            blocks = Blocks()
            for k in range(depth):
                stride, dilation = place.at(k)
                blocks.append(
                    SeparableBlock(layer, before, after, stride=stride, dilation=dilation)
                )
                before = after
            self.add_module(f"stage{i}", blocks)
            stages.append(Stage(f"stage{i}", after, place.reduction))
        self.stages = tuple(stages)
        self.final = nn.Identity()
        self.heatmap_layer = stages[-1].name
        self.neck = global_average(spatial_dims, dropout)
        self.build_head(before, num_classes)
        self.initialise_weights()


def _scaled(channels: int, multiplier: float) -> int:
    return max(8, int(channels * multiplier))


VARIANTS: Final = (
    Variant(
        name="mobilenet_v1",
        cls=MobileNetV1,
        keywords={},
        source="Howard et al. 2017, table 1",
        parameters=4_231_976,
        summary="13 depthwise separable blocks",
        year=2017,
    ),
)
