"""Looks into a network: its first filters, and the maps of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convarium.errors import OptionError, did_you_mean
from convarium.explain.cam import Layer
from convarium.explain.layers import find_layer
from convarium.explain.looking import Forward, Inputs, looking
from convarium.explain.reading import remarks, tapped, with_axes
from convarium.graph import unwrapped
from convarium.layers import CONVOLUTIONS
from convarium.measure.arguments import whole


@dataclass(frozen=True, eq=False)
class Filters:
    """The learned filters of a convolution.

    Attributes:
        layer: dotted name.
        weights: (filters, C, *K) float32, signed.
    """

    layer: str
    weights: Tensor

    def display(self, *, shared: bool = True) -> Tensor:
        """Filters to look at: 0 in the middle, 0.5 + w / (2 max |w|).

        Args:
            shared: the maximum is that of all filters, so that they can be compared; otherwise each
                filter's own, so that weak ones are seen too.

        Shape: (filters, C, *K), in [0, 1].
        """
        weights = self.weights.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        most = weights.abs().flatten(1).amax(1).reshape(-1, *[1] * (weights.ndim - 1))
        most = most.amax(0, keepdim=True) if shared else most
        return 0.5 + torch.where(most > 0, weights / (2 * most), 0)


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """The strongest maps of a layer, for each sample of a batch.

    Attributes:
        layer: dotted name.
        maps: (B, most, *S) float32, signed, the strongest first.
        channels: (B, most) which channels they are.
        strength: (B, most) the largest absolute value of each.
        input_size: spatial size of the input.
        note: what should be known about the way.
    """

    layer: str
    maps: Tensor
    channels: Tensor
    strength: Tensor
    input_size: tuple[int, ...]
    note: str = ""


def filters(model: nn.Module, layer: str | None = None) -> Filters:
    """The weights of the first convolution, or of one that is named.

    Args:
        model: any module; it does not run.
        layer: dotted name of a convolution; None: the first one in the order of the modules.

    Raises:
        OptionError: there is no convolution, or no such, or it has no weights yet.

    >>> filters(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU())).weights.shape
    torch.Size([8, 3, 5, 5])
    """
    named = unwrapped(model).named_modules(remove_duplicate=False)
    found = {name: module for name, module in named if isinstance(module, CONVOLUTIONS)}
    if layer is not None and layer not in found:
        close = did_you_mean(layer, found)
        raise OptionError(f"layer (={layer!r}) is no convolution of the model.{close}")
    if not found:
        raise OptionError("model has no convolution, so it has no filters to draw.")
    name = next(iter(found)) if layer is None else layer
    weights = found[name].weight
    if is_lazy(weights):
        raise OptionError(f"layer (={name!r}) has no weights yet; run the model on a batch first.")
    return Filters(name, weights.detach().float().cpu().clone())


def feature_maps(
    model: nn.Module,
    x: Inputs,
    layer: Layer = None,
    *,
    most: int = 16,
    forward: Forward | None = None,
) -> FeatureMaps:
    """The maps of a layer with the largest absolute values, sample by sample.

    Args:
        model, x, layer, forward: as of `grad_cam`; the score need not depend on the layer.
        most: how many maps of each sample at most.

    Raises:
        OptionError: no such layer, or it does not run exactly once.
        ShapeError: the layer's output is not (B, C, *S).

    >>> found = feature_maps(nn.Sequential(nn.Conv2d(1, 4, 3)), torch.ones(2, 1, 8, 8), "0", most=3)
    >>> found.maps.shape, found.channels.shape
    (torch.Size([2, 3, 6, 6]), torch.Size([2, 3]))
    """
    whole(1, most=most)
    name, maps, size, note = maps_of(model, x, layer, forward)
    strength = maps.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().flatten(2).amax(2)
    order = strength.argsort(dim=1, descending=True, stable=True)[:, :most]
    rows = torch.arange(len(maps), device=maps.device).unsqueeze(1)
    return FeatureMaps(name, maps[rows, order], order, strength.gather(1, order), size, note)


def maps_of(
    model: nn.Module, x: Inputs, layer: Layer, forward: Forward | None
) -> tuple[str, Tensor, tuple[int, ...], str]:
    """Name of the layer, its output (B, C, *S) in float32, size of the input, note."""
    with looking(model, x, forward) as look, torch.no_grad():
        found = find_layer(look, layer)
        _, leaf = tapped(look, found, recorded=False)
        maps = with_axes(leaf.detach(), look.rank).float().clone()
        return found.name, maps, look.size, remarks(look, found, maps)
