r"""InceptionTime: long and short filters side by side on a series, six modules deep.

    x (B, C, T) -> [module x 3 -> + shortcut -> relu] x 2 -> mean over time -> linear

    module: x -> conv1, 32 -> conv40, 32 \
                           -> conv20, 32  > joined, 128 -> norm -> relu
                           -> conv10, 32 /
            x -> max 3     -> conv1,  32 /

What tells classes of a series apart may last three steps or forty, so that every module looks
through filters of several lengths at once, and lets the layers behind choose. The 1x1 convolution
in front keeps that cheap: long filters read 32 channels, not 128. A shortcut every three modules
lets the gradient through.

One such network depends much on its start, and the paper's answer is an ensemble of five that are
trained alone; their probabilities are averaged. Here the members are one network: `members=5`. In
training the rows of all batches are dealt out to them in turn, so that the members stay independent
of each other and an epoch costs what one network costs; each then sees a fifth of it, other rows in
every epoch. Five times the epochs give every member as many passes as five runs would.

Differs from the paper: the members' last layers are one linear layer with one bias.

References:
    Ismail Fawaz et al. 2020, "InceptionTime: finding AlexNet for time series classification",
    arXiv:1909.04939, section 3 and figures 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convarium.layers import (
    MaskedBatchNorm1d,
    MaskedBlocks,
    MaskedMaxPool1d,
    MeanOverTime,
    SequenceShortcut,
    hidden,
    make_conv,
)
from convarium.models.contract import Stage
from convarium.models.ensemble import Average, Ensemble, Members
from convarium.models.options import at_least
from convarium.models.sequence import OneAxis
from convarium.models.variants import Variant

_EVERY = 3  # modules that a shortcut goes around


class InceptionTime(Ensemble):
    """Modules of parallel convolutions with shortcuts, and the mean over the real steps.

    Args:
        spatial_dims: 1; sequences have one axis.
        in_channels: channels of the input.
        num_classes: outputs; 0 leaves the head out.
        depth: modules; a shortcut goes around every three of them.
        filters: of each of a module's four branches.
        kernel_sizes: of the parallel convolutions; of an even one's zeros, the smaller half stands
            in front.
        bottleneck: channels that the parallel convolutions read, where the input has more than one.
        members: networks that are trained side by side, each on its own rows of a batch.
        average: what of several members is averaged: "probabilities", where the outputs are logits
            of classes that exclude each other, or the "outputs" themselves.

    Shape:
        (B, C, T), mask (B, T) -> (B, num_classes): of several members the logarithms of the mean
        probabilities

    Raises:
        OptionError: a list is empty, or a value out of range.

    Example:
        >>> model = InceptionTime(members=5, filters=4, num_classes=3).eval()
        >>> y = model(model.example_input(batch=2, size=50))
        >>> y.shape, torch.allclose(y.exp().sum(1), torch.ones(2), atol=1e-6), model.num_features
        (torch.Size([2, 3]), True, 80)
    """

    def __init__(
        self,
        *,
        spatial_dims: OneAxis = 1,
        in_channels: int = 1,
        num_classes: int = 2,
        depth: int = 6,
        filters: int = 32,
        kernel_sizes: Sequence[int] = (40, 20, 10),
        bottleneck: int = 32,
        members: int = 1,
        average: Average = "probabilities",
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        at_least(1, depth=depth, filters=filters, kernel_sizes=kernel_sizes)
        at_least(1, bottleneck=bottleneck, members=members)
        self.input_size = (150,)

        self.stem = nn.Identity()
        width = filters * (len(kernel_sizes) + 1)
        stages, before = [], in_channels
        for i, start in enumerate(range(0, depth, _EVERY), start=1):
            sizes = (min(_EVERY, depth - start), filters, kernel_sizes, bottleneck)
            blocks = [InceptionBlock(before, *sizes) for _ in range(members)]
            self.add_module(f"stage{i}", Members(*blocks, shared=i == 1))
            stages.append(Stage(f"stage{i}", members * width, 1))
            before = width
        self.stages = tuple(stages)
        self.heatmap_layer = stages[-1].name
        self.final = nn.Identity()
        self.neck = MeanOverTime()
        self.build_head(members * width, num_classes)
        self.initialise_weights()


class InceptionBlock(nn.Module):
    """Up to three modules; around three, the input passes.

    Shape:
        (B, C, T), mask (B, T) -> (B, C', T)
    """

    def __init__(
        self,
        in_channels: int,
        modules: int,
        filters: int,
        kernel_sizes: Sequence[int],
        bottleneck: int,
    ) -> None:
        super().__init__()
        width = filters * (len(kernel_sizes) + 1)
        self.branch = MaskedBlocks(
            *(
                InceptionModule(width if i else in_channels, filters, kernel_sizes, bottleneck)
                for i in range(modules)
            )
        )
        whole = modules == _EVERY
        self.shortcut = SequenceShortcut(in_channels, width, always=True) if whole else None
        self.act = nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C', T), with zeros in the padding."""
        y: Tensor = self.branch(x, mask)
        if self.shortcut is None:
            return y
        return hidden(self.act(y + self.shortcut(x, mask)), mask)


class InceptionModule(nn.Module):
    """Convolutions of several lengths and a max pool, joined.

    Shape:
        (B, C, T), mask (B, T) -> (B, filters (len(kernel_sizes) + 1), T)
    """

    def __init__(
        self, in_channels: int, filters: int, kernel_sizes: Sequence[int], bottleneck: int
    ) -> None:
        super().__init__()
        narrow = in_channels > 1
        read = bottleneck if narrow else in_channels
        self.bottleneck = make_conv(1, in_channels, bottleneck, 1) if narrow else None
        self.convs = nn.ModuleList(make_conv(1, read, filters, size) for size in kernel_sizes)
        self.pool = MaskedMaxPool1d(3, stride=1, padding=1)
        self.behind = make_conv(1, in_channels, filters, 1)
        self.norm = MaskedBatchNorm1d(filters * (len(kernel_sizes) + 1))
        self.act = nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C, T) to (B, C', T), with zeros in the padding."""
        z = x if self.bottleneck is None else self.bottleneck(x)
        branches = [conv(z) for conv in self.convs]
        branches.append(self.behind(self.pool(x, mask)))
        return hidden(self.act(self.norm(torch.cat(branches, 1), mask)), mask)


VARIANTS = (
    Variant(
        name="inception_time",
        cls=InceptionTime,
        keywords={},
        source="Ismail Fawaz et al. 2020, section 3; one network of the ensemble",
        parameters=420_450,
        summary="six modules of kernels 40, 20 and 10, for series",
        year=2020,
    ),
    Variant(
        name="inception_time_ensemble",
        cls=InceptionTime,
        keywords={"members": 5},
        source="Ismail Fawaz et al. 2020, section 3",
        parameters=2_102_242,
        summary="five networks whose probabilities are averaged, for series",
        year=2020,
    ),
)
