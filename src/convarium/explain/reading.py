"""One look into a network: the maps of a layer, and the gradient of a score with respect to them.

Flow: the network runs once, in eval mode, with all its parameters frozen, so that nothing is
recorded up to the layer. The layer's output is replaced by a fresh leaf of the graph; from there
on the computation is recorded, and only that part is differentiated. A copy of the leaf goes on
through the network, so that an in-place activation behind the layer cannot overwrite what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain.attribution import spatial_size
from convarium.explain.layers import find_layer
from convarium.explain.targets import Target, score
from convarium.graph import eager, untouched, unwrapped


@dataclass(frozen=True, eq=False)
class Reading:
    """What every gradient heatmap is computed from.

    Attributes:
        layer: dotted name.
        activation: (B, C, *S) the layer's output, float32 (float64 in a float64 network).
        gradient: (B, C, *S) of the score, same type; None: the score does not depend on it.
        score: (B,) float32, the score explained.
        target: the class of each sample; None for a callable target.
        input_size: spatial size of the input.
    """

    layer: str
    activation: Tensor
    gradient: Tensor | None
    score: Tensor
    target: tuple[int, ...] | None
    input_size: tuple[int, ...]


def read(model: nn.Module, x: Tensor, *, target: Target, layer: str | nn.Module | None) -> Reading:
    """Run `model` on `x` and differentiate the target's score back to `layer`, and no further.

    Works for frozen networks, under `no_grad` and `inference_mode`, under autocast, and for
    wrapped and compiled networks. The model is afterwards as before, also after an exception.

    Raises:
        OptionError: layer or target do not exist, or the layer does not run exactly once.
        ShapeError: the input, the layer's output or the model's output has the wrong shape.
    """
    size = spatial_size(x)
    network = unwrapped(model)
    name, module = find_layer(network, layer)
    tap = _Tap(name, samples=len(x), rank=len(size))
    with untouched(network), torch.inference_mode(False), torch.enable_grad(), eager(network):
        _freeze(network)
        module.register_forward_hook(tap)
        output = network(x.detach().clone())
        leaf = tap.close()
        scores, classes = score(output, target, len(x))
        gradient = _gradient(scores, leaf)
        return Reading(
            layer=name,
            activation=_with_axes(leaf.detach(), len(size)),
            gradient=None if gradient is None else _with_axes(gradient, len(size)),
            score=scores.detach().float(),
            target=classes,
            input_size=size,
        )


class _Tap:
    """A forward hook that puts a leaf of the graph in the place of a layer's output."""

    def __init__(self, layer: str, samples: int, rank: int) -> None:
        self.layer, self.samples, self.rank = layer, samples, rank
        self.leaf: Tensor | None = None
        self.closed = False

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if self.closed:  # activation checkpointing runs the layer again, in the backward pass
            again: Tensor = output.detach().requires_grad_()
            return again.clone()
        if self.leaf is not None:
            raise OptionError(
                f"layer (={self.layer!r}) runs more than once in one forward pass, so it has more "
                "than one map; choose a layer that runs once, such as the block around it."
            )
        self.check(output)
        self.leaf = output.detach().clone().requires_grad_()
        with torch.enable_grad():
            return self.leaf.clone()

    def check(self, output: Any) -> None:
        if not isinstance(output, Tensor) or not output.is_floating_point():
            raise OptionError(
                f"layer (={self.layer!r}) returns a {type(output).__name__}, not one tensor of "
                "numbers; choose a layer inside or behind it that returns a tensor."
            )
        if output.ndim not in (2, 2 + self.rank) or len(output) != self.samples:
            raise ShapeError(
                f"layer (={self.layer!r}) returns shape {tuple(output.shape)}; a heatmap of this "
                f"input is read from ({self.samples}, C, *S) with {self.rank} spatial axes."
            )

    def close(self) -> Tensor:
        self.closed = True
        if self.leaf is None:
            raise OptionError(
                f"layer (={self.layer!r}) does not run in the forward pass; "
                "choose a layer that the output is computed from."
            )
        return self.leaf


def _freeze(network: nn.Module) -> None:
    """Eval mode, no parameter recorded; tensors of inference mode, which autograd refuses, copied.

    Modes are set one by one: a `train` method of the network's own may do more than set a flag.
    Backward hooks are the caller's, for training: they neither see nor change this gradient.
    Whoever calls this undoes it with `untouched`.
    """
    copies: dict[Tensor, Tensor] = {}
    for module in network.modules():
        module.training = False
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_inference():
                copy = nn.Parameter(parameter.detach().clone(), requires_grad=False)
                setattr(module, name, copies.setdefault(parameter, copy))
            elif parameter.is_leaf:
                parameter.requires_grad_(False)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, copies.setdefault(buffer, buffer.clone()))


def _gradient(scores: Tensor, leaf: Tensor) -> Tensor | None:
    """Gradient of each sample's score; samples do not mix in eval mode, so their sum will do."""
    if not scores.requires_grad:
        return None
    with torch.autocast(leaf.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(scores.sum(), leaf, allow_unused=True)
    return gradient


def _with_axes(tensor: Tensor, rank: int) -> Tensor:
    """(B, C, *S) in at least float32; (B, C) gets `rank` axes of one position."""
    if tensor.ndim == 2:
        tensor = tensor.reshape(*tensor.shape, *[1] * rank)
    return tensor if tensor.dtype == torch.float64 else tensor.float()
