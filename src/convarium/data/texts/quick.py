"""Words of ASCII texts without the tokenizer: the same ids, for all of the texts at once.

    ASCII texts -> bytes -> lower case -> ends of words, and of signs between them -> keys -> ids

In ASCII, normal forms change nothing, and the tokenizer's words are runs of letters, digits and
underscores, or of other signs. A word of up to 16 letters is a key of two numbers, its very bytes,
which are looked up in a table with open addresses; longer ones are looked up one by one. Every
other text goes to the tokenizer itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Keys = NDArray[np.uint64]

_UNKNOWN: Final = 1
_NORMAL: Final = {"NFC", "NFKC", "Lowercase"}
_HALF: Final = 8  # bytes of a number of a key
_BETWEEN: Final = b"\0"  # a control character, which stands for a blank
_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


def _kinds() -> NDArray[np.uint8]:
    """Of each byte whether it is blank (0), part of a word (1) or a sign (2)."""
    found = np.full(256, 2, np.uint8)
    found[[*range(0x21), 0x7F]] = 0
    found[[byte for byte in range(128) if chr(byte).isalnum() or chr(byte) == "_"]] = 1
    return found


_KIND: Final = _kinds()
_LOWER: Final = np.frombuffer(bytes(range(256)).lower(), np.uint8)
_KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(_HALF)] + [2**64 - 1], np.uint64)


class QuickWords:
    """The ids of ASCII texts, as a tokenizer of words gives them.

    Args:
        vocabulary: the words' ids.
        lower: whether upper case is taken for lower case.
    """

    def __init__(self, vocabulary: Mapping[str, int], *, lower: bool) -> None:
        self._lower = lower
        known = {word.encode(): i for word, i in vocabulary.items() if word.isascii()}
        self._long = {word: i for word, i in known.items() if len(word) > 2 * _HALF}
        short = [word for word in known if len(word) <= 2 * _HALF]
        padded = b"".join(word.ljust(2 * _HALF, b"\0") for word in short)
        keys: Keys = np.frombuffer(padded, "<u8").astype(np.uint64).reshape(-1, 2)
        bits = max(4, (4 * len(short)).bit_length())
        self._shift, self._last = np.uint64(64 - bits), (1 << bits) - 1
        self._keys = np.zeros((1 << bits, 2), np.uint64)
        self._ids = np.zeros(1 << bits, np.int32)  # 0 where a place is free
        self._fill(keys, np.array([known[word] for word in short], np.int32))

    @classmethod
    def of(cls, text: str) -> Self | None:
        """From a tokenizer's JSON; None where it does anything else."""
        told: dict[str, Any] = json.loads(text)
        model, split = told.get("model") or {}, told.get("pre_tokenizer") or {}
        normal = (told.get("normalizer") or {}).get("normalizers", [])
        kinds = [each.get("type") for each in normal]
        plain = model.get("type") == "WordLevel" and split == {"type": "Whitespace"}
        if not plain or not {*kinds} <= _NORMAL or told.get("added_tokens"):
            return None
        words = {word: i for word, i in model["vocab"].items() if i > _UNKNOWN}
        return cls(words, lower="Lowercase" in kinds)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of some texts, all of them ASCII.

        >>> quick = QuickWords({"red": 2, "!": 3}, lower=True)
        >>> [ids.tolist() for ids in quick.encode(["Red, red!", "", "?"])]
        [[2, 1, 2, 3], [], [1]]
        """
        content = _BETWEEN.join([text.encode() for text in texts])
        flat: NDArray[np.uint8] = np.frombuffer(content + bytes(2 * _HALF), np.uint8)
        kinds = _KIND[flat]
        ends = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
        starts = np.concatenate([[0], ends])[: len(ends)]  # zeros follow, so that all words end
        words = kinds[starts] != 0
        starts, ends = starts[words], ends[words]
        ids = self._looked_up(_LOWER[flat] if self._lower else flat, starts, ends - starts)
        first = np.cumsum([0, *(len(text) + 1 for text in texts)])
        edges = np.searchsorted(starts, first).tolist()
        return [ids[a:b] for a, b in pairwise(edges)]

    def _looked_up(
        self, letters: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> Ids:
        """The ids of the words that stand there."""
        eight: Keys = np.ndarray(len(letters) - _HALF + 1, "<u8", letters.tobytes(), 0, (1,))
        keys = np.empty((len(starts), 2), np.uint64)
        keys[:, 0] = eight[starts] & _KEPT[np.minimum(lengths, _HALF)]
        keys[:, 1] = eight[starts + _HALF] & _KEPT[np.clip(lengths - _HALF, 0, _HALF)]
        places = self._first_places(keys)
        found = np.full(len(keys), _UNKNOWN, np.int32)
        left = np.flatnonzero(lengths <= 2 * _HALF)
        while len(left):
            at = places[left]
            ids, here = self._ids[at], (self._keys[at] == keys[left]).all(1)
            found[left[here]] = ids[here]
            left = left[~here & (ids != 0)]
            places[left] = (places[left] + 1) & self._last
        for place in np.flatnonzero(lengths > 2 * _HALF).tolist():
            word = letters[starts[place] : starts[place] + lengths[place]].tobytes()
            found[place] = self._long.get(word, _UNKNOWN)
        return found

    def _first_places(self, keys: Keys) -> NDArray[np.int64]:
        """Where in the table a word is looked for first."""
        mixed = (keys[:, 0] * _MIX[0]) ^ (keys[:, 1] * _MIX[1])
        mixed ^= mixed >> np.uint64(29)
        return ((mixed * _MIX[0]) >> self._shift).astype(np.int64)

    def _fill(self, keys: Keys, ids: Ids) -> None:
        """Put each word at the first free place from its own on."""
        places, left = self._first_places(keys), np.arange(len(keys))
        while len(left):
            at, chosen = np.unique(places[left], return_index=True)
            free = self._ids[at] == 0
            placed = left[chosen[free]]
            self._keys[at[free]], self._ids[at[free]] = keys[placed], ids[placed]
            left = np.setdiff1d(left, placed)
            places[left] = (places[left] + 1) & self._last
