"""Looks into a network: its first filters, the maps of a layer, what excites a channel most."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from convarium.data import Batch
from convarium.errors import ConvariumError, OptionError, did_you_mean
from convarium.explain.cam import Layer
from convarium.explain.layers import find_layer
from convarium.explain.looking import Forward, Inputs, looking
from convarium.explain.reading import remarks, tapped, with_axes
from convarium.graph import unwrapped
from convarium.layers import CONVOLUTIONS
from convarium.measure import Field, receptive_field
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


@dataclass(frozen=True)
class ExcitingInput:
    """A sample that excites a channel.

    Attributes:
        id: of the sample.
        value: the largest value of the channel's map.
        place: where in the map that is.
        patch: (start, stop) along each axis of the input: what this place can depend on.
    """

    id: int
    value: float
    place: tuple[int, ...]
    patch: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Excitement:
    """The samples that excite a channel most, the strongest first.

    Attributes:
        layer: dotted name.
        channel: its number, from 0.
        inputs: the samples.
        seen: how many samples were looked at.
    """

    layer: str
    channel: int
    inputs: tuple[ExcitingInput, ...]
    seen: int


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
    name, maps, size, note = _maps(model, x, layer, forward)
    strength = maps.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).abs().flatten(2).amax(2)
    order = strength.argsort(dim=1, descending=True, stable=True)[:, :most]
    rows = torch.arange(len(maps), device=maps.device).unsqueeze(1)
    return FeatureMaps(name, maps[rows, order], order, strength.gather(1, order), size, note)


def exciting_inputs(
    model: nn.Module,
    batches: Iterable[Batch | Tensor],
    layer: Layer,
    channel: int,
    *,
    most: int = 9,
) -> Excitement:
    """The samples with the largest value of one channel, and the patch that each is excited by.

    The data is read once, batch by batch; equal values are in the order of the ids. The patch is
    the receptive field of the place of the maximum, cut at the borders of the input; all of the
    input where the field is not known, or the layer has no places.

    Args:
        model: any module.
        batches: of `data.batches(dataset, run.preprocessing)`, or tensors, whose samples are
            numbered as they come.
        layer: dotted name or the module; None: as of `grad_cam`.
        channel: number of the channel, from 0.
        most: how many samples at most.

    Raises:
        OptionError: no such layer or channel, or there is no sample.

    >>> blobs = torch.zeros(3, 1, 8, 8)
    >>> blobs[1, 0, 2, 5] = 9
    >>> network = nn.Sequential(nn.AvgPool2d(3))
    >>> exciting_inputs(network, [blobs], "0", 0, most=1).inputs
    (ExcitingInput(id=1, value=1.0, place=(0, 1), patch=((0, 3), (3, 6))),)
    """
    whole(1, most=most)
    best: list[tuple[float, int, tuple[int, ...]]] = []
    name, seen = "", 0
    size: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    for batch in batches:
        inputs = (batch,) if isinstance(batch, Tensor) else batch.inputs
        ids = seen + torch.arange(len(inputs[0])) if isinstance(batch, Tensor) else batch.index
        name, maps, _, _ = _maps(model, inputs, layer, None)
        if type(channel) is not int or not 0 <= channel < maps.shape[1]:
            raise OptionError(
                f"channel (={channel!r}) must be a whole number from 0 to {maps.shape[1] - 1}, the "
                f"channels of {name}."
            )
        size, shape = tuple(maps.shape[2:]), tuple(inputs[0].shape)
        highest, where = maps[:, channel].nan_to_num(nan=-math.inf).flatten(1).max(1)
        places = [_unravelled(k, size) for k in where.tolist()]
        best += zip((-highest).tolist(), ids.tolist(), places, strict=True)
        best = heapq.nsmallest(most, best)
        seen += len(ids)
    if not seen:
        raise OptionError("batches (=[]) must hold at least one sample.")
    field = _field(model, shape, name, size)
    inputs_found = tuple(
        ExcitingInput(i, -value, place, _patch(field, place, shape[2:])) for value, i, place in best
    )
    return Excitement(name, channel, inputs_found, seen)


def _maps(
    model: nn.Module, x: Inputs, layer: Layer, forward: Forward | None
) -> tuple[str, Tensor, tuple[int, ...], str]:
    """Name of the layer, its output (B, C, *S) in float32, size of the input, note."""
    with looking(model, x, forward) as look, torch.no_grad():
        found = find_layer(look, layer)
        _, leaf = tapped(look, found, recorded=False)
        maps = with_axes(leaf.detach(), look.rank).float().clone()
        return found.name, maps, look.size, remarks(look, found, maps)


def _field(model: nn.Module, shape: Sequence[int], layer: str, size: Sequence[int]) -> Field | None:
    """The field of a layer's output; None where it is not known, or has no places."""
    try:
        rows = receptive_field(model, (1, *shape[1:])).rows
    except ConvariumError:
        return None
    inside = [row for row in rows if row.layer == layer or row.layer.startswith(f"{layer}.")]
    if not inside or inside[-1].status not in ("exact", "bound"):
        return None
    return inside[-1] if tuple(inside[-1].shape[2:]) == tuple(size) else None


def _patch(
    field: Field | None, place: Sequence[int], size: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """What of the input a place can depend on."""
    if field is None:
        return tuple((0, side) for side in size)
    edges = []
    for axis, side in enumerate(size):
        start = field.start[axis] + field.stride[axis] * place[axis]
        stop = math.ceil(start + field.size[axis])
        edges.append((max(0, math.floor(start)), min(side, stop)))
    return tuple(edges)


def _unravelled(flat: int, size: Sequence[int]) -> tuple[int, ...]:
    place = []
    for side in reversed(size):
        flat, rest = divmod(flat, side)
        place.append(rest)
    return tuple(reversed(place))
