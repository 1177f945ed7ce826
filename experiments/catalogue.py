"""A synthetic catalogue of items: texts of tokens, some of which tell the category.

50,000 items of 20 categories; tokens 2 to 9,999 (0 is padding); 50 signature tokens a category,
which no other has; a length uniform from 15 to 63, padded to 64. Of a text of L tokens, int(s L)
are signature tokens, s being .6, .1 or .05; the others are uniform over all tokens. All are
shuffled, so that order says nothing, and any network that reads words in order can only lose
against counting.

With `ordered`, two categories share their signature tokens, and differ by the order within pairs of
neighbours alone: one from the first half of the tokens and then one from the second half, or the
other way round. Counting then tells the pair of categories, and is right in half of the cases.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

VOCABULARY: Final = 10_000
CATEGORIES: Final = 20
LENGTH: Final = 64
_SIGNATURE: Final = 50
_SHORTEST, _LONGEST = 15, 63
_FIRST: Final = 2


class Catalogue(NamedTuple):
    """Items of a catalogue.

    Args:
        tokens: int64 `(N, 64)`, 0 behind the end.
        categories: int64 `(N,)`.
        signatures: the tokens of each category, int64 `(20, 50)`.
        training: how many items, from the first, are learnt from.
    """

    tokens: NDArray[np.int64]
    categories: NDArray[np.int64]
    signatures: NDArray[np.int64]
    training: int


def drawn(
    items: int = 50_000, share: float = 0.6, *, ordered: bool = False, seed: int = 42
) -> Catalogue:
    """Draw a catalogue; four fifths of it are for training.

    Args:
        items: how many.
        share: of signature tokens in a text.
        ordered: whether order tells what counting cannot.
        seed: of all draws.
    """
    draw = np.random.default_rng(seed)
    words = draw.permutation(np.arange(_FIRST, VOCABULARY))[: CATEGORIES * _SIGNATURE]
    signatures = words.reshape(CATEGORIES, _SIGNATURE)
    if ordered:
        signatures = signatures.copy()
        signatures[1::2] = signatures[::2]
    categories = draw.integers(0, CATEGORIES, items)
    tokens = np.zeros((items, LENGTH), np.int64)
    for row, category in enumerate(categories):
        length = int(draw.integers(_SHORTEST, _LONGEST + 1))
        text = _ordered if ordered else _shuffled
        tokens[row, :length] = text(draw, signatures[category], length, share, int(category))
    return Catalogue(tokens, categories, signatures, items * 4 // 5)


def counted(catalogue: Catalogue, rows: slice) -> NDArray[np.int64]:
    """The category most of whose signature tokens stand in each text; of equals one is drawn."""
    owner = np.full(VOCABULARY, CATEGORIES)
    owner[catalogue.signatures.reshape(-1)] = np.repeat(np.arange(CATEGORIES), _SIGNATURE)
    owners = owner[catalogue.tokens[rows]]
    counts = np.stack([(owners == c).sum(1) for c in range(CATEGORIES)], 1)
    ties = np.random.default_rng(0).random(counts.shape)
    found: NDArray[np.int64] = (counts + 0.5 * ties).argmax(1)
    return found


def _shuffled(
    draw: np.random.Generator, words: NDArray[np.int64], length: int, share: float, _: int
) -> NDArray[np.int64]:
    telling = int(share * length)
    common = draw.integers(_FIRST, VOCABULARY, length - telling)
    text: NDArray[np.int64] = np.concatenate([draw.choice(words, telling), common])
    draw.shuffle(text)
    return text


def _ordered(
    draw: np.random.Generator, words: NDArray[np.int64], length: int, share: float, category: int
) -> NDArray[np.int64]:
    """Pairs of signature tokens, in the category's order, at drawn places among common tokens."""
    pairs = max(1, int(share * length) // 2)
    half = len(words) // 2
    first, second = draw.choice(words[:half], pairs), draw.choice(words[half:], pairs)
    told = np.stack([first, second] if category % 2 == 0 else [second, first], 1)
    places = np.zeros(length - pairs, np.bool_)  # each place holds a pair or a common token
    places[draw.permutation(length - pairs)[:pairs]] = True
    text = draw.integers(_FIRST, VOCABULARY, length)
    starts = np.flatnonzero(places) + np.arange(pairs)
    text[starts], text[starts + 1] = told[:, 0], told[:, 1]
    return text
