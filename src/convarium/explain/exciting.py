"""What excites a channel of a layer most, among many samples."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convarium.data import Batch
from convarium.errors import ConvariumError, OptionError
from convarium.explain.attribution import spatial_size
from convarium.explain.cam import Layer
from convarium.explain.looking import device_of
from convarium.explain.padding import real_tokens
from convarium.explain.views import maps_of
from convarium.measure import Field, receptive_field
from convarium.measure.arguments import whole

Sides = tuple[int, ...]

_POOL: Final[dict[int, Any]] = {
    1: F.adaptive_max_pool1d,
    2: F.adaptive_max_pool2d,
    3: F.adaptive_max_pool3d,
}


@dataclass(frozen=True)
class ExcitingInput:
    """A sample that excites a channel.

    Attributes:
        id: of the sample.
        value: the largest value of the channel's map.
        place: where in the map that is.
        patch: (start, stop) along each axis of the input: what this place can depend on; without
            padding.
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
        not_finite: how many of them have no finite value, and are left out.
    """

    layer: str
    channel: int
    inputs: tuple[ExcitingInput, ...]
    seen: int
    not_finite: int = 0


class _Found(NamedTuple):
    """A sample's largest value, negative, so that the smallest come first.

    Attributes:
        place: in the map.
        map_size, shape: of the map, and of the input with its batch axis.
        ends: of what is no padding, along each axis of the input.
    """

    minus: float
    id: int
    place: Sides
    map_size: Sides
    shape: Sides
    ends: Sides


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
    input where the field is not known, or the layer has no places. Where a batch has a mask, or
    texts whose padding is 0, places of the map that see into the padding with their own share of
    the input do not count.

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
    best: list[_Found] = []
    name, seen, silent = "", 0, 0
    device = device_of(model)
    for each in batches:
        batch = _batch(each, seen).to(device)
        name, maps, _, _ = maps_of(model, batch.arguments, layer, None)
        if type(channel) is not int or not 0 <= channel < maps.shape[1]:
            raise OptionError(
                f"channel (={channel!r}) must be a whole number from 0 to {maps.shape[1] - 1}, the "
                f"channels of {name}."
            )
        real = real_tokens(model, batch.inputs[0]) if batch.mask is None else batch.mask
        found = list(_highest(maps[:, channel], batch, real))
        finite = [one for one in found if one.minus < math.inf]
        best = heapq.nsmallest(most, best + finite)
        silent += len(found) - len(finite)
        seen += len(found)
    if not seen:
        raise OptionError("batches (=[]) must hold at least one sample.")
    kinds = {(one.shape, one.map_size) for one in best}
    fields = {kind: _field(model, kind[0], name, kind[1]) for kind in kinds}
    inputs = tuple(
        ExcitingInput(one.id, -one.minus, one.place, _patch(fields[one.shape, one.map_size], one))
        for one in best
    )
    return Excitement(name, channel, inputs, seen, silent)


def _batch(batch: Batch | Tensor, seen: int) -> Batch:
    """A tensor as a batch, whose samples are numbered from `seen` on."""
    if isinstance(batch, Batch):
        return batch
    index = seen + torch.arange(len(batch))
    return Batch(inputs=(batch,), target=None, mask=None, index=index, weight=None)


def _highest(maps: Tensor, batch: Batch, real: Tensor | None) -> Iterator[_Found]:
    """The largest value of each map (B, *S), and where it is; infinity where none is finite."""
    size, x = tuple(maps.shape[1:]), batch.inputs[0]
    values = torch.where(maps.isfinite() & _real(real, size), maps, -math.inf)
    highest, where = values.flatten(1).max(1)
    ends = _ends(x, real)
    rows = zip(highest.tolist(), where.tolist(), batch.index.tolist(), ends, strict=True)
    for value, place, number, end in rows:
        yield _Found(-value, number, _unravelled(place, size), size, tuple(x.shape), end)


def _real(mask: Tensor | None, size: Sides) -> Tensor:
    """Places of maps of a size whose own share of the input is no padding; of short samples all."""
    if mask is None or math.prod(size) == 1:
        return torch.ones(1, *size, dtype=torch.bool, device=None if mask is None else mask.device)
    padded: Tensor = _POOL[len(size)]((~mask).float().unsqueeze(1), size)[:, 0] > 0
    none = padded.flatten(1).all(1).reshape(-1, *[1] * len(size))
    return ~padded | none


def _ends(x: Tensor, mask: Tensor | None) -> list[Sides]:
    """Of each sample, where what is no padding ends along each axis."""
    size = spatial_size(x)
    if mask is None:
        return [size] * len(x)
    return [
        tuple((where.nonzero().amax(0) + 1).tolist()) if where.any() else size for where in mask
    ]


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


def _patch(field: Field | None, one: _Found) -> tuple[tuple[int, int], ...]:
    """What of the input a place can depend on."""
    if field is None:
        return tuple((0, side) for side in one.ends)
    edges = []
    for axis, side in enumerate(one.ends):
        start = field.start[axis] + field.stride[axis] * one.place[axis]
        stop = math.ceil(start + field.size[axis])
        begin = min(max(0, math.floor(start)), side)  # side: of a short text, what lies behind it
        edges.append((begin, max(begin, min(side, stop))))
    return tuple(edges)


def _unravelled(flat: int, size: Sequence[int]) -> tuple[int, ...]:
    place = []
    for side in reversed(size):
        flat, rest = divmod(flat, side)
        place.append(rest)
    return tuple(reversed(place))
