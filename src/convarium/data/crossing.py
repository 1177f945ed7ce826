"""Pictures of the validation and test parts that look like a training picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.looks import differing_bits
from convarium.data.parts import Parts


@dataclass(frozen=True, eq=False)
class Lookalikes:
    """Each picture that looks like one of the training part, beside the nearest of them.

    Args:
        dataset: of all parts.
        validation: ids of pictures and of training pictures, nearest pairs first, int64 `(P, 2)`.
        test: likewise.
    """

    dataset: Dataset
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures of each part look like a training picture."""
        return {"validation": len(self.validation), "test": len(self.test)}

    def rows(self) -> Iterator[dict[str, Any]]:
        """A mapping a picture: its part, ids and names of both, and how many bits differ."""
        hashes = self.dataset.survey().looks
        for word, pairs in (("test", self.test), ("validation", self.validation)):
            for one, other in pairs.tolist():
                yield {
                    "part": word,
                    "id": one,
                    "name": self.dataset.name(one),
                    "train_id": other,
                    "train_name": self.dataset.name(other),
                    "bits": 0 if hashes is None else _bits(hashes, one, other),
                }


def lookalikes(parts: Parts) -> Lookalikes:
    """What of the validation and test parts looks like a training picture, exact copies too.

    Pictures below 32 pixels, flat ones and volumes are not compared.

    >>> from convarium.data import open_dataset, split
    >>> lookalikes(split(open_dataset("digits"))).counts
    {'validation': 0, 'test': 0}
    """
    dataset = parts.train.dataset
    none = np.empty((0, 2), np.int64)
    hashes = dataset.survey().looks if parts.train.listed else None
    if hashes is None:
        return Lookalikes(dataset, none, none)
    groups = np.unique(hashes, axis=0, return_inverse=True)[1].reshape(-1)
    near = groups[dataset.alike()]
    train = parts.train.ids[hashes[parts.train.ids].any(axis=1)]
    one = np.full(int(groups.max(initial=0)) + 1, -1)  # training picture of each hash
    one[groups[train[::-1]]] = train[::-1]
    same = np.flatnonzero(one >= 0)
    links = np.concatenate([near, near[:, ::-1], np.stack([same, same], axis=1)])
    links = np.unique(links[one[links[:, 1]] >= 0], axis=0)
    own = [
        _nearest(hashes, groups, links, one, part.ids) for part in (parts.validation, parts.test)
    ]
    return Lookalikes(dataset, *own)


def _nearest(
    hashes: NDArray[np.uint64],
    groups: NDArray[np.int64],
    links: NDArray[np.int64],
    one: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Pairs of each picture `ids` and the nearest training picture, the nearest pairs first.

    Args:
        hashes: of all pictures.
        groups: number of the hash of each picture.
        links: which hashes are near which training pictures' ones, sorted, `(L, 2)`.
        one: a training picture of each hash.
        ids: of a part.
    """
    low, high = (np.searchsorted(links[:, 0], groups[ids], side=side) for side in ("left", "right"))
    counts = high - low
    first = np.repeat(ids, counts)
    inside = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    second = one[links[np.repeat(low, counts) + inside, 1]]
    bits = differing_bits(hashes[first], hashes[second])
    order = np.lexsort((second, first, bits))
    kept = np.sort(np.unique(first[order], return_index=True)[1])
    return np.stack([first[order][kept], second[order][kept]], axis=1)


def _bits(hashes: NDArray[np.uint64], one: int, other: int) -> int:
    return int(differing_bits(hashes[one : one + 1], hashes[other : other + 1])[0])
