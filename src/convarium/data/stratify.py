"""Dividing labelled units among parts so that each part has its share of each class.

A unit is a set of samples that must not be torn apart: exact copies, or a group.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convarium import seeds

_EPSILON = 1e-9


def units(
    digests: NDArray[np.uint64],
    groups: NDArray[np.int64] | None,
    alike: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Unit number of each sample: the connected sets of equal digests, groups and looks.

    >>> units(np.array([7, 8, 7, 9], np.uint64), np.array([0, 0, 1, 2])).tolist()
    [0, 0, 0, 1]
    """
    copies = np.unique(digests, return_inverse=True)[1].astype(np.int64)
    others = [each for each in (groups, alike) if each is not None]
    if not others:
        return copies
    kinds = [copies, *(np.unique(each, return_inverse=True)[1] for each in others)]
    unit = np.arange(len(digests))
    while True:
        before = unit
        for kind in kinds:
            lowest = np.full(kind.max(initial=0) + 1, len(unit))
            np.minimum.at(lowest, kind, unit)
            unit = lowest[kind]
        if (unit == before).all():
            return np.unique(unit, return_inverse=True)[1].astype(np.int64)


def assign(
    targets: NDArray[np.int64], unit: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int32]:
    """Part number of each sample, by shares of each class.

    Units of several samples are placed first, largest first, each into a part that still wants half
    of it or more (or, where none does, the one that wants most), so that it raises no part by more
    than two thirds of itself above the part's share of all samples. Of these parts it is the one
    where the sum over classes and parts of (count - wanted)^2 / wanted stays smallest. Single
    samples then fill what is wanted: where all are single, the count of each class in each part is
    its share rounded down or up, and the errors of one class are made good by the next. Each class
    has a training sample as far as its units allow.

    Args:
        targets: class numbers, `(N,)`.
        unit: unit numbers, `(N,)`.
        shares: share of each part, `(P,)`, summing to 1; the first is training.
        seed: draws which samples go where.
    """
    part = np.full(len(targets), -1, np.int32)
    order = seeds.permutation(len(targets), seed, "split")
    n_classes = int(targets.max(initial=0)) + 1
    wanted = np.bincount(targets, minlength=n_classes)[:, None] * shares
    counts = np.zeros_like(wanted)
    size = np.bincount(unit)
    single = size[unit] == 1
    room = wanted.sum(axis=0)
    for members in _bundles(unit, order[~single[order]]):
        classes, numbers = np.unique(targets[members], return_counts=True)
        has_room = room >= min(len(members) / 2, room.max()) - _EPSILON
        number = _best_part(counts[classes], wanted[classes], numbers, has_room)
        room[number] -= len(members)
        counts[classes, number] += numbers
        part[members] = number
    _place_singles(part, targets, order[single[order]], wanted, counts)
    _give_training(part, targets, unit)
    _fill_empty(part, targets, unit, shares)
    return part


def _bundles(unit: NDArray[np.int64], samples: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The samples of each unit; largest units first, equal ones in the random order given."""
    if not len(samples):
        return []
    first_seen = np.unique(unit[samples], return_index=True)[1]
    by_unit = samples[np.argsort(unit[samples], kind="stable")]
    cuts = np.flatnonzero(np.diff(unit[by_unit])) + 1
    bundles = np.split(by_unit, cuts)
    order = sorted(range(len(bundles)), key=lambda k: (-len(bundles[k]), int(first_seen[k])))
    return [bundles[k] for k in order]


def _best_part(
    counts: NDArray[np.float64],
    wanted: NDArray[np.float64],
    numbers: NDArray[np.int64],
    has_room: NDArray[np.bool_],
) -> int:
    """Of the parts with room, where `numbers` more of each class cost least; ties: the first."""
    after = counts + numbers[:, None]
    safe = np.maximum(wanted, _EPSILON)
    cost = (((after - wanted) ** 2 - (counts - wanted) ** 2) / safe).sum(axis=0)
    return int(np.argmin(np.where(has_room, cost, np.inf)))


def _place_singles(
    part: NDArray[np.int32],
    targets: NDArray[np.int64],
    samples: NDArray[np.int64],
    wanted: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> None:
    """Fill the wanted counts with single samples, class by class."""
    by_class = samples[np.argsort(targets[samples], kind="stable")]
    cuts = np.flatnonzero(np.diff(targets[by_class])) + 1
    owed = np.zeros(wanted.shape[1])
    for chosen in np.split(by_class, cuts) if len(by_class) else []:
        label = int(targets[chosen[0]])
        wants = np.maximum(wanted[label] - counts[label], 0)
        wants *= len(chosen) / max(wants.sum(), _EPSILON)
        numbers = _rounded(wants, owed, len(chosen), needs_training=counts[label, 0] == 0)
        owed += wants - numbers
        counts[label] += numbers
        part[chosen] = np.repeat(np.arange(len(numbers), dtype=np.int32), numbers)


def _rounded(
    wants: NDArray[np.float64], owed: NDArray[np.float64], total: int, *, needs_training: bool
) -> NDArray[np.int64]:
    """Whole numbers that sum to `total`: each wanted number rounded down or up.

    Those are rounded up that classes before have owed most.
    """
    numbers = np.floor(wants + _EPSILON).astype(np.int64)
    open_to = wants - numbers > _EPSILON
    if needs_training and numbers[0] == 0 and numbers.sum() < total:
        numbers[0], open_to[0] = 1, False
    while numbers.sum() < total:
        due = np.where(open_to, owed + wants - numbers, -np.inf)
        best = int(np.argmax(due)) if open_to.any() else 0
        numbers[best] += 1
        open_to[best] = False
    return numbers


def _give_training(
    part: NDArray[np.int32], targets: NDArray[np.int64], unit: NDArray[np.int64]
) -> None:
    """Move the smallest unit of each class that training lacks into training."""
    size = np.bincount(unit)
    for label in np.setdiff1d(targets, targets[part == 0]).tolist():
        if (part[targets == label] == 0).any():
            continue
        candidates = np.unique(unit[targets == label])
        smallest = candidates[np.argmin(size[candidates])]
        part[unit == smallest] = 0


def _fill_empty(
    part: NDArray[np.int32],
    targets: NDArray[np.int64],
    unit: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> None:
    """Give a part that wants samples and has none the smallest unit that training can spare."""
    size = np.bincount(unit)
    for number in range(1, len(shares)):
        if shares[number] == 0 or (part == number).any():
            continue
        in_training = np.bincount(targets[part == 0], minlength=int(targets.max(initial=0)) + 1)
        for candidate in sorted(np.unique(unit[part == 0]).tolist(), key=lambda k: int(size[k])):
            members = unit == candidate
            taken = np.bincount(targets[members], minlength=len(in_training))
            if (in_training[taken > 0] > taken[taken > 0]).all():
                part[members] = number
                break
