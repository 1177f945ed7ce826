"""Which texts read alike: 256 bits that differ in few places where most word pairs are the same.

    text -> words, without upper case -> hashes of words and of pairs of neighbours
         -> the smallest hash of each of 256 groups -> one bit of each

The share of bits that differ is about (1 - J) / 2, where J is the share of words and pairs that two
texts have in common (Jaccard): 16 of 256 bits are a J of .875, as one other word in thirty leaves
it. Texts of fewer than 16 words are alike only if their words are equal. The bits are compared as
those of pictures are, by `data.looks`.

References:
    Li, Owen, Zhang (2012), "One permutation hashing", NeurIPS, section 2 (a smallest hash of each
    group); Shrivastava, Li (2014), "Densifying one permutation hashing via rotation for fast near
    neighbor search", ICML, section 4 (empty groups); Li, König (2010), "b-bit minwise hashing",
    WWW, theorem 1 (one bit of each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_GROUPS = 256
_COPIES = 12  # hashes of each word and pair, so that few groups are empty
_FEWEST = 16  # words, below which equal ones are asked for
_PAIR = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


def reading_hashes(texts: Sequence[Sequence[str]]) -> NDArray[np.uint64]:
    """The hashes of texts, given as their words.

    Args:
        texts: of each the words, as `reading.compared` gives them.

    Returns:
        uint64 `(N, 4)`; 0 for a text without words.

    >>> hashes = reading_hashes([["one"], ["one"], ["two"], []])
    >>> bool((hashes[0] == hashes[1]).all()), bool((hashes[0] == hashes[2]).all()), hashes[3].any()
    (True, False, np.False_)
    """
    found = np.zeros((len(texts), 4), np.uint64)
    long = [place for place, words in enumerate(texts) if len(words) >= _FEWEST]
    if long:
        found[long] = _signs([texts[place] for place in long])
    for place, words in enumerate(texts):
        if 0 < len(words) < _FEWEST:
            content = "\x1f".join(words).encode("utf-8", "surrogatepass")
            found[place] = np.frombuffer(hashlib.blake2b(content, digest_size=32).digest(), "<u8")
    return found


def _signs(texts: Sequence[Sequence[str]]) -> NDArray[np.uint64]:
    """One bit of each group's smallest hash, packed."""
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(word, len(numbers)) for words in texts for word in words]
    counts = np.array([len(words) for words in texts])
    words = _word_hashes(list(numbers))[np.array(flat)]
    whose = np.repeat(np.arange(len(texts)), counts)
    together = whose[1:] == whose[:-1]
    pairs = _mixed(words[:-1] * _PAIR + words[1:])[together]
    hashes = np.concatenate([words, pairs])
    owners = np.concatenate([whose, whose[:-1][together]])
    smallest = np.full(len(texts) * _GROUPS, _EMPTY)
    for copy in range(_COPIES):
        own = _mixed(hashes + np.uint64(copy * int(_PAIR) % 2**64))
        group = owners * _GROUPS + (own >> np.uint64(56)).astype(np.int64)
        np.minimum.at(smallest, group, own)
    filled = _filled(smallest.reshape(-1, _GROUPS))
    bits = np.packbits((filled & np.uint64(1)).astype(np.uint8), axis=1, bitorder="little")
    signs: NDArray[np.uint64] = bits.view("<u8").astype(np.uint64)
    return signs


def _filled(smallest: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each empty group has the hash of the next one that is not, mixed with how far that is."""
    columns = np.arange(2 * _GROUPS)
    there = np.tile(smallest != _EMPTY, 2)
    places = np.where(there, columns, 2 * _GROUPS)
    following = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1][:, :_GROUPS]
    away = (following - np.arange(_GROUPS)).astype(np.uint64)
    values = np.take_along_axis(smallest, following % _GROUPS, axis=1)
    return _mixed(values + away * _PAIR)


def _word_hashes(words: Sequence[str]) -> NDArray[np.uint64]:
    digests = (
        hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8) for word in words
    )
    return np.frombuffer(b"".join(digest.digest() for digest in digests), "<u8").astype(np.uint64)


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, modulo 2^64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
