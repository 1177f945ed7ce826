"""Maps at another size: linearly, and sample by sample where each covers another part of the input.

map (B, *S) -> each sample's own positions -> its part of the input -> zeros behind
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_LINEAR: Final = {1: "linear", 2: "bilinear", 3: "trilinear"}

Sizes = tuple[int, ...]


class Extent(NamedTuple):
    """Where in a batch a sample stands that is shorter than the batch, or than the network reads.

    Attributes:
        cells: positions of the map that are the sample's, along each axis, from the first.
        covered: positions of the input that these cover, with zeros that the network puts behind.
        own: positions of the input that are the sample's; of a map with a cell for each covered
            position, what is behind them counts to the last of them, and of a coarser one it is
            left out.
    """

    cells: Sizes
    covered: Sizes
    own: Sizes


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, *S), or (B, C, *S) for as many axes of `size`, linearly at another size."""
    if tuple(maps.shape[-len(size) :]) == tuple(size):
        return maps
    whole = maps if maps.ndim == len(size) + 2 else maps.unsqueeze(1)
    mode = _LINEAR[len(size)]
    return F.interpolate(whole, size=tuple(size), mode=mode, align_corners=False).reshape(
        *maps.shape[: maps.ndim - len(size)], *size
    )


def resized_each(
    maps: Tensor, size: Sequence[int], extents: Sequence[Extent], whole: Sequence[int]
) -> Tensor:
    """Maps (B, *S) at another size, each sample as it is alone, with zeros behind it.

    Args:
        maps: of a batch.
        size: of the result.
        extents: one a sample.
        whole: size of the batch's input, of which the samples are parts.
    """
    result = maps.new_zeros(len(maps), *size)
    for row, extent in enumerate(extents):
        part = maps[row : row + 1][(slice(None), *map(slice, extent.cells))]
        if extent.cells == extent.covered:
            part = _folded(part, extent.own)
        elif extent.covered != extent.own:
            part = resized(part, extent.covered)[(slice(None), *map(slice, extent.own))]
        shares = zip(extent.own, size, whole, strict=True)
        sides = [max(1, round(own * side / full)) for own, side, full in shares]
        result[row][tuple(map(slice, sides))] = resized(part, sides)[0]
    return result


def _folded(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps cut to a size; what lay behind it counts to the last position."""
    for axis, side in enumerate(size, start=1):
        kept = maps.narrow(axis, 0, side)
        if maps.shape[axis] > side:
            behind = maps.narrow(axis, side, maps.shape[axis] - side).sum(axis, keepdim=True)
            last = kept.narrow(axis, side - 1, 1) + behind
            kept = torch.cat([kept.narrow(axis, 0, side - 1), last], axis)
        maps = kept
    return maps
