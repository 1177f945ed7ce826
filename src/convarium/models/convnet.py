"""Plain convolutional networks of any rank: the baseline that every other family must beat.

    x -> [conv k -> norm -> activation -> dropout] -> pool 2 -> [...] -> mean -> linear

A convolution looks at a few neighbouring positions and has the same weights everywhere, so that
what it learnt in one place it knows in all; a pool keeps the strongest answer among neighbours and
lets the next block see twice as far. The mean over the last map leaves the number of parameters
independent of the size of the input.

One block per entry of `channels`; the pool stands between blocks, so that the last map keeps its
positions.

References:
    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition",
    section II.A (shared weights, local fields, subsampling).
    Lin, Chen, Yan 2013, "Network in network", arXiv:1312.4400, section 3.2 (the mean of the map).
    Ioffe, Szegedy 2015, "Batch normalization", arXiv:1502.03167, section 3.2 (a norm before the
    activation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torch import nn

from convarium.layers import Activation, Blocks, ConvBlock, Norm, Pool, global_average
from convarium.models.contract import Classifier, Stage
from convarium.models.options import at_least, equal_lengths, probability
from convarium.models.variants import Variant

CHANNELS: Final = {1: (64, 128, 256), 2: (32, 64, 128), 3: (16, 32, 64)}


class ConvNet(Classifier):
    """Convolutional blocks in a row.

    Args:
        spatial_dims: 1 for signals, 2 for images, 3 for volumes.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        channels: of each block; None is 64-128-256 in 1-D, 32-64-128 in 2-D, 16-32-64 in 3-D.
        kernel_sizes: of each block, or one for all.
        norm: after each convolution; without one, convolutions have a bias.
        activation: after each norm.
        dropout: probability, after each activation.
        pool: between blocks, halving the map.

    Shape:
        (B, C, *S) -> (B, num_classes)

    Raises:
        OptionError: a list of the wrong length or a value out of range.

    Example:
        >>> model = ConvNet(spatial_dims=1, in_channels=6, num_classes=4, kernel_sizes=[7, 5, 3])
        >>> [stage.channels for stage in model.stages]
        [64, 128, 256]
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        num_classes: int = 10,
        channels: Sequence[int] | None = None,
        kernel_sizes: Sequence[int] | int = 3,
        norm: Norm = "batch",
        activation: Activation = "relu",
        dropout: float = 0.0,
        pool: Pool = "max",
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        widths = list(CHANNELS[spatial_dims] if channels is None else channels)
        sizes = [kernel_sizes] * len(widths) if isinstance(kernel_sizes, int) else kernel_sizes
        at_least(1, channels=widths, kernel_sizes=sizes)
        equal_lengths(channels=widths, kernel_sizes=sizes)
        probability(dropout=dropout)
        if "channels" in self.config:  # not so in a subclass that decides on them itself
            self.config["channels"] = widths  # what None stood for, so that a saved run keeps it
        self.input_size = (32,) * spatial_dims

        self.stem = nn.Identity()
        stages, before, reduction = [], in_channels, 1
        for i, (width, size) in enumerate(zip(widths, sizes, strict=True), start=1):
            between: Pool = pool if i < len(widths) else "none"
            block = ConvBlock(
                spatial_dims,
                before,
                width,
                size,
                norm=norm,
                activation=activation,
                dropout=dropout,
                pool=between,
            )
            self.add_module(f"stage{i}", Blocks(block))
            before, reduction = width, reduction * (1 if between == "none" else 2)
            stages.append(Stage(f"stage{i}", width, reduction))
        self.stages = tuple(stages)
        self.smallest_input = reduction
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = global_average(spatial_dims)
        self.build_head(before, num_classes)
        self.initialise_weights()


VARIANTS = (
    Variant(
        name="convnet",
        cls=ConvNet,
        keywords={},
        source="our own",
        parameters=94_762,
        summary="plain convolutional blocks; lists of channels and kernel sizes",
    ),
)
