"""The residual network for time series: three blocks of three convolutions.

    x (B, C, T) -> block, 64 -> block, 128 -> block, 128 -> mean over time -> linear
    block: x -> conv8 -> norm -> relu -> conv5 -> norm -> relu -> conv3 -> norm
             -> + shortcut(x) -> relu

It is the fully convolutional network of the same paper, three times as deep, with a way around
every three convolutions that lets the gradient through. Long kernels come first: a series has few
channels and long shapes. Nothing shortens the series, so that the last map has its every step.

Differs from the paper: the norm ends the branch before the addition, as the published code has it;
the equations put a ReLU there too. The convolutions have no bias, which their batch norms would
take away. Where the channels stay, the shortcut is a batch norm alone, as in the code.

References:
    Wang, Yan, Oates 2017, "Time series classification from scratch with deep neural networks: a
    strong baseline", arXiv:1611.06455, section II.C and figure 1 (c).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from convarium.layers import MaskedBlocks, MeanOverTime, SequenceConv, SequenceShortcut, hidden
from convarium.models.contract import Stage
from convarium.models.options import at_least
from convarium.models.sequence import OneAxis, SequenceClassifier
from convarium.models.variants import Variant


class ResNet1d(SequenceClassifier):
    """Residual blocks that keep the length, and the mean over the real steps.

    Args:
        spatial_dims: 1; sequences have one axis.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        widths: channels of each block.
        kernel_sizes: of the convolutions of each block, one after the other; of an even one's
            zeros, the smaller half stands in front.

    Shape:
        (B, C, T), mask (B, T) -> (B, num_classes)

    Raises:
        OptionError: a list is empty, or a value out of range.

    Example:
        >>> model = ResNet1d(widths=[8, 16], num_classes=4)
        >>> model(model.example_input(batch=2, size=50)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        *,
        spatial_dims: OneAxis = 1,
        in_channels: int = 1,
        num_classes: int = 2,
        widths: Sequence[int] = (64, 128, 128),
        kernel_sizes: Sequence[int] = (8, 5, 3),
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        at_least(1, widths=widths, kernel_sizes=kernel_sizes)
        self.input_size = (150,)

        self.stem = nn.Identity()
        stages, before = [], in_channels
        for i, width in enumerate(widths, start=1):
            self.add_module(f"stage{i}", MaskedBlocks(SeriesBlock(before, width, kernel_sizes)))
            stages.append(Stage(f"stage{i}", width, 1))
            before = width
        self.stages = tuple(stages)
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = MeanOverTime()
        self.build_head(before, num_classes)
        self.initialise_weights()


class SeriesBlock(nn.Module):
    """Convolutions with batch norms, around which the input passes; ReLU between and behind.

    Shape:
        (B, C_in, T), mask (B, T) -> (B, C_out, T)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_sizes: Sequence[int]) -> None:
        super().__init__()
        last = len(kernel_sizes)
        widths = [in_channels, *[out_channels] * last]
        self.branch = MaskedBlocks(
            *(
                SequenceConv(widths[i], out_channels, size, activation=i + 1 < last)
                for i, size in enumerate(kernel_sizes)
            )
        )
        self.shortcut = SequenceShortcut(in_channels, out_channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C_in, T) to (B, C_out, T), with zeros in the padding."""
        y: Tensor = self.act(self.branch(x, mask) + self.shortcut(x, mask))
        return hidden(y, mask)


VARIANTS = (
    Variant(
        name="resnet1d",
        cls=ResNet1d,
        keywords={},
        source="Wang et al. 2017, section II.C",
        parameters=503_106,
        summary="three residual blocks of kernels 8, 5 and 3, for series",
        year=2017,
    ),
)
