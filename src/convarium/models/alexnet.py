"""AlexNet: the network that won ImageNet in 2012, and its single tower of 2014.

    x -> conv11 /4 -> relu -> [norm] -> pool -> conv5 -> relu -> [norm] -> pool
         /4                             /8                                 /16
      -> conv3 -> relu -> conv3 -> relu -> conv3 -> relu -> pool -> mean to 6x6
                                                            /32
      -> linear 4096 -> relu -> linear 4096 -> relu -> linear

Nobody designs a feature here: five layers of kernels and three dense layers are fitted to the
pixels of 1.2 million photographs at once. Three things made that possible in 2012. ReLU does not
saturate, so the error falls several times faster than with tanh; pools and strides shrink the map
quickly enough for the graphics cards of the day; and dropout keeps the dense layers, which own
96 % of the weights, from learning the training images by heart. The network of 2012 ran on two
cards, half of the maps on each, so that three convolutions have two groups; and in its response
norm the maps at one position compete. `alexnet` is the later network with one tower.

Differs from the paper: an image of 224 is padded by 2, which gives the 55x55 maps that the papers
speak of; the mean to 6x6 lets the network read other sizes (at 224 it changes nothing). `alexnet`
is torchvision's reading of the single tower: no response norm, dropout on what enters the hidden
dense layers, weights that start uniform in +-1/sqrt(fan-in).

References:
    Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural
    networks", NeurIPS 25, figure 2, sections 3.3 (response norm), 3.5 and 5 (initial weights).
    Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks",
    arXiv:1404.5997: the single tower.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

from torch import nn

from convarium.errors import OptionError
from convarium.layers import (
    CONVOLUTIONS,
    Blocks,
    InitialTable,
    small_normal,
    torch_layers,
    uniform_fan_in,
)
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, probability
from convarium.models.variants import Variant

_TORCHVISION: Final = Layout(
    (
        (r"^features\.0\.", "stage1.0.conv."),
        (r"^features\.3\.", "stage2.0.conv."),
        (r"^features\.6\.", "stage3.0.conv."),
        (r"^features\.8\.", "stage3.1.conv."),
        (r"^features\.10\.", "stage3.2.conv."),
        (r"^classifier\.1\.", "neck.linear1."),
        (r"^classifier\.4\.", "neck.linear2."),
        (r"^classifier\.6\.", "head."),
    )
)


class AlexNet(Classifier):
    """Five convolutions and three dense layers; as it stands, the single tower of 2014.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the last layer out.
        widths: channels of the five convolutions.
        groups: of convolutions 2, 4 and 5.
        response_norm: after the ReLU of convolutions 1 and 2.
        stem: "imagenet" (11x11 with stride 4; inputs of 63 or more) or "cifar" (5x5 with stride 1;
            inputs of 15 or more).
        pooled_size: positions along each axis that the dense layers read.
        dense_width: outputs of the two hidden dense layers.
        dropout: probability, on what enters the hidden dense layers.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: `widths` has not five entries or is not divisible by `groups`, or a value is
            out of range.

    Example:
        >>> model = AlexNet(stem="cifar", pooled_size=3, dense_width=256, num_classes=10)
        >>> model.forward_features(model.example_input()).shape
        torch.Size([1, 256, 3, 3])
    """

    initial: InitialTable = (((*CONVOLUTIONS, nn.Linear), uniform_fan_in),)
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION}
    dropped: ClassVar[Literal["inputs", "outputs"]] = "inputs"

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        widths: Sequence[int] = (64, 192, 384, 256, 256),
        groups: int = 1,
        response_norm: bool = False,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        pooled_size: int = 6,
        dense_width: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        at_least(1, widths=widths, groups=groups, pooled_size=pooled_size, dense_width=dense_width)
        probability(dropout=dropout)
        _check_widths(widths, groups)
        self.input_size = (224 if stem == "imagenet" else 32,) * spatial_dims
        self.smallest_input = 63 if stem == "imagenet" else 15  # 15 after the first convolution

        d, size, stride = (spatial_dims, 11, 4) if stem == "imagenet" else (spatial_dims, 5, 1)
        w1, w2, w3, w4, w5 = widths
        conv1 = torch_layers(d).conv(in_channels, w1, size, stride=stride, padding=2)
        conv2 = torch_layers(d).conv(w1, w2, 5, padding=2, groups=groups)
        conv3 = torch_layers(d).conv(w2, w3, 3, padding=1)
        conv4 = torch_layers(d).conv(w3, w4, 3, padding=1, groups=groups)
        conv5 = torch_layers(d).conv(w4, w5, 3, padding=1, groups=groups)
        self.stem = nn.Identity()
        self.stage1 = Blocks(_layer(conv1, d, response_norm=response_norm, pool=True))
        self.stage2 = Blocks(_layer(conv2, d, response_norm=response_norm, pool=True))
        self.stage3 = Blocks(_layer(conv3, d), _layer(conv4, d), _layer(conv5, d, pool=True))
        self.stages = (
            Stage("stage1", w1, 2 * stride),
            Stage("stage2", w2, 4 * stride),
            Stage("stage3", w5, 8 * stride),
        )
        self.final = nn.Identity()
        self.heatmap_layer = "stage3"
        self.neck = _dense(d, w5, pooled_size, dense_width, dropout, self.dropped)
        self.build_head(dense_width, num_classes)
        self.initialise_weights()


class AlexNet2012(AlexNet):
    """The network of 2012: two groups, response norm, dropout on the outputs of dense layers.

    In the response norm, a large answer in one map dampens its two neighbours on either side:

        b_i = a_i / (k + alpha sum_j a_j^2)^beta,    |j - i| <= n // 2

    with n 5, k 2, alpha 1e-4, beta 0.75, after the ReLU of convolutions 1 and 2. Weights start
    normal with standard deviation 0.01; biases at 1 in convolutions 2, 4 and 5 and in the hidden
    dense layers, so that their ReLUs see positive inputs at first, and else at 0.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the last layer out.
        widths: channels of the five convolutions; all even.
        stem: "imagenet" or "cifar", as in `AlexNet`.
        pooled_size: positions along each axis that the dense layers read.
        dense_width: outputs of the two hidden dense layers.
        dropout: probability, on what leaves the hidden dense layers.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: as in `AlexNet`.

    Example:
        >>> model = AlexNet2012(widths=(8, 16, 8, 8, 8), dense_width=16)
        >>> model.stage2[0].conv.groups, model.stage2[0].conv.bias.unique().tolist()
        (2, [1.0])
    """

    initial: InitialTable = (((*CONVOLUTIONS, nn.Linear), small_normal),)
    layouts: ClassVar[Mapping[str, Layout]] = {}
    dropped: ClassVar[Literal["inputs", "outputs"]] = "outputs"

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        widths: Sequence[int] = (96, 256, 384, 384, 256),
        stem: Literal["imagenet", "cifar"] = "imagenet",
        pooled_size: int = 6,
        dense_width: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            widths=widths,
            groups=2,
            response_norm=True,
            stem=stem,
            pooled_size=pooled_size,
            dense_width=dense_width,
            dropout=dropout,
        )

    def initialise_weights(self) -> None:
        """Draw the weights by the family's table, and set the biases that start at 1."""
        super().initialise_weights()
        for name in ("stage2.0.conv", "stage3.1.conv", "stage3.2.conv"):
            nn.init.ones_(self.get_parameter(f"{name}.bias"))
        for name in ("linear1", "linear2"):
            nn.init.ones_(self.neck.get_parameter(f"{name}.bias"))


def _layer(
    conv: nn.Module, spatial_dims: int, *, response_norm: bool = False, pool: bool = False
) -> nn.Sequential:
    parts = OrderedDict[str, nn.Module](conv=conv, act=nn.ReLU())
    if response_norm:
        n = 5  # torch divides its alpha by n, the paper does not
        parts["norm"] = nn.LocalResponseNorm(n, alpha=n * 1e-4, beta=0.75, k=2.0)
    if pool:
        parts["pool"] = torch_layers(spatial_dims).max_pool(3, stride=2)
    return nn.Sequential(parts)


def _dense(
    spatial_dims: int, channels: int, pooled_size: int, width: int, dropout: float, dropped: str
) -> nn.Sequential:
    """The last map to a vector of `width` numbers."""
    rank, before = torch_layers(spatial_dims), dropped == "inputs"
    parts = OrderedDict[str, nn.Module](
        pool=rank.adaptive_avg_pool(pooled_size),
        flatten=nn.Flatten(1),
        dropout1=nn.Dropout(dropout if before else 0.0),
        linear1=nn.Linear(channels * pooled_size**spatial_dims, width),
        act1=nn.ReLU(),
        dropout2=nn.Dropout(dropout),
        linear2=nn.Linear(width, width),
        act2=nn.ReLU(),
        dropout3=nn.Dropout(0.0 if before else dropout),
    )
    return nn.Sequential(parts)


def _check_widths(widths: Sequence[int], groups: int) -> None:
    if len(widths) != 5:
        raise OptionError(
            f"widths (={list(widths)}) must have five entries, one a convolution; for another "
            "number of convolutions, use convnet or vgg11 with depths."
        )
    if any(width % groups for width in widths):
        raise OptionError(
            f"widths (={list(widths)}) must be divisible by groups (={groups}); change either."
        )


VARIANTS: Final = (
    Variant(
        name="alexnet",
        cls=AlexNet,
        keywords={},
        source="Krizhevsky 2014, the single tower as torchvision has it",
        parameters=61_100_840,
        summary="five convolutions and three dense layers, one tower",
        year=2014,
    ),
    Variant(
        name="alexnet_2012",
        cls=AlexNet2012,
        keywords={},
        source="Krizhevsky et al. 2012, figure 2 and section 3.5",
        parameters=60_965_224,
        summary="the winner of 2012: two groups, response norm",
        year=2012,
    ),
)
