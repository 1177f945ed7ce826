"""The small tables of the theory, computed: what sharing, stacking and separating weights saves.

Each function gives rows to set beside each other: weights, multiply-adds, receptive field. Blocks
are those of `convarium.layers`, built without memory and counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import nn

from convarium.errors import OptionError
from convarium.layers import CONVOLUTIONS, BasicBlock, BottleneckBlock, ConvNormAct
from convarium.measure import arguments
from convarium.measure.arguments import shown, sizes, whole
from convarium.measure.temporal import temporal_receptive_field

_WIDEST: Final = 2**16  # channels of a block that is built without memory,
_LONGEST: Final = 2**9  # and taps along an axis


@dataclass(frozen=True)
class Design:
    """One way to connect an input to an output, in numbers.

    Attributes:
        name: what it is.
        outputs: numbers that it computes for one sample.
        weights: of its connections.
        others: parameters of biases and norms.
        macs: multiply-adds of the connections for one sample; padding counts, as everywhere.
        field: inputs along each axis that one output depends on.
    """

    name: str
    outputs: int
    weights: int
    others: int
    macs: int
    field: tuple[int, ...]

    @property
    def parameters(self) -> int:
        """Weights, biases and norms."""
        return self.weights + self.others

    def to_json(self) -> dict[str, Any]:
        """The row as JSON-able values."""
        return {**asdict(self), "parameters": self.parameters}


def connection_cost(
    input_shape: Sequence[int],
    units: int | None = None,
    *,
    filters: int = 64,
    kernel_size: int = 3,
) -> tuple[Design, Design, Design]:
    """Fully connected, locally connected and convolutional layers on one input, in this order.

    With n inputs in C channels, m outputs in C' filters and windows of k^d: weights n m, then
    m C k^d, then C' C k^d. Locality saves n / (C k^d), and sharing the weights once more m / C',
    the number of positions. Sharing saves weights only: multiply-adds stay as they are.

    Args:
        input_shape: (B, C, *S); the batch does not matter.
        units: outputs of the fully connected layer; None: as many as the others have, m.
        filters: C', output channels of the other two, each with a position for each of the
            input's (stride 1, zero padding).
        kernel_size: k, taps along each axis.

    Raises:
        OptionError: `units`, `filters` or `kernel_size` is not whole or is below 1.
        ShapeError: `input_shape` has not 1 to 3 axes behind batch and channels.

    Example:
        >>> dense, local, shared = connection_cost((1, 3, 224, 224), units=4096)
        >>> dense.weights, local.weights, shared.parameters
        (616562688, 86704128, 1792)

    References:
        Goodfellow, Bengio, Courville 2016, "Deep learning", section 9.2.
    """
    shape = arguments.shape(input_shape, 3, 5)
    channels, size = shape[1], shape[2:]
    filters, k = whole(1, filters=filters), whole(1, kernel_size=kernel_size)
    inputs, outputs = channels * math.prod(size), filters * math.prod(size)
    dense = outputs if units is None else whole(1, units=units)
    window = channels * k ** len(size)
    field = (k,) * len(size)
    return (
        Design("fully connected", dense, inputs * dense, dense, inputs * dense, size),
        Design("locally connected", outputs, outputs * window, outputs, outputs * window, field),
        Design("convolutional", outputs, filters * window, filters, outputs * window, field),
    )


def stack_against_kernel(
    num_layers: int = 2,
    kernel_size: int = 3,
    *,
    channels: int = 1,
    size: Sequence[int] = (32, 32),
) -> tuple[Design, Design]:
    """A stack of small kernels, and the one large kernel that sees as much.

    L layers of k^d taps see K = 1 + L (k - 1) positions an axis with L k^d C^2 weights; one layer
    with that field has K^d C^2. Two 3x3 layers: 18 against 25, with a non-linearity more.

    Args:
        num_layers: L, layers of the stack, with stride 1.
        kernel_size: k, taps along each axis.
        channels: C, of input, output and between.
        size: S, positions of the map along each of 1 to 3 axes.

    Raises:
        OptionError: a number is not whole or is below 1, or `size` has not 1 to 3 axes.

    Example:
        >>> [(row.name, row.weights, row.field) for row in stack_against_kernel()]
        [('2 layers of 3x3', 18, (5, 5)), ('1 layer of 5x5', 25, (5, 5))]

    References:
        Simonyan, Zisserman 2014, "Very deep convolutional networks", arXiv:1409.1556, section 2.3.
    """
    layers = whole(1, num_layers=num_layers)
    width, shape = whole(1, channels=channels), _map_size(size)
    taps = whole(1, kernel_size=kernel_size)
    large = temporal_receptive_field(layers, taps, convs_per_layer=1, dilation_base=1)

    def row(count: int, k: int) -> Design:
        name = f"{count} layer{'s' * (count > 1)} of {'x'.join([str(k)] * len(shape))}"
        weights, positions = count * k ** len(shape) * width**2, math.prod(shape)
        field = (large,) * len(shape)
        return Design(name, width * positions, weights, 0, weights * positions, field)

    return row(layers, taps), row(1, large)


def bottleneck_against_plain(
    channels: int = 256, reduction: int = 4, *, size: Sequence[int] = (56, 56)
) -> tuple[Design, Design]:
    """A bottleneck residual block, and the plain one of two 3x3 convolutions at full width.

    1x1 to C / r, 3x3, 1x1 back: the 3x3 has r^2 times fewer weights. At 256 channels the block has
    70,400 parameters with its three batch norms (not the 70,144 that circulate), against 1,179,648
    weights of the plain pair. It is not the same at less cost: its field is 3, the pair's 5.

    Args:
        channels: C, of input and output.
        reduction: r, by which the inner width is smaller; divides C.
        size: positions of the map along each of 1 to 3 axes.

    Raises:
        OptionError: a number is not whole or out of range, `reduction` does not divide `channels`,
            or `size` has not 1 to 3 axes.

    Example:
        >>> bottleneck, plain = bottleneck_against_plain()
        >>> bottleneck.parameters, plain.weights
        (70400, 1179648)

    References:
        He et al. 2015, "Deep residual learning", arXiv:1512.03385, figure 5.
    """
    width, factor = whole(1, _WIDEST, channels=channels), whole(1, reduction=reduction)
    if width % factor:
        raise OptionError(f"reduction (={factor}) must divide channels (={width}).")
    shape = _map_size(size)
    with torch.device("meta"):
        inner = width // factor
        bottleneck = BottleneckBlock(len(shape), width, width, inner_channels=inner)
        plain = BasicBlock(len(shape), width, width)
    return _count("bottleneck", bottleneck, shape), _count("plain", plain, shape)


def separable_against_standard(
    in_channels: int = 256,
    out_channels: int = 256,
    kernel_size: int = 3,
    *,
    size: Sequence[int] = (14, 14),
) -> tuple[Design, Design]:
    """A depthwise separable convolution, and the standard one; each convolution with batch norm.

    k^d on each channel by itself, then 1x1 across them: C k^d + C C' weights against C C' k^d. At
    256 channels with 3x3 taps it has 68,864 parameters with its two norms (not the 68,352 that
    circulate), .117 of the standard one's; of the weights alone it is .115.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: k, taps along each axis.
        size: positions of the map along each of 1 to 3 axes.

    Raises:
        OptionError: a number is not whole or out of range, or `size` has not 1 to 3 axes.

    Example:
        >>> separable, standard = separable_against_standard()
        >>> separable.parameters, round(separable.parameters / standard.parameters, 3)
        (68864, 0.117)

    References:
        Howard et al. 2017, "MobileNets", arXiv:1704.04861, section 3.1 and figure 3.
    """
    c, filters = (
        whole(1, _WIDEST, in_channels=in_channels),
        whole(1, _WIDEST, out_channels=out_channels),
    )
    k, shape = whole(1, _LONGEST, kernel_size=kernel_size), _map_size(size)
    rank = len(shape)
    with torch.device("meta"):
        depthwise = ConvNormAct(rank, c, c, k, groups=c)
        separable = nn.Sequential(depthwise, ConvNormAct(rank, c, filters, 1))
        standard = ConvNormAct(rank, c, filters, k)
    return _count("separable", separable, shape), _count("standard", standard, shape)


def _map_size(size: Sequence[int]) -> tuple[int, ...]:
    """The positions along each axis, checked."""
    shape = sizes(size)
    if len(shape) not in (1, 2, 3) or min(shape) < 1:
        raise OptionError(
            f"size (={shown(size)}) must be 1 to 3 whole numbers of 1 or more, such as (56, 56)."
        )
    return shape


def _count(name: str, block: nn.Module, size: tuple[int, ...]) -> Design:
    """The row of a block whose convolutions stand one behind the other and keep the size."""
    convs = [module for module in block.modules() if isinstance(module, CONVOLUTIONS)]
    weights, positions = sum(conv.weight.numel() for conv in convs), math.prod(size)
    reach = [sum(conv.kernel_size[axis] - 1 for conv in convs) for axis in range(len(size))]
    return Design(
        name=name,
        outputs=convs[-1].out_channels * positions,
        weights=weights,
        others=sum(parameter.numel() for parameter in block.parameters()) - weights,
        macs=weights * positions,
        field=tuple(1 + more for more in reach),
    )
