"""The same fields in blocks that begin elsewhere: more to learn from, of the same climate.

A circle of columns is turned by less than a block. Elsewhere one block less is cut out, which may
begin at any cell of the first one. What is known of each place moves with the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convarium.data.augment.stream import Stream
from convarium.data.grids.climatology import Climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.pairs import FieldBatch, FieldPairs
from convarium.errors import OptionError

_GROUPS = 4  # shifts of an epoch's samples at a time: times of a group are read together
_FEWEST = 4  # blocks along an axis of which one may be left out
_KEPT = 2**26  # numbers of climatologies and static fields that are kept for other shifts
_WORDS = ("rows", "columns")


@dataclass(frozen=True)
class Shift:
    """Where the first block begins, in fine cells, and how many cells there are; None is all.

    Args:
        rows: the first row.
        columns: the first column.
        size: rows and columns that are left.
        turned: columns that come again at the other end.
    """

    rows: int
    columns: int
    size: tuple[int, int]
    turned: bool

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Fields (..., H, W) so."""
        height, width = self.size
        rows = values[..., self.rows : self.rows + height, :]
        if self.turned:
            return np.roll(rows, -self.columns, -1)
        return rows[..., self.columns : self.columns + width]


class ShiftedPairs:
    """Pairs of perfect prognosis in blocks that begin elsewhere, by chance.

    Args:
        pairs: as they are.

    Raises:
        OptionError: the coarse fields are a model's, whose blocks are where they are.
    """

    def __init__(self, pairs: FieldPairs) -> None:
        if pairs.coarse is not None:
            raise OptionError(
                "shift (=True) makes coarse fields from fine ones; leave it out beside a model's."
            )
        self.pairs = pairs
        self._known: dict[Shift, FieldPairs] = {}

    def batch(self, ids: NDArray[np.int64], stream: Stream) -> FieldBatch:
        """Some pairs, each time shifted as its numbers say."""
        groups = Stream(ids % _GROUPS, stream.seed, stream.epoch)
        spans = [self._span(axis) for axis in (0, 1)]
        draws = [groups.below(count, word) for (count, _), word in zip(spans, _WORDS, strict=True)]
        found: list[tuple[NDArray[np.int64], FieldBatch]] = []
        size, turned = (spans[0][1], spans[1][1]), self.pairs.wrap
        for rows, columns in dict.fromkeys(zip(*(each.tolist() for each in draws), strict=True)):
            places = np.flatnonzero((draws[0] == rows) & (draws[1] == columns))
            moved = self.moved(Shift(rows, columns, size, turned))
            found.append((places, moved.batch(ids[places])))
        return _joined(found)

    def moved(self, shift: Shift) -> FieldPairs:
        """All pairs after one shift; what is known of places is kept for the next time."""
        found = self._known.get(shift)
        if found is None:
            parts = (self.pairs.static, getattr(self.pairs.climatology, "fine", None))
            size = sum(part.size for part in parts if part is not None)
            if len(self._known) * size > _KEPT:
                self._known = {}
            found = self._known[shift] = moved_pairs(self.pairs, shift)
        return found

    def _span(self, axis: int) -> tuple[int, int]:
        """How many places the first block can begin at, and the cells that are left."""
        size, n = self.pairs.fine.grid.shape[axis], self.pairs.factor[axis]
        if axis == 1 and self.pairs.wrap:
            return n, size
        return (n + 1, size - n) if size // n >= _FEWEST else (1, size)


def moved_pairs(pairs: FieldPairs, shift: Shift) -> FieldPairs:
    """Pairs after a shift, with the climatology and the static fields of the new places."""
    fine = pairs.fine
    source = {name: _Moved(values, shift) for name, values in fine.source.items()}
    height, width = shift.size
    rows = slice(shift.rows, shift.rows + height)
    columns = slice(0, width) if shift.turned else slice(shift.columns, shift.columns + width)
    fields = replace(fine, source=source, grid=fine.grid.cut(rows, columns))
    areas = None if pairs.areas is None else pairs.areas[rows]
    climatology = pairs.climatology
    if climatology is not None:
        own = np.ascontiguousarray(shift.of(climatology.fine))
        coarse = coarsen(own, pairs.factor, areas)
        climatology = Climatology(climatology.months, own, coarse, pairs.factor)
    static = None if pairs.static is None else np.ascontiguousarray(shift.of(pairs.static))
    held = None if pairs.held is None else pairs.held.moved(shift)
    return replace(
        pairs, fine=fields, climatology=climatology, static=static, gaps=pairs.masked, held=held
    )


class _Moved:
    """A variable that is read as it is and moved then."""

    def __init__(self, values: Any, shift: Shift) -> None:
        self._values, self._shift = values, shift

    def __getitem__(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._shift.of(np.asarray(self._values[ids], np.float32))


def _joined(found: list[tuple[NDArray[np.int64], FieldBatch]]) -> FieldBatch:
    """Groups of samples in the order of the whole."""
    order = torch.from_numpy(np.argsort(np.concatenate([places for places, _ in found])))
    parts: Mapping[str, list[Any]] = {
        name: [getattr(batch, name) for _, batch in found] for name in FieldBatch._fields
    }
    counts = [len(places) for places, _ in found]
    if any(each is not None for each in parts["weights"]):
        shape = found[0][1].y.shape[1:]
        parts["weights"][:] = [
            torch.ones(n, *shape) if w is None else w.expand(n, *shape)
            for w, n in zip(parts["weights"], counts, strict=True)
        ]
    whole: dict[str, Any] = {
        name: None if each[0] is None else torch.cat(each)[order] for name, each in parts.items()
    }
    return FieldBatch(**whole)
