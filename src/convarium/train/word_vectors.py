"""Vectors of tokens from the training texts alone: which tokens stand near one another.

    counts of neighbours -> positive pointwise mutual information -> its largest singular vectors

M_ij = max(0, log p(i, j) / (p(i) p'(j))), where p' is p to the power of .75, as a neighbour that is
rare is worth less than it seems; a vector is a row of U sqrt(S) of M = U S V'. No label is used.

References:
    Levy, Goldberg (2014), "Neural word embedding as implicit matrix factorization", NeurIPS,
    section 3; Levy, Goldberg, Dagan (2015), "Improving distributional similarity with lessons
    learned from word embeddings", TACL 3, sections 3.2 and 3.3 (the power of .75; the square root
    of S); Halko, Martinsson, Tropp (2011), arXiv:0909.4061, algorithm 4.4 (singular vectors).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import seeds

_WINDOW: Final = 5  # tokens to either side; a neighbour at distance d counts 1 / d
_POWER: Final = 0.75
_MORE: Final = 16  # columns of the random projection beyond the length
_ROUNDS: Final = 2
MOST_COUNTED: Final = 4_000_000  # tokens, and ends of texts
_DEVIATION: Final = 0.15  # of the numbers in a vector, about that of +-0.25


def counted_vectors(
    texts: NDArray[np.int64], vocabulary: int, length: int, *, seed: int = 0
) -> Tensor:
    """A vector for each token that stands beside others; zeros for the rest.

    Args:
        texts: ids of all texts, one behind the other, each followed by a 0, int64 `(n,)`; of more
            than 4 million, whole texts that the seed draws are counted.
        vocabulary: number of ids.
        length: of a vector.
        seed: of the projection, and of texts that are drawn.

    Returns:
        float32 `(vocabulary, length)` of mean square .15^2, where any token has neighbours.
    """
    rows, columns, weights = _information(_drawn(texts, seed), vocabulary)
    if not len(rows):
        return torch.zeros(vocabulary, length)
    places = torch.from_numpy(np.stack([rows, columns]))
    shape = (vocabulary, vocabulary)
    values = torch.from_numpy(weights.astype(np.float32))
    matrix, turned = (
        torch.sparse_coo_tensor(place, values, shape, check_invariants=True).coalesce()
        for place in (places, places.flip(0))
    )
    wide = min(length + _MORE, vocabulary)
    draws = seeds.uniform(np.arange(vocabulary * wide), seed, "projection").reshape(-1, wide)
    found = matrix @ torch.from_numpy(draws - 0.5).float()
    for _ in range(_ROUNDS):
        found = torch.linalg.qr(matrix @ (turned @ torch.linalg.qr(found).Q)).Q
    left, sizes, _ = torch.linalg.svd((turned @ found).T, full_matrices=False)
    vectors = torch.zeros(vocabulary, length)
    taken = min(length, wide)
    vectors[:, :taken] = (found @ left * sizes.sqrt())[:, :taken]
    known = torch.zeros(vocabulary, 1)
    known[torch.from_numpy(np.unique(rows))] = 1
    scale = (vectors.square().sum() / (known.sum() * length)).sqrt()
    return vectors * known * (_DEVIATION / scale)


def _drawn(texts: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Whole texts, as many as are counted; their order may be that of their classes."""
    if len(texts) <= MOST_COUNTED:
        return texts
    lengths = np.diff(np.flatnonzero(texts == 0), prepend=-1)
    order = seeds.permutation(len(lengths), seed, "counted texts")
    chosen = np.zeros(len(lengths), np.bool_)
    chosen[order[np.cumsum(lengths[order]) <= MOST_COUNTED]] = True
    return texts[: lengths.sum()][np.repeat(chosen, lengths)]


def _information(
    texts: NDArray[np.int64], vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Token, neighbour, and their positive mutual information, where there is any."""
    keys: NDArray[np.int64] = np.empty(0, np.int64)
    counts: NDArray[np.float64] = np.empty(0, np.float64)
    ends = np.cumsum(texts == 0)
    for distance in range(1, _WINDOW + 1):
        first, second = texts[:-distance], texts[distance:]
        inside = (first > 0) & (second > 0) & (ends[:-distance] == ends[distance:])
        pairs = first[inside] * vocabulary + second[inside]
        found, times = np.unique(pairs, return_counts=True)
        both, place = np.unique(np.concatenate([keys, found]), return_inverse=True)
        sums = np.bincount(place, np.concatenate([counts, times / distance]), len(both))
        keys, counts = both, sums.astype(np.float64, copy=False)
    order = np.concatenate([keys, _swapped(keys, vocabulary)])
    counts = np.concatenate([counts, counts])
    own = np.bincount(order // vocabulary, counts, vocabulary)
    smooth = own**_POWER
    smooth /= max(smooth.sum(), 1e-300)
    both, place = np.unique(order, return_inverse=True)
    together = np.bincount(place, counts, len(both))
    rows, columns = np.divmod(both, vocabulary)
    information = np.log(together) - np.log(own[rows]) - np.log(smooth[columns])
    above = information > 0
    return rows[above], columns[above], information[above]


def _swapped(keys: NDArray[np.int64], vocabulary: int) -> NDArray[np.int64]:
    rows, columns = np.divmod(keys, vocabulary)
    return columns * vocabulary + rows
