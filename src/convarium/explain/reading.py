"""One look into a network: the maps of a layer, and the gradient of a score with respect to them.

Flow: the network runs once, in eval mode, with all its parameters frozen, so that nothing is
recorded up to the layer. The layer's output is replaced by a fresh leaf of the graph; from there
on the computation is recorded, and only that part is differentiated. A copy of the leaf goes on
through the network, so that an in-place activation behind the layer cannot overwrite what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain.layers import Found, find_layer
from convarium.explain.looking import Forward, Inputs, Look, looking
from convarium.explain.targets import Goal, Target, goal

_SCALES = (2**15, 2**8, 1)  # of scores in float16, the largest whose gradient is finite

Contrast = Callable[[Tensor, Goal], Tensor]


@dataclass(frozen=True, eq=False)
class Reading:
    """What every heatmap of a layer is computed from.

    Attributes:
        layer: dotted name.
        activation: (B, C, *S) the layer's output, float32 (float64 in a float64 network).
        gradient: (B, C, *S) of the score, same type; None: the score does not depend on it.
        score: (B,) the score explained.
        target: the class of each sample; None for a callable target.
        input_size: spatial size of the input.
        covered: spatial size of what the network reads, which is more where it puts zeros behind.
        note: what should be known about the way.
    """

    layer: str
    activation: Tensor
    gradient: Tensor | None
    score: Tensor
    target: tuple[int, ...] | None
    input_size: tuple[int, ...]
    covered: tuple[int, ...]
    note: str


def read(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target,
    layer: str | nn.Module | None,
    forward: Forward | None = None,
    contrast: Contrast | None = None,
) -> Reading:
    """Run `model` on `x` and differentiate the target's score back to `layer`, and no further.

    Works for frozen networks, under `no_grad` and `inference_mode`, under autocast, and for
    wrapped and compiled networks. The model is afterwards as before, also after an exception.

    Args:
        contrast: from the logits and the resolved target to the scores, in place of the logits.

    Raises:
        OptionError: layer or target do not exist, or the layer does not run exactly once.
        ShapeError: the input, the layer's output or the model's output has the wrong shape.
    """
    with looking(model, x, forward) as look:
        found = find_layer(look, layer, target)
        output, leaf = tapped(look, found, recorded=True)
        what = goal(output, target, look.samples)
        scores = what(output) if contrast is None else contrast(output, what)
        gradient = gradient_of(scores, leaf)
        activation = with_axes(leaf.detach(), look.rank)
        return Reading(
            layer=found.name,
            activation=activation,
            gradient=None if gradient is None else with_axes(gradient, look.rank),
            score=scores.detach(),
            target=what.classes,
            input_size=look.size,
            covered=look.covered,
            note=remarks(look, found, activation, connected=gradient is not None),
        )


def tapped(
    look: Look,
    found: Found,
    *,
    recorded: bool,
    several: int = 1,
    begin: Callable[[Tensor], Tensor] = torch.clone,
) -> tuple[Any, Tensor]:
    """The model's output, and a copy of the layer's, from which on the computation is recorded.

    Args:
        recorded: by autograd.
        several: how many times the batch goes through the model at once.
        begin: from that copy to what goes on through the model, which may be written into.
    """
    samples = several * look.samples
    tap = _Tap(found.name, samples=samples, rank=look.rank, recorded=recorded, begin=begin)
    handle = found.module.register_forward_hook(tap)
    output = look.several(look.repeated(several))
    if not recorded:  # checkpointing runs the layer again in a backward pass, with the hook
        handle.remove()
    return output, tap.close()


class _Tap:
    """A forward hook that puts a leaf of the graph in the place of a layer's output."""

    def __init__(
        self,
        layer: str,
        samples: int,
        rank: int,
        recorded: bool,
        begin: Callable[[Tensor], Tensor],
    ) -> None:
        self.layer, self.samples, self.rank = layer, samples, rank
        self.recorded, self.begin = recorded, begin
        self.leaf: Tensor | None = None
        self.closed = False

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if self.closed:  # activation checkpointing runs the layer again, in the backward pass
            again: Tensor = output.detach().requires_grad_()
            return again.clone()
        if self.leaf is not None:
            raise OptionError(
                f"layer (={self.layer!r}) is reused: it runs more than once in one forward pass "
                "and has more than one map; choose one that runs once, such as a block around all "
                "its runs, or a layer before or behind them."
            )
        self.check(output)
        self.leaf = output.detach().clone().requires_grad_(self.recorded)
        with torch.set_grad_enabled(self.recorded):
            return self.begin(self.leaf)

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


def remarks(look: Look, found: Found, maps: Tensor, *, connected: bool = True) -> str:
    """What should be known about maps (B, C, *S) of a layer, as sentences."""
    told = [look.note, found.note]
    if not connected:
        told.append(
            f"The score is not computed from {found.name}, or not differentiably; "
            "choose a layer on the way to it."
        )
    if all(side == 1 for side in maps.shape[2:]):
        told.append(f"{found.name} has one position; choose a layer before the pooling.")
    if _channels_last(maps.shape, look.size, found.module):
        told.append(
            f"{found.name} gives {tuple(maps.shape)}, which looks as if its channels were last; "
            "choose a layer that gives (B, C, *S)."
        )
    return " ".join(filter(None, told))


def _channels_last(shape: Sequence[int], size: Sequence[int], module: nn.Module) -> bool:
    """Whether (B, C, *S) looks like (B, *S, C); along one axis the kind of the layer tells too."""
    if len(size) > 1:
        return _evenly(shape[1:-1], size) and not _evenly(shape[2:], size)
    last = isinstance(module, nn.Embedding | nn.Linear | nn.LayerNorm)
    return shape[1] == size[0] and (last or shape[2] > 1.25 * size[0])


def _evenly(sides: Sequence[int], size: Sequence[int]) -> bool:
    """Whether sides are about the same share of the input's along every axis."""
    shares = [side / whole for side, whole in zip(sides, size, strict=True)]
    return max(shares) <= 1.25 * min(shares)


def gradient_of(scores: Tensor, leaf: Tensor) -> Tensor | None:
    """Gradient of each sample's score; samples do not mix in eval mode, so their sum will do.

    In float16, whose smallest numbers are not small enough for the gradient of a mean over many
    positions, that of a multiple of the score, divided in float32.
    """
    if not scores.requires_grad:
        return None
    if not _in_half(scores, leaf):
        return _gradient(scores.sum(), leaf)
    gradient: Tensor | None = None
    for scale in _SCALES:
        found = _gradient((scale * scores.float()).sum(), leaf, again=True)
        gradient = None if found is None else found.float() / scale
        if gradient is None or gradient.isfinite().all():
            break
    return gradient


def _gradient(score: Tensor, leaf: Tensor, *, again: bool = False) -> Tensor | None:
    """Of one number; `again`: another one will be asked for."""
    with torch.autocast(leaf.device.type, enabled=False):
        (gradient,) = torch.autograd.grad(score, leaf, allow_unused=True, retain_graph=again)
    return gradient


def _in_half(scores: Tensor, leaf: Tensor) -> bool:
    """Whether some of the way back may be in float16."""
    kinds = {scores.dtype, leaf.dtype}
    if torch.is_autocast_enabled(leaf.device.type):
        kinds.add(torch.get_autocast_dtype(leaf.device.type))
    return torch.float16 in kinds


def with_axes(tensor: Tensor, rank: int) -> Tensor:
    """(B, C, *S) in at least float32; (B, C) gets `rank` axes of one position."""
    if tensor.ndim == 2:
        tensor = tensor.reshape(*tensor.shape, *[1] * rank)
    return tensor if tensor.dtype == torch.float64 else tensor.float()
