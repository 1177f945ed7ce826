"""Fold batch norms into the convolutions and linear layers beside them, on any module.

    norm(W x + b) = s (W x + b - mean) + beta          with s = gamma / sqrt(var + eps)
                  = (s W) x + (s (b - mean) + beta)

The traced graph says which norm reads which layer: a norm is folded into the layer whose output
only it reads (into several, where it reads their outputs side by side), or else into the layer that
alone reads its output. The latter needs a layer without zero padding, since zeros beside the map
would not be shifted along with it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from convarium.deploy.affine import absorb_after, absorb_before, line, refusal_before
from convarium.deploy.neighbours import Neighbours, Site
from convarium.errors import OptionError, VerificationError
from convarium.graph import trace, untouched, unwrapped
from convarium.graph.nested import tensors_in
from convarium.graph.state import set_mode
from convarium.layers import materialise_weights
from convarium.measure.running import on_random_inputs, quiet
from convarium.models import Network

#: Largest difference that folding may make, as a share of the largest output.
TOLERANCE = 1e-5

_AS_NEAR: Final = 4


@dataclass(frozen=True)
class Folding:
    """A network without the batch norms that could be folded.

    Attributes:
        model: a copy in eval mode; the network it came from is as it was.
        folded: the norms that are gone, each with the layer that holds it now.
        left: the norms that stay, each with the reason.
        largest_difference: of an output from the network's, on a random input.
        scale: largest absolute output there.
    """

    model: nn.Module
    folded: dict[str, str]
    left: dict[str, str]
    largest_difference: float
    scale: float

    def sentence(self) -> str:
        """The result as one sentence."""
        told = f"{len(self.folded)} of {len(self.folded) + len(self.left)} batch norms are folded"
        if self.left:
            first, reason = next(iter(self.left.items()))
            told += f"; {len(self.left)} stay, such as {first}: {reason}"
        return told + "."


class Passing(nn.Module):
    """Where a norm was: hands its first input on.

    >>> Passing()(torch.ones(1), None).item()
    1.0
    """

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """Return `x`."""
        return x


def fold(
    model: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Folding:
    """A copy of a network in which batch norms are part of the layers beside them.

    The copy is for running and exporting, not for training or saving: its weights have other names
    and values. Weight norm is replaced by the weights that it gives. What shares its weights, is
    called more than once, has hooks, or is read by others too is left as it is, with the reason.
    The copy is run beside the network on a random input before it is returned; where rounding
    makes more of a difference than is allowed, it must be as near to the result in float64 as the
    network is.

    Args:
        model: any module; wrapped and compiled ones are taken out of their wrapper.
        input_shape: of the whole input, batch included, or of each of several; None takes that of
            a network of convarium's.
        tolerance: the largest difference allowed, as a share of the largest output.

    Raises:
        OptionError: no shape where it is needed, or the network decides by its input's values.
        ShapeError: the network does not take this shape.
        VerificationError: the copy computes something else.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    >>> fold(network, (1, 3, 8, 8)).folded
    {'1': '0'}
    """
    network = unwrapped(model)
    shape = _shape(network, input_shape)
    with untouched(network), torch.inference_mode(False), torch.no_grad():
        twin = copy.deepcopy(network)
        set_mode(twin, training=False)
        materialise_weights(twin)
        folded, left = _fold_all(twin, Neighbours(twin, trace(twin, shape)))
    found = _outputs(twin, shape)
    expected = _outputs(network, shape)
    difference, scale = float((found - expected).abs().max()), float(expected.abs().max())
    if not difference <= tolerance * (scale or 1.0) and not _rounding(
        network, shape, expected, found
    ):
        raise VerificationError(
            f"The folded {type(network).__name__} differs by {difference:.3g} at outputs up to "
            f"{scale:.3g} (tolerance {tolerance:g} of that); run it unfolded: it reads the weights "
            "of its layers in a way of its own."
        )
    return Folding(twin, folded, left, difference, scale)


def _shape(network: nn.Module, given: Any) -> Any:
    if given is not None:
        return given
    if not isinstance(network, Network):
        raise OptionError(
            f"input_shape is needed for a {type(network).__name__}: the sizes of the whole input, "
            "batch included, such as (1, 3, 224, 224)."
        )
    return (1, *network.sample_shape())


def _fold_all(twin: nn.Module, near: Neighbours) -> tuple[dict[str, str], dict[str, str]]:
    """Fold norm after norm in the order of execution; what is folded, and what stays and why."""
    folded: dict[str, str] = {}
    left: dict[str, str] = {}
    for name, site in near.norms.items():
        layer, reason = _fold_one(site, near)
        if layer is None:
            left[name] = reason
            continue
        folded[name] = layer
        parent, _, own = name.rpartition(".")
        setattr(twin.get_submodule(parent), own, Passing())
    left |= dict.fromkeys(near.uncalled, "the network does not call it")
    return folded, left


def _fold_one(site: Site, near: Neighbours) -> tuple[str | None, str]:
    """The layer that took a norm in, or why none could."""
    reason = site.refusal or _statistics(site.module)
    if reason:
        return None, reason
    scale, shift = line(site.module)
    pieces, why_before = near.before(site)
    if pieces:
        for piece in pieces:
            absorb_after(piece.site.module, scale[piece.channels], shift[piece.channels])
        near.passes(site)
        return ", ".join(piece.site.name for piece in pieces), ""
    after, why_after = near.after(site)
    if after is not None:
        why_after = refusal_before(after.module)
        if not why_after:
            absorb_before(after.module, scale, shift)
            near.passes(site)
            return after.name, ""
    return None, f"{why_before}, and {why_after}"


def _statistics(norm: nn.Module) -> str:
    """Why a norm is no fixed line, or nothing."""
    averages = getattr(norm, "running_mean", None), getattr(norm, "running_var", None)
    return "it keeps no running averages" if None in averages else ""


def _outputs(model: nn.Module, shape: Any) -> Tensor:
    """All outputs on a random input, always the same one, in one row."""
    shapes = [tuple(one) for one in ([shape] if isinstance(shape[0], int) else shape)]
    with quiet(model, None):
        found = tensors_in(on_random_inputs(model, shapes, model))
    return torch.cat([x.flatten().double() for x in found])


def _rounding(network: nn.Module, shape: Any, expected: Tensor, found: Tensor) -> bool:
    """Whether the folded network is about as near to the exact outputs as the network itself.

    Where running averages are far apart, rounding alone makes two orders of the same arithmetic
    differ; in float64 one sees which of them is off.
    """
    with untouched(network), torch.inference_mode(False), torch.no_grad():
        wide = copy.deepcopy(network).double()
    exact = _outputs(wide, shape)
    own, folded = (float((x - exact).abs().max()) for x in (expected, found))
    return folded <= _AS_NEAR * own
