"""Fields of any size through a network of fields: tiles, each with the cells around it that count.

A tile is read with as many cells on each side as the network sees, and what lies around it is cut
off again: the result is that of the whole field, without a seam. Where the columns go around, the
cells beyond the last are the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import torch
from torch import Tensor

from convarium.data.grids.coarse import CoarseBatch
from convarium.errors import OptionError
from convarium.models import FieldToField

LARGEST: Final = 2**20  # fine cells of a field that goes through a network as a whole
_TILE: Final = 64
Cutting = Callable[[Tensor], Tensor]


class Tile(NamedTuple):
    """Cells along one axis: what is read, and what is kept of it."""

    read: slice
    kept: slice


@dataclass(frozen=True)
class Tiling:
    """How a field is divided.

    Args:
        size: coarse cells of a tile along each axis; None takes the field as a whole.
        halo: cells around it that the network sees, along each axis; tiles need it.
        multiple: tiles begin at multiples of so many cells, as networks with pools need it.

    Raises:
        OptionError: a size below 1, or tiles without a halo.
    """

    size: int | None = None
    halo: tuple[int, int] | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise OptionError(f"tile (={self.size}) must be 1 coarse cell or more.")
        if self.size is not None and self.halo is None:
            raise OptionError("Tiles need a halo: the cells around them that the network sees.")

    def fitted(self, cells: int) -> Tiling:
        """The same, with tiles of 64 cells where whole fields of so many fine cells are large."""
        large = self.size is None and self.halo is not None and cells > LARGEST
        return replace(self, size=_TILE) if large else self

    def around(self, axis: int) -> int:
        """Cells around a tile along an axis, in whole multiples; none where nothing is known."""
        return 0 if self.halo is None else -(-self.halo[axis] // self.multiple) * self.multiple

    def along(self, axis: int, count: int) -> list[Tile]:
        """The tiles of an axis of so many cells.

        >>> [tile.read for tile in Tiling(4, (1, 1)).along(0, 6)]
        [slice(0, 5, None), slice(3, 6, None)]
        """
        if self.size is None or self.size >= count:
            return [Tile(slice(0, count), slice(0, count))]
        step = -(-self.size // self.multiple) * self.multiple
        halo = self.around(axis)
        found = []
        for start in range(0, count, step):
            end = min(start + step, count)
            read = slice(max(0, start - halo), min(count, end + halo))
            found.append(Tile(read, slice(start, end)))
        return found


def fine_fields(
    network: FieldToField, batch: CoarseBatch, tiling: Tiling, *, wraps: bool
) -> Tensor:
    """What the network gives for whole fields, tile by tile.

    Args:
        network: in evaluation mode.
        batch: the fields.
        tiling: how they are divided.
        wraps: whether the columns of the field go all the way around.

    Shape:
        x (B, C, h, w) -> (B, P T, H, W)
    """
    columns = batch.x.shape[-1]
    if network.places is not None:  # they know the cells by their places in the whole field
        with torch.no_grad():
            added = network.places(network.reader.normalised(batch.x, batch.mask))
        batch = replace(batch, added=added)
    divided = tiling.size is not None and tiling.size < columns
    beyond = 0
    if wraps != network.wrap or (wraps and divided):
        beyond = tiling.around(1)
    if beyond:
        batch = _extended(batch, network.factor, beyond, wraps=wraps)
    rows = tiling.along(0, batch.x.shape[2])
    across = tiling.along(1, batch.x.shape[3])
    if len(rows) == len(across) == 1:
        y = _given(network, batch)
    else:
        y = _joined(network, batch, rows, across)
    s = network.factor[1]
    return y[..., beyond * s : (beyond + columns) * s]


def _joined(
    network: FieldToField, batch: CoarseBatch, rows: Sequence[Tile], across: Sequence[Tile]
) -> Tensor:
    """The tiles beside each other."""
    r, s = network.factor
    size = batch.x.shape[2] * r, batch.x.shape[3] * s
    y: Tensor | None = None
    for down, right in ((a, b) for a in rows for b in across):
        part = _given(network, _cut(batch, (r, s), down.read, right.read))
        if y is None:
            y = part.new_empty(*part.shape[:2], *size)
        inner = [
            slice((tile.kept.start - tile.read.start) * n, (tile.kept.stop - tile.read.start) * n)
            for tile, n in ((down, r), (right, s))
        ]
        y[..., _times(down.kept, r), _times(right.kept, s)] = part[..., inner[0], inner[1]]
    if y is None:
        raise OptionError("A field without cells cannot be made finer.")
    return y


def _given(network: FieldToField, batch: CoarseBatch) -> Tensor:
    given = (batch.x, batch.mask, batch.fine)
    with torch.no_grad():
        if batch.added is None:
            y: Tensor = network(*given, batch.weights)
        else:
            found = network.head(network.finer(*given)) + batch.added
            y = network.written(found, *given, batch.weights)
    return y


def _times(cells: slice, factor: int) -> slice:
    return slice(cells.start * factor, cells.stop * factor)


def _cut(batch: CoarseBatch, factor: tuple[int, int], rows: slice, columns: slice) -> CoarseBatch:
    """Some coarse cells, and the fine ones in them."""

    def coarse(x: Tensor) -> Tensor:
        return x[..., rows, columns]

    def fine(x: Tensor) -> Tensor:
        return x[..., _times(rows, factor[0]), _times(columns, factor[1])]

    return _each(batch, coarse, fine)


def _extended(
    batch: CoarseBatch, factor: Sequence[int], beyond: int, *, wraps: bool
) -> CoarseBatch:
    """More columns on both sides: from the other end, or the outermost ones again."""

    def wider(x: Tensor, n: int) -> Tensor:
        places = torch.arange(-n, x.shape[-1] + n)
        last = x.shape[-1]
        return x[..., places % last if wraps else places.clamp(0, last - 1)]

    return _each(batch, lambda x: wider(x, beyond), lambda x: wider(x, beyond * factor[1]))


def _each(batch: CoarseBatch, coarse: Cutting, fine: Cutting) -> CoarseBatch:
    """The parts of a batch after what is done to coarse and to fine cells."""
    weights = batch.weights
    return CoarseBatch(
        x=coarse(batch.x),
        mask=None if batch.mask is None else coarse(batch.mask),
        fine=None if batch.fine is None else fine(batch.fine),
        weights=None if weights is None else fine(weights),
        added=None if batch.added is None else fine(batch.added),
    )
