"""The order of an epoch in which each class is drawn as often as any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium import seeds
from convarium.errors import DataError


def balanced_order(targets: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
    """Places 0 .. n-1 of a training part, n of them, each class with the same probability.

    Of K classes each has floor(n / K) or ceil(n / K) places; chance says which has one more. Within
    a class the samples take turns, in an order drawn anew for each turn: none is drawn twice before
    all were drawn once.

    Args:
        targets: class number of each sample of the part.
        seed, epoch: the order is a function of these two and the targets.

    Raises:
        DataError: there is no sample.

    >>> targets = np.array([0, 0, 0, 0, 0, 1])
    >>> np.bincount(targets[balanced_order(targets, 0, 0)]).tolist()
    [3, 3]
    """
    if not len(targets):
        raise DataError("There is no sample to draw from; give training samples.")
    classes = np.unique(targets)
    whole, rest = divmod(len(targets), len(classes))
    counts = np.full(len(classes), whole)
    counts[seeds.permutation(len(classes), seed, "balance", epoch, "rest")[:rest]] += 1
    drawn = []
    for label, count in zip(classes.tolist(), counts.tolist(), strict=True):
        members = np.flatnonzero(targets == label)
        turns = -(-count // len(members))
        order = [
            seeds.permutation(len(members), seed, "balance", epoch, label, turn)
            for turn in range(turns)
        ]
        if order:
            drawn.append(members[np.concatenate(order)[:count]])
    places = np.concatenate(drawn)
    return places[seeds.permutation(len(places), seed, "balance", epoch, "order")]
