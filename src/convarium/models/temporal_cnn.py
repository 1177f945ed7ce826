"""A plain network for series of several variables: each variable a channel, one vector at the end.

    x (B, 6, T) -> [conv5 -> norm -> relu -> max 2] x 3 -> conv5 -> norm -> relu
                   64, 128, 256                            256
                -> mean over time -> linear 128 -> linear

Convolutions along time find short shapes in all variables together, pools keep the strongest and
widen what the next layer sees, and the mean leaves a vector that does not depend on the length. The
last position sees 68 steps, and positions stand 8 steps apart: ten weeks of days, say, in a year.

The convolutions have a bias although a batch norm follows, as in the network whose size is stated.

References:
    Wang, Yan, Oates 2017, "Time series classification from scratch with deep neural networks: a
    strong baseline", arXiv:1611.06455, section II.B (convolutions and a mean for series).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from convarium.layers import MaskedBlocks, MeanOverTime, SequenceConv
from convarium.models.contract import Stage
from convarium.models.options import at_least
from convarium.models.sequence import OneAxis, SequenceClassifier
from convarium.models.variants import Variant


class TemporalCNN(SequenceClassifier):
    """Convolutions with pools between them, the mean over the real steps, and a dense layer.

    Args:
        spatial_dims: 1; sequences have one axis.
        in_channels: variables.
        num_classes: outputs; 0 leaves the head out.
        channels: of each convolution.
        kernel_size: of every convolution.
        embedding_dim: length of the vector that the dense layer gives.

    Shape:
        (B, C, T), mask (B, T) -> (B, num_classes), or (B, embedding_dim) when num_classes is 0

    Raises:
        OptionError: a list is empty, or a value out of range.

    Example:
        >>> model = TemporalCNN()
        >>> model(model.example_input(batch=16, size=365)).shape
        torch.Size([16, 128])
        >>> sum(p.numel() for p in model.parameters())
        569408
    """

    def __init__(
        self,
        *,
        spatial_dims: OneAxis = 1,
        in_channels: int = 6,
        num_classes: int = 0,
        channels: Sequence[int] = (64, 128, 256, 256),
        kernel_size: int = 5,
        embedding_dim: int = 128,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        at_least(1, channels=channels, kernel_size=kernel_size, embedding_dim=embedding_dim)
        self.input_size = (360,)

        self.stem = nn.Identity()
        stages, before, reduction = [], in_channels, 1
        for i, width in enumerate(channels, start=1):
            pool = 2 if i < len(channels) else 1
            block = SequenceConv(before, width, kernel_size, bias=True, pool=pool)
            self.add_module(f"stage{i}", MaskedBlocks(block))
            before, reduction = width, reduction * pool
            stages.append(Stage(f"stage{i}", width, reduction))
        self.stages = tuple(stages)
        self.smallest_input = reduction
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = _Neck(before, embedding_dim)
        self.build_head(embedding_dim, num_classes)
        self.initialise_weights()


class _Neck(nn.Sequential):
    """The mean over the real steps, and a dense layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        dense = nn.Linear(in_features, out_features)
        super().__init__(OrderedDict({"mean": MeanOverTime(), "dense": dense}))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        mean, dense = self.children()
        y: Tensor = dense(mean(x, mask))
        return y


VARIANTS = (
    Variant(
        name="temporal_cnn",
        cls=TemporalCNN,
        keywords={},
        source="our own",
        parameters=569_408,
        summary="four convolutions with pools, for series of several variables",
    ),
)
