"""Dividing samples of several labels among parts so that each part has its share of each label.

References:
    Sechidis, Tsoumakas, Vlahavas (2011), "On the Stratification of Multi-Label Data", ECML PKDD,
    algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium import seeds

_EPSILON = 1e-9


def assign_labels(
    targets: NDArray[np.float32],
    unit: NDArray[np.int64],
    shares: NDArray[np.float64],
    seed: int,
) -> NDArray[np.int32]:
    """Part number of each sample, by shares of each label; units are never torn apart.

    The rarest label that is left goes first: each unit that has it goes to the part that still
    wants most of this label; where parts want as much, to the one that wants most samples, and
    where they want as many, by the seed. Units without a label fill up the parts.

    Differs from the paper: what is placed are units of samples that belong together, which count
    with their numbers of samples and of labels, large ones first.

    Args:
        targets: 0 or 1, `(N, K)`.
        unit: unit numbers from 0 on, `(N,)`.
        shares: share of each part, `(P,)`, summing to 1; nothing goes to a part of share 0.
        seed: draws the order, and between equal parts.
    """
    units = int(unit.max(initial=-1)) + 1
    size = np.bincount(unit, minlength=units).astype(np.float64)
    has = np.zeros((units, targets.shape[1]))
    np.add.at(has, unit, targets)
    order = seeds.permutation(units, seed, "split")
    order = order[np.argsort(-size[order], kind="stable")]
    ties = seeds.uniform(np.arange(units * len(shares)), seed, "split ties")
    state = _State(has, size, shares, ties.reshape(units, len(shares)))
    while len(order):
        left = has[order].sum(0)
        if not (left > 0).any():
            break
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        chosen = has[order, label] > 0
        for k in order[chosen].tolist():
            state.place(k, label)
        order = order[~chosen]
    for k in order.tolist():
        state.place(k, None)
    return state.part[unit]


class _State:
    """What each part still wants, and where each unit went."""

    def __init__(
        self,
        has: NDArray[np.float64],
        size: NDArray[np.float64],
        shares: NDArray[np.float64],
        ties: NDArray[np.float64],
    ) -> None:
        self._has, self._size, self._ties = has, size, ties
        self._labels = has.sum(0)[:, None] * shares
        self._samples = size.sum() * shares
        self._open = shares > 0
        self.part = np.full(len(size), -1, np.int32)

    def place(self, k: int, label: int | None) -> None:
        """Unit `k` goes where its label, then samples, are wanted most."""
        best = self._open
        if label is not None:
            best = _largest(self._labels[label], best)
        best = _largest(self._samples, best)
        number = int(np.argmax(np.where(best, self._ties[k], -1.0)))
        self.part[k] = number
        self._samples[number] -= self._size[k]
        self._labels[:, number] -= self._has[k]


def _largest(values: NDArray[np.float64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the places `among` that have the largest value, up to rounding."""
    top = values[among].max()
    largest: NDArray[np.bool_] = among & (values >= top - _EPSILON)
    return largest
