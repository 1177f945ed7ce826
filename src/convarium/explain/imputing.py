"""Noisy linear imputation: what a removed position holds, so that its absence shows little.

Each removed position is the weighted mean of its neighbours, removed ones too:

    sum_j w_ij (v_i - v_j) = 0        over the neighbours j inside the input

a sparse system, solved exactly; then noise is added. A neighbour's weight falls with the number of
axes along which it differs: 1/6 beside and 1/12 across in two dimensions, 1/2 in one.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.errors import import_extra

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

_LEAF = 32  # positions that are not dissected further


def imputed(x: Numbers, removed: NDArray[np.bool_]) -> Numbers:
    """The sample with its removed positions filled in, without noise.

    Args:
        x: (C, *S).
        removed: (*S) at least one position must stay.

    Raises:
        MissingExtraError: scipy is not installed.

    >>> imputed(np.array([[0.0, 9, 9, 3]]), np.array([False, True, True, False]))
    array([[0., 1., 2., 3.]])
    """
    linalg = import_extra("scipy.sparse.linalg", "measure")
    order = _dissected(removed.shape)
    order = order[removed.reshape(-1)[order]]
    if not len(order):
        return x.copy()
    matrix, right = _system(x, order)
    factors = linalg.splu(
        matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    filled = x.reshape(len(x), -1).copy()
    filled[:, order] = factors.solve(right).T
    return filled.reshape(x.shape)


def noise(x: Numbers, removed: NDArray[np.bool_], *keys: int | str) -> Numbers:
    """Normal numbers at the removed positions, zeros elsewhere, from the stream of the keys."""
    generator = np.random.Generator(np.random.PCG64(seeds.derive(*keys)))
    return generator.standard_normal(x.shape) * removed


def neighbours(rank: int) -> list[tuple[tuple[int, ...], float]]:
    """Offsets of the neighbours and their weights, which sum to 1.

    >>> neighbours(1)
    [((-1,), 0.5), ((1,), 0.5)]
    """
    offsets = [o for o in itertools.product((-1, 0, 1), repeat=rank) if any(o)]
    total = sum(1 / sum(map(abs, offset)) for offset in offsets)
    return [(offset, 1 / sum(map(abs, offset)) / total) for offset in offsets]


def _system(x: Numbers, order: Places) -> tuple[Any, Numbers]:
    """The matrix (m, m) and the right sides (m, C) for the positions in `order`."""
    sparse = import_extra("scipy.sparse", "measure")
    size, values = x.shape[1:], x.reshape(len(x), -1)
    unknown = np.full(values.shape[1], -1)
    unknown[order] = np.arange(len(order))
    places = np.stack(np.unravel_index(order, size))
    limits = np.array(size).reshape(-1, 1)
    diagonal, right = np.zeros(len(order)), np.zeros((len(order), len(x)))
    entries, rows, columns = [diagonal], [np.arange(len(order))], [np.arange(len(order))]
    for offset, weight in neighbours(len(size)):
        there = places + np.array(offset).reshape(-1, 1)
        (inside,) = np.nonzero(((there >= 0) & (there < limits)).all(0))
        flat = np.ravel_multi_index(tuple(there[:, inside]), size)
        diagonal[inside] += weight
        open_ = unknown[flat] >= 0
        right[inside[~open_]] += weight * values[:, flat[~open_]].T
        rows.append(inside[open_])
        columns.append(unknown[flat[open_]])
        entries.append(np.full(len(rows[-1]), -weight))
    places_of = (np.concatenate(rows), np.concatenate(columns))
    shape = (len(order), len(order))
    return sparse.csc_array((np.concatenate(entries), places_of), shape=shape), right


@lru_cache(maxsize=8)
def _dissected(size: tuple[int, ...]) -> Places:
    """The positions in the order of nested dissection: halves first, then what parts them.

    The factors of a grid's system stay sparse so; half the time of scipy's own orders.

    References:
        George (1973), "Nested dissection of a regular finite element mesh", SIAM J. Numer. Anal.
        10, 345-363.
    """
    pieces: list[Places] = []

    def dissect(grid: Places) -> None:
        if grid.size <= _LEAF:
            pieces.append(grid.reshape(-1))
            return
        axis = int(np.argmax(grid.shape))
        middle = grid.shape[axis] // 2
        low, wall, high = np.split(grid, [middle, middle + 1], axis)
        dissect(low)
        dissect(high)
        pieces.append(wall.reshape(-1))

    dissect(np.arange(int(np.prod(size)), dtype=np.int64).reshape(size))
    return np.concatenate(pieces)
