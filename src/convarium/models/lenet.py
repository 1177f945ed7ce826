"""LeNet-5, the network that read the digits on cheques.

    1x32x32 -> conv5, 6 -> tanh -> mean 2 -> conv5, 16 -> tanh -> mean 2 -> 16x5x5
            -> 400 -> linear 120 -> tanh -> linear 84 -> tanh -> linear 10

Dense layers on pixels would have to learn each stroke anew at every position. Here one small set
of weights is shared by all positions, so a stroke is learnt once and found anywhere; the pools then
give up its exact place, so that a digit drawn a little higher stays the same digit. Features and
decision are learnt together, from pixels to classes, by gradients alone.

Differs from the paper: tanh(x) for 1.7159 tanh(2x/3); the pools have no coefficient and bias; the
second convolution sees all six maps instead of chosen subsets; a linear output for the distances
to drawn digits; and weights start uniform in +-1/sqrt(fan-in). The paper's +-2.4/fan-in fits its
steeper tanh and its second-order steps: here, SGD at 0.1 stays at chance for four epochs of digits.

References:
    LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), section II.B and figure 2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.layers import CONVOLUTIONS, Blocks, make_pool, torch_layers, uniform_fan_in
from convarium.models.contract import Classifier, Stage
from convarium.models.options import at_least
from convarium.models.variants import Variant


class LeNet(Classifier):
    """Two convolutions, two average pools, three dense layers.

    The dense layers read every position, so the network is made for one image size.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the last layer out, and 84 numbers remain.
        image_size: positions along each axis, or one number for all; 16 or more.

    Shape:
        (B, C, *image_size) -> (B, num_classes)

    Raises:
        OptionError: the image size is too small or has too few entries.

    Example:
        >>> model = LeNet()
        >>> sum(p.numel() for p in model.parameters())
        61706
    """

    initial = ((CONVOLUTIONS, uniform_fan_in), ((nn.Linear,), uniform_fan_in))

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 10,
        image_size: Sequence[int] | int = 32,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        size = (image_size,) * spatial_dims if isinstance(image_size, int) else tuple(image_size)
        if len(size) != spatial_dims:
            raise OptionError(
                f"image_size (={list(size)}) must have one entry for each of the "
                f"{spatial_dims} axes of spatial_dims."
            )
        at_least(16, image_size=size)
        self.input_size = size

        self.stem = nn.Identity()
        self.stage1 = _stage(spatial_dims, in_channels, 6)
        self.stage2 = _stage(spatial_dims, 6, 16)
        self.stages = (Stage("stage1", 6, 2), Stage("stage2", 16, 4))
        self.heatmap_layer = "stage2"
        self.final = nn.Identity()
        positions = prod(((n - 4) // 2 - 4) // 2 for n in size)
        layers = {
            "flatten": nn.Flatten(1),
            "linear1": nn.Linear(16 * positions, 120),
            "act1": nn.Tanh(),
            "linear2": nn.Linear(120, 84),
            "act2": nn.Tanh(),
        }
        self.neck = nn.Sequential(OrderedDict(layers))
        self.build_head(84, num_classes)
        self.initialise_weights()

    def check(self, x: Tensor) -> Tensor:
        """Return `x` if its rank, channels and size fit."""
        x = super().check(x)
        if tuple(x.shape[2:]) != self.input_size:
            raise ShapeError(
                f"{self.name or 'LeNet'} was made for inputs of size {self.input_size}, not "
                f"{tuple(x.shape[2:])}; resize them, or create it with that image_size."
            )
        return x


def _stage(spatial_dims: int, in_channels: int, out_channels: int) -> Blocks:
    conv = torch_layers(spatial_dims).conv(in_channels, out_channels, 5)
    layers = {"conv": conv, "act": nn.Tanh(), "pool": make_pool("avg", spatial_dims)}
    return Blocks(nn.Sequential(OrderedDict(layers)))


VARIANTS = (
    Variant(
        name="lenet5",
        cls=LeNet,
        keywords={},
        source="LeCun et al. 1998, section II.B",
        parameters=61_706,
        summary="two convolutions and three dense layers for 32x32 digits",
        year=1998,
    ),
)
