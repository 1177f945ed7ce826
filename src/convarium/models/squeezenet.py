"""SqueezeNet: the accuracy of AlexNet with a fiftieth of its weights.

    x -> conv -> relu -> pool -> fire x3 -> pool -> fire x4 -> pool -> fire     (1.0; 1.1: 2, 2, 4)
         /2              /4      stage1     /8      stage2     /16     stage3
      -> dropout -> conv1 to classes -> relu -> mean

    fire: x -> conv1 (squeeze) -> relu -> conv1 beside conv3 (expand) -> join channels -> relu

Where do the weights of a network sit? In 3x3 kernels over many channels, and in dense layers. So
half of the kernels become 1x1, which costs a ninth; the others read a map that a 1x1 convolution
has squeezed to an eighth of the channels first; and there are no dense layers, as the last 1x1
convolution judges every position and the answers are averaged. Pools come late, so that most
layers work on large maps, which helps accuracy and costs no weights. Version 1.1 starts with a
smaller kernel and pools earlier: 2.4 times less work at the same accuracy.

Differs from the paper: the first convolution is not padded, as in the published weights of
torchvision, so that the first map of an image of 224 has 109 positions a side (1.0), not 111.

References:
    Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters",
    arXiv:1602.07360, table 1 (1.0), section 5.1 (how the widths grow).
    Iandola 2016, github.com/forresti/SqueezeNet, SqueezeNet_v1.1 (1.1).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS, Blocks, InitialTable, global_average, torch_layers
from convarium.models.contract import Classifier, Stage
from convarium.models.layouts import Layout
from convarium.models.options import at_least, block_counts, probability, whole
from convarium.models.variants import Variant

_TORCHVISION: Final = Layout(
    (
        (r"^features\.0\.", "stem.conv."),
        (r"^features\.(?P<block>\d+)\.", "{block}."),
        (r"\.expand(\d)x\d\.", r".expand\1."),
        (r"^classifier\.1\.", "head."),
    ),
    first=3,
)


class Fire(nn.Module):
    """Squeeze the channels with 1x1 kernels, then expand them with 1x1 and 3x3 kernels.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: channels of the input map.
        squeezed: channels between the two steps.
        expanded1: channels of the 1x1 kernels.
        expanded3: channels of the 3x3 kernels.

    Shape:
        (B, C_in, *S) -> (B, expanded1 + expanded3, *S)

    Example:
        >>> Fire(2, 96, squeezed=16, expanded1=64, expanded3=64)(torch.zeros(1, 96, 9, 9)).shape
        torch.Size([1, 128, 9, 9])
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, squeezed: int, expanded1: int, expanded3: int
    ) -> None:
        super().__init__()
        rank = torch_layers(spatial_dims)
        self.squeeze = rank.conv(in_channels, squeezed, 1)
        self.act1 = nn.ReLU()
        self.expand1 = rank.conv(squeezed, expanded1, 1)
        self.act2 = nn.ReLU()
        self.expand3 = rank.conv(squeezed, expanded3, 3, padding=1)
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, *S) to (B, C_out, *S)."""
        x = self.act1(self.squeeze(x))
        return torch.cat((self.act2(self.expand1(x)), self.act3(self.expand3(x))), 1)


def _he_uniform(module: nn.Module) -> None:
    """Uniform with variance 2 / fan_in; bias 0."""
    nn.init.kaiming_uniform_(module.get_parameter("weight"), nonlinearity="relu")
    nn.init.zeros_(module.get_parameter("bias"))


class SqueezeNet(Classifier):
    """Fire modules, and a 1x1 convolution for a head, which judges every position.

    So the head comes before the mean: `forward` is the mean of relu(head(map)), and `embed` the
    mean of the map itself (B, F). Weights start uniform with He's variance, and normal with
    standard deviation 0.01 in the head.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        depths: fire modules between pools.
        stem: "imagenet" (stride 2 and a pool: 1/4 of the size; inputs of 21 or more in 1.0, 17
            in 1.1) or "cifar" (all of it; 4 or more).
        stem_width: channels of the first convolution.
        stem_kernel: its taps along each axis; an odd number.
        base_width: channels that the first fire module expands to.
        width_step: channels more after every `width_every` modules.
        width_every: see `width_step`.
        squeeze_ratio: channels between squeeze and expand, as a share of a module's width.
        share_3x3: share of a module's width that comes from 3x3 kernels.
        dropout: probability, in front of the head.

    Shape:
        (B, C, *S) -> (B, num_classes), or (B, num_features) when num_classes is 0

    Raises:
        OptionError: a value is out of range, or leaves a layer without channels.

    Example:
        >>> model = SqueezeNet(depths=[1, 2], stem="cifar", num_classes=10)
        >>> [(stage.name, stage.channels, stage.reduction) for stage in model.stages]
        [('stage1', 128, 1), ('stage2', 256, 2)]
    """

    initial: InitialTable = ((CONVOLUTIONS, _he_uniform),)
    layouts: ClassVar[Mapping[str, Layout]] = {"torchvision": _TORCHVISION}

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 1000,
        depths: Sequence[int] = (3, 4, 1),
        stem: Literal["imagenet", "cifar"] = "imagenet",
        stem_width: int = 96,
        stem_kernel: int = 7,
        base_width: int = 128,
        width_step: int = 128,
        width_every: int = 2,
        squeeze_ratio: float = 0.125,
        share_3x3: float = 0.5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        block_counts(depths=depths)
        at_least(1, stem_width=stem_width, base_width=base_width, width_every=width_every)
        at_least(0, width_step=width_step)
        probability(dropout=dropout)
        _check_stem_kernel(stem_kernel)
        imagenet = stem == "imagenet"
        self.input_size = (224 if imagenet else 32,) * spatial_dims

        self.stem = _stem(spatial_dims, in_channels, stem_width, stem_kernel, imagenet)
        before, number, stages = stem_width, 0, []
        for i, depth in enumerate(depths, start=1):
            blocks: list[nn.Module] = [_pool(spatial_dims)] if i > 1 else []
            for _ in range(depth):
                width = base_width + width_step * (number // width_every)
                blocks.append(_fire(spatial_dims, before, width, squeeze_ratio, share_3x3))
                before, number = width, number + 1
            self.add_module(f"stage{i}", Blocks(*blocks))
            stages.append(Stage(f"stage{i}", before, (4 if imagenet else 1) * 2 ** (i - 1)))
        self.stages = tuple(stages)
        mapped = 2 ** (len(depths) - (not imagenet))  # positions that the pools need
        self.smallest_input = 2 * (mapped - 1) + stem_kernel if imagenet else mapped

        self.final = nn.Identity()
        self.heatmap_layer = stages[-1].name
        self.dropout = nn.Dropout(dropout)
        self.build_head(before, num_classes)
        self.act = nn.ReLU()
        self.neck = global_average(spatial_dims)
        self.initialise_weights()

    def build_head(self, num_features: int, num_classes: int) -> None:
        """Make the last 1x1 convolution, or none."""
        at_least(0, num_classes=num_classes)
        self.num_features = num_features
        self.num_classes = num_classes
        conv = torch_layers(self.spatial_dims).conv
        self.head = conv(num_features, num_classes, 1) if num_classes else nn.Identity()

    def reset_head(self, num_classes: int) -> None:
        """Replace the last 1x1 convolution by a new one; everything else stays as it is.

        Args:
            num_classes: outputs of the new head; 0 leaves none.

        Raises:
            OptionError: `num_classes` is negative, or no whole number.
        """
        weight = next(self.parameters())
        self.build_head(self.num_features, whole(num_classes=num_classes))
        self._initialise_head()
        self.head.to(device=weight.device, dtype=weight.dtype).train(self.training)
        self.config["num_classes"] = self.num_classes

    def in_order(self) -> dict[str, nn.Module]:
        """The children that hold weights, and the dropout before the head, in order."""
        children = super().in_order()
        neck = {"act": self.act, "neck": children.pop("neck")}
        last = {"dropout": self.dropout, "head": children.pop("head")}
        return {**children, **last, **neck}

    def initialise_weights(self) -> None:
        """Draw the initial weights: by the family's table, but for the head."""
        super().initialise_weights()
        self._initialise_head()

    def embed(self, x: Tensor) -> Tensor:
        """The mean of the map that the head reads.

        Shape:
            (B, C, *S) -> (B, num_features)
        """
        y: Tensor = self.neck(self.dropout(self.forward_features(x)))
        return y

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, num_classes), the means of what is not negative; or the embedding."""
        self.refuse(mask)
        if self.num_classes == 0:
            return self.embed(x)
        judged = self.act(self.head(self.dropout(self.forward_features(x))))
        y: Tensor = self.neck(judged)
        return y

    def _initialise_head(self) -> None:
        if self.num_classes:
            nn.init.normal_(self.head.get_parameter("weight"), std=0.01)
            nn.init.zeros_(self.head.get_parameter("bias"))


def _stem(
    spatial_dims: int, in_channels: int, width: int, kernel: int, imagenet: bool
) -> nn.Sequential:
    rank = torch_layers(spatial_dims)
    stride, padding = (2, 0) if imagenet else (1, kernel // 2)
    conv = rank.conv(in_channels, width, kernel, stride=stride, padding=padding)
    parts = OrderedDict[str, nn.Module](conv=conv, act=nn.ReLU())
    if imagenet:
        parts["pool"] = _pool(spatial_dims)
    return nn.Sequential(parts)


def _pool(spatial_dims: int) -> nn.Module:
    """Windows of 3 with stride 2; the last one may reach over the edge."""
    return torch_layers(spatial_dims).max_pool(3, stride=2, ceil_mode=True)


def _fire(spatial_dims: int, before: int, width: int, ratio: float, share_3x3: float) -> Fire:
    squeezed, expanded3 = width * ratio, width * share_3x3
    if not (1 <= squeezed <= width and 1 <= expanded3 <= width - 1):
        raise OptionError(
            f"squeeze_ratio (={ratio}) and share_3x3 (={share_3x3}) leave a part of a fire module "
            f"of width {width} without channels; take shares between 0 and 1, or a larger "
            "base_width."
        )
    squeezed, expanded3 = int(squeezed), int(expanded3)
    return Fire(spatial_dims, before, squeezed, width - expanded3, expanded3)


def _check_stem_kernel(stem_kernel: int) -> None:
    at_least(1, stem_kernel=stem_kernel)
    if stem_kernel % 2 == 0:
        raise OptionError(f"stem_kernel (={stem_kernel}) must be odd, so that it has a centre.")


_REPOSITORY: Final = "Iandola 2016, github.com/forresti/SqueezeNet, SqueezeNet_v1.1"

VARIANTS: Final = (
    Variant(
        name="squeezenet1_0",
        cls=SqueezeNet,
        keywords={},
        source="Iandola et al. 2016, table 1",
        parameters=1_248_424,
        summary="eight fire modules, no dense layer",
        year=2016,
    ),
    Variant(
        name="squeezenet1_1",
        cls=SqueezeNet,
        keywords={"depths": (2, 2, 4), "stem_width": 64, "stem_kernel": 3},
        source=_REPOSITORY,
        parameters=1_235_496,
        summary="eight fire modules, earlier pools: 2.4 times less work",
        year=2016,
    ),
)
