"""Which pictures look alike: a short hash of a tiny picture, and those whose hashes are near.

    picture -> 16 x 16 pixels -> minus each channel's mean -> signs of 256 fixed projections

The share of signs that differ estimates the angle between two tiny pictures: 16 of 256 bits are a
correlation of about .98, as re-encoding, resizing or a slight change of brightness leave it. A
mirror image, a turn or a crop of a tenth do not.

References:
    Charikar (2002), "Similarity estimation techniques from rounding algorithms", STOC, section 3.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convarium import seeds
from convarium.errors import OptionError

ALIKE = 16  # bits of the 256 that may differ
SMALLEST = 32  # pixels of the short side, below which tiny pictures say too little
_SIDE, _BITS, _WORDS = 16, 256, 4
_FLAT = 4.0  # deviation of pixel values, below which there is nothing to compare
_BANDS = 16  # of 16 bits each
_NEIGHBOURS = 128
_AT_ONCE = 1 << 21  # comparisons


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A tiny picture in colour; None for one whose short side is below 32 pixels.

    Shape:
        pixels: uint8 `(H, W, C)`. Returns: uint8 `(16, 16, 3)`.
    """
    if min(pixels.shape[:2]) < SMALLEST:
        return None
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    size, kind = (_SIDE, _SIDE), Image.Resampling.BILINEAR
    return np.asarray(image.resize(size, kind, reducing_gap=3.0).convert("RGB"))


def looks(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The hashes of tiny pictures; 0 for one that is flat.

    Shape:
        thumbnails: uint8 `(N, 16, 16, 3)`. Returns: uint64 `(N, 4)`.
    """
    exact = thumbnails.reshape(len(thumbnails), -1, 3).astype(np.float64)
    count = exact.shape[1]
    centred = (count * exact - exact.sum(axis=1, keepdims=True)).reshape(len(exact), 3 * count)
    signs = centred @ _projections() > 0  # whole numbers, so that every machine has the same signs
    signs[np.square(centred).mean(axis=1) < (count * _FLAT) ** 2] = False
    hashes: NDArray[np.uint64] = np.packbits(signs, axis=1, bitorder="little").view("<u8")
    return hashes.astype(np.uint64)


def alike_pairs(hashes: NDArray[np.uint64], distance: int = ALIKE) -> NDArray[np.int64]:
    """Pairs of pictures whose hashes differ in at most so many bits, sorted; not all of large sets.

    Two hashes are compared where they are equal in one of 16 bands of 16 bits: always where they
    differ in 15 bits or fewer, and with a probability above .999 at 20. Where more than 128 share
    a band, each is compared with the 128 behind it in 16 different orders, and of equal hashes each
    is paired with the first: enough to link what belongs together.

    Args:
        hashes: as `looks` gives them, uint64 `(N, 4)`; those that are 0 are alike to none.
        distance: 0 to 32 bits.

    Returns:
        Pairs (i, j), i < j, int64 `(P, 2)`.

    Raises:
        OptionError: another distance.
    """
    if not 0 <= distance <= 2 * ALIKE:
        raise OptionError(f"distance (={distance}) must be from 0 to {2 * ALIKE} bits.")
    usable = np.flatnonzero(hashes.any(axis=1))
    if not len(usable):
        return np.empty((0, 2), np.int64)
    different, first, place = np.unique(
        hashes[usable], axis=0, return_index=True, return_inverse=True
    )
    place, first = place.reshape(-1), usable[first]
    twins = np.flatnonzero(first[place] != usable)
    found = [np.stack([first[place[twins]], usable[twins]], axis=1)]
    for band in range(_BANDS):
        word, shift = different[:, band % _WORDS], np.uint64(_BANDS * (band // _WORDS))
        turned = (word << shift) | (word >> (np.uint64(64) - shift)) if shift else word
        order = np.argsort(turned, kind="stable")
        for low, high in _near(different, turned[order] >> np.uint64(48), order, distance):
            found.append(np.sort(np.stack([first[low], first[high]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def linked(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each of n things, equal where pairs link them: the lowest of those linked.

    >>> linked(5, np.array([[0, 3], [3, 4]])).tolist()
    [0, 1, 2, 0, 0]
    """
    number = np.arange(n)
    while len(pairs):
        before = number.copy()
        low = number[pairs].min(axis=1)
        for side in (0, 1):
            np.minimum.at(number, pairs[:, side], low)
        number = number[number]
        if (number == before).all():
            break
    return number


def differing_bits(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """In how many bits hashes differ, row by row.

    Shape:
        one, other: uint64 `(N, 4)`. Returns: int64 `(N,)`.
    """
    parts = (one ^ other).view(np.uint16)
    counts: NDArray[np.int64] = _bits_set()[parts].sum(axis=1, dtype=np.int64)
    return counts


def _near(
    hashes: NDArray[np.uint64], keys: NDArray[np.uint64], order: NDArray[np.int64], distance: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs that share a band and are near; `keys` are sorted, `order` says whose they are."""
    ends = np.searchsorted(keys, keys, side="right")
    after = np.minimum(ends - np.arange(len(keys)) - 1, _NEIGHBOURS)
    total = np.concatenate([[0], np.cumsum(after)])
    cuts = np.searchsorted(total, np.arange(0, total[-1], _AT_ONCE))
    found = []
    for begin, end in itertools.pairwise([*dict.fromkeys(cuts.tolist()), len(keys)]):
        counts = after[begin:end]
        one = np.repeat(np.arange(begin, end), counts)
        step = np.arange(len(one)) - np.repeat(total[begin:end] - total[begin], counts) + 1
        low, high = order[one], order[one + step]
        close = differing_bits(hashes[low], hashes[high]) <= distance
        found.append((low[close], high[close]))
    return found


@functools.cache
def _projections() -> NDArray[np.float64]:
    """256 vectors of +1 and -1, the columns of a `(768, 256)` matrix."""
    drawn = seeds.uniform(np.arange(3 * _SIDE * _SIDE * _BITS), 0, "looks")
    return np.where(drawn < 0.5, -1.0, 1.0).reshape(-1, _BITS)


@functools.cache
def _bits_set() -> NDArray[np.uint8]:
    """How many bits are set in each number of 16 bits."""
    values = np.arange(1 << 16, dtype="<u2")
    bits = np.unpackbits(values.view(np.uint8)).reshape(-1, 16)
    counts: NDArray[np.uint8] = bits.sum(axis=1, dtype=np.uint8)
    return counts
