"""What every network promises, whatever its family.

    x (B, C, *S) -> stages -> maps -> forward_features (B, F', *S') -> embed (B, F) -> head (B, K)

A *Network* is an `nn.Module` of torch's own layer classes. Its keyword-only constructor arguments
are its configuration, kept in `config`; names, types and values are checked before anything is
built. A *Classifier* adds the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    Blocks,
    InitialTable,
    he_normal,
    initialise,
    torch_layers,
    uniform_fan_in,
    unit,
)
from convarium.models import inputs
from convarium.models import options as _options
from convarium.models.layouts import Layout
from convarium.models.weights import Weights


@dataclass(frozen=True)
class Stage:
    """One stage: the child module's name, the channels of its map, inputs per output position."""

    name: str
    channels: int
    reduction: int


class Network(nn.Module):
    """A network of one rank that knows its configuration, its stages and its heatmap layer.

    A family calls `super().__init__(spatial_dims=..., in_channels=...)`, builds `stem`, one child
    module per stage, and `final`, sets the attributes below, and ends with `initialise_weights`.

    Attributes:
        config: every constructor keyword with its value; `type(self)(**config)` builds a twin.
        name: the name it was created by, or None.
        stages: one `Stage` per map of `features`, in order.
        heatmap_layer: dotted name of the module whose output a heatmap is read from.
        input_size: positions along each axis that `example_input` takes.
        smallest_input: positions along each axis that the strides and pools need.
        input_kind: what `forward` reads: maps (B, C, *S), tokens or fields.
        initial: the family's table of initial weights.
        layouts: by library, how it names the weights of this family.
        frozen: names of the children that `freeze` keeps as they are.
        published: the published weights that `create` loaded, or None.
    """

    input_kind: ClassVar[Literal["maps", "tokens", "fields"]] = "maps"
    initial: InitialTable = (
        (CONVOLUTIONS, he_normal),
        (NORMS, unit),
        ((nn.Linear,), uniform_fan_in),
    )
    layouts: ClassVar[Mapping[str, Layout]] = {}

    config: dict[str, Any]
    name: str | None
    stages: tuple[Stage, ...]
    heatmap_layer: str
    input_size: tuple[int, ...]
    smallest_input: int
    frozen: tuple[str, ...]
    published: Weights | None
    stem: nn.Module
    final: nn.Module

    def __new__(cls, **options: Any) -> Self:
        """Check the options against the constructor's signature and keep them as `config`."""
        network = super().__new__(cls)
        config = _options.complete(cls, options)
        network.__dict__.update(config=config, name=None, frozen=(), published=None)
        return network

    def __init__(self, *, spatial_dims: int, in_channels: int) -> None:
        torch_layers(spatial_dims)
        _options.at_least(1, in_channels=in_channels)
        super().__init__()
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.input_size = (224,) * spatial_dims
        self.smallest_input = 1

    def features(self, x: Tensor) -> list[Tensor]:
        """One map per stage, from fine to coarse.

        S' is S / stage.reduction where that is whole and all convolutions keep the size. A stride
        rounds up and a pool over 2 positions rounds down, so an odd size goes either way.

        Shape:
            (B, C, *S) -> [(B, stage.channels, *S') for each stage]
        """
        x = self.stem(self.check(x))
        maps = []
        for stage in self.stages:
            x = self.get_submodule(stage.name)(x)
            maps.append(x)
        return maps

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map, where the published network's features end."""
        x = self.stem(self.check(x))
        for stage in self.stages:
            x = self.get_submodule(stage.name)(x)
        y: Tensor = self.final(x)
        return y

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The last map; `mask` is for networks that read inputs of unequal lengths."""
        self.refuse(mask)
        return self.forward_features(x)

    def check(self, x: Tensor) -> Tensor:
        """Return `x` if its type, rank, channels and size fit.

        Raises:
            ShapeError: they do not.
        """
        return inputs.checked(self, x)

    def refuse(self, mask: Tensor | None) -> None:
        """Raise an `OptionError` if there is a mask: this network has no use for one."""
        if mask is not None:
            name = self.name or type(self).__name__
            raise OptionError(f"{name} reads whole maps and takes no mask; leave mask out.")

    def example_input(
        self, batch: int = 1, size: int | tuple[int, ...] | None = None, *, seed: int = 0
    ) -> Tensor:
        """A standard normal input of the right shape, device and type; the same for one seed.

        Args:
            batch: number of samples.
            size: positions along each axis; None takes `input_size`.
            seed: of the draw; torch's own random state is left alone.

        Raises:
            OptionError: `size` has another number of axes, or no positions along one.

        Shape:
            -> (batch, C, *size)
        """
        sides = (size,) * self.spatial_dims if isinstance(size, int) else size or self.input_size
        _options.at_least(1, size=sides)
        if len(sides) != self.spatial_dims:
            raise OptionError(f"size (={size}) must have {self.spatial_dims} numbers, one an axis.")
        shape = (batch, self.in_channels, *sides)
        weight = next(self.parameters())
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator, device="cpu")
        return x.to(device=weight.device, dtype=weight.dtype)

    def sample_shape(self, size: int | None = None) -> tuple[int, ...]:
        """Shape of one sample of its own size, or of `size` along each axis: (C, *S), or (T,)."""
        sides = self.input_size if size is None else (size,) * self.spatial_dims
        return sides if self.input_kind == "tokens" else (self.in_channels, *sides)

    def use_gradient_checkpointing(self, enabled: bool = True) -> None:
        """Keep only the inputs of blocks for the gradient and recompute the rest: less memory.

        Gradients and running statistics stay what they are. This is a property of the run, not of
        the network: it is not in `config` and not saved.
        """
        for module in self.modules():
            if isinstance(module, Blocks):
                module.recompute = enabled

    def in_order(self) -> dict[str, nn.Module]:
        """The children that hold weights, in the order of the data's flow: stem, stages, the rest.

        Example:
            >>> from convarium.models import create
            >>> list(create("resnet8").in_order())
            ['stem', 'layer1', 'layer2', 'layer3', 'final', 'neck', 'head']
        """
        names = ["stem", *(stage.name for stage in self.stages), "final", "neck", "head"]
        return {name: self.get_submodule(name) for name in names if hasattr(self, name)}

    def freeze(self, until: str) -> None:
        """Keep everything up to and including the child `until` as it is; the rest stays trainable.

        Frozen parameters take no gradient, and frozen layers stay in evaluation mode: batch norms
        use and keep their running averages, dropout is off, also after `train()`. A second call
        replaces the first. This is a property of the run: it is not in `config` and not saved.

        Args:
            until: a name of `in_order()`, such as "stem" or a stage's.

        Raises:
            OptionError: the network has no such child.
        """
        names = list(self.in_order())
        if until not in names:
            raise OptionError(f"until (={until!r}) must be one of {', '.join(names)}.")
        self.unfreeze()
        self.__dict__["frozen"] = tuple(names[: names.index(until) + 1])
        for name in self.frozen:
            self.get_submodule(name).requires_grad_(False)
        self.train(self.training)

    def unfreeze(self) -> None:
        """Make every parameter trainable again, and let all layers follow `train()`."""
        self.requires_grad_(True)
        self.__dict__["frozen"] = ()
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self

    def initialise_weights(self) -> None:
        """Draw the initial weights by the family's table."""
        initialise(self, self.initial)


class Classifier(Network):
    """A network that ends in one linear layer.

    A family builds `neck` (last map to vector) and then calls `build_head`.

    Attributes:
        num_classes: outputs of the head; 0 means that `forward` is `embed`.
        num_features: length of the vector that `embed` gives.

    Shape:
        forward: (B, C, *S) -> (B, num_classes), or (B, num_features) when num_classes is 0
    """

    neck: nn.Module
    head: nn.Module
    num_classes: int
    num_features: int

    def build_head(self, num_features: int, num_classes: int) -> None:
        """Make the last linear layer, or none."""
        self.head = _head(num_features, num_classes)
        self.num_features = num_features
        self.num_classes = num_classes

    def embed(self, x: Tensor) -> Tensor:
        """Everything before the last linear layer.

        Shape:
            (B, C, *S) -> (B, num_features)
        """
        y: Tensor = self.neck(self.forward_features(x))
        return y

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits (B, num_classes); the embedding when there is no head."""
        self.refuse(mask)
        y: Tensor = self.head(self.embed(x))
        return y

    def reset_head(self, num_classes: int) -> None:
        """Replace the last linear layer by a new one; everything else stays as it is.

        Args:
            num_classes: outputs of the new head; 0 leaves none.

        Raises:
            OptionError: `num_classes` is negative, or no whole number.
        """
        num_classes = _options.whole(num_classes=num_classes)
        head = _head(self.num_features, num_classes)
        initialise(head, self.initial)
        weight = next(self.parameters())
        head.to(device=weight.device, dtype=weight.dtype)
        self.head = head.train(self.training).requires_grad_("head" not in self.frozen)
        self.num_classes = num_classes
        self.config["num_classes"] = num_classes


def _head(num_features: int, num_classes: int) -> nn.Module:
    _options.at_least(0, num_classes=num_classes)
    return nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
