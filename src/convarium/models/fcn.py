"""The fully convolutional network for time series: three convolutions, and a mean over time.

    x (B, C, T) -> conv8, 128 -> conv5, 256 -> conv3, 128 -> mean over time -> linear
                   each with batch norm and ReLU, and all of them keep the length

No pool and no dense layer on positions: whatever a filter looks for counts wherever it stands, a
series of any length gives the same number of features, and the mean leaves a class map whose
average is the logit, so that one sees which stretch spoke for a class.

Differs from the paper: the convolutions have no bias, which the batch norm behind them would take
away. `members` sets several networks side by side, whose answers are averaged; the paper has one.

References:
    Wang, Yan, Oates 2017, "Time series classification from scratch with deep neural networks: a
    strong baseline", arXiv:1611.06455, section II.B and figure 1 (b).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from convarium.layers import MeanOverTime, SequenceConv
from convarium.models.contract import Stage
from convarium.models.ensemble import Average, Ensemble, Members
from convarium.models.options import at_least, equal_lengths
from convarium.models.sequence import OneAxis
from convarium.models.variants import Variant


class FCN(Ensemble):
    """Convolutions that keep the length, and the mean over the real steps.

    Args:
        spatial_dims: 1; sequences have one axis.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        channels: of each convolution.
        kernel_sizes: of each convolution; of an even one's zeros, the smaller half stands in front.
        members: networks that are trained side by side, each on its own rows of a batch.
        average: what of several members is averaged: "probabilities", where the outputs are logits
            of classes that exclude each other, or the "outputs" themselves.

    Shape:
        (B, C, T), mask (B, T) -> (B, num_classes): of several members the logarithms of the mean
        probabilities

    Raises:
        OptionError: lists of different lengths, or a value out of range.

    Example:
        >>> model = FCN(in_channels=3, num_classes=4)
        >>> model(model.example_input(batch=2, size=50)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        *,
        spatial_dims: OneAxis = 1,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (128, 256, 128),
        kernel_sizes: Sequence[int] = (8, 5, 3),
        members: int = 1,
        average: Average = "probabilities",
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        at_least(1, channels=channels, kernel_sizes=kernel_sizes, members=members)
        equal_lengths(channels=channels, kernel_sizes=kernel_sizes)
        self.input_size = (150,)

        self.stem = nn.Identity()
        stages, before = [], in_channels
        for i, (width, size) in enumerate(zip(channels, kernel_sizes, strict=True), start=1):
            blocks = [SequenceConv(before, width, size) for _ in range(members)]
            self.add_module(f"stage{i}", Members(*blocks, shared=i == 1))
            stages.append(Stage(f"stage{i}", members * width, 1))
            before = width
        self.stages = tuple(stages)
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = MeanOverTime()
        self.build_head(members * before, num_classes)
        self.initialise_weights()


VARIANTS = (
    Variant(
        name="fcn",
        cls=FCN,
        keywords={},
        source="Wang et al. 2017, section II.B",
        parameters=264_450,
        summary="three convolutions and a mean over time, for series",
        year=2017,
    ),
)
