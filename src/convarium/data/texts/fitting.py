"""Preprocessing of texts from training data: the tokens, and how many a text may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset, Part
from convarium.data.pictures import pictures_of
from convarium.data.texts.ready import Cut
from convarium.data.texts.steps import TextPreprocessing
from convarium.data.texts.tokens import LONGEST, TokenOptions, learn_tokens, tokens_of
from convarium.errors import DataError

_BLOCK = 4096


def fit_texts(
    part: Part, ids: NDArray[np.int64], *, tokens: TokenOptions | None = None
) -> TextPreprocessing:
    """`fit_preprocessing` for texts; the tokens come from all texts of the part."""
    options = TokenOptions() if tokens is None else tokens
    text = learn_tokens(_texts(part.dataset, part.ids), options)
    if len(tokens_of(text)) <= 2:  # padding and unknown
        raise DataError(
            f"No token stands {options.least} times in the training texts of {part.dataset.source};"
            " give more texts, or set `least` to 1."
        )
    longest = options.longest
    if longest is None:
        longest = min(LONGEST, _longest(part, text))
    return TextPreprocessing((longest,), classes=part.classes, tokenizer=text, options=options)


def cut_of(part: Part, preprocessing: TextPreprocessing) -> Cut:
    """What the network does not see of a part's texts."""
    ready: Any = pictures_of(part.dataset, preprocessing)
    found: Cut = ready.cut(part.ids)
    return found


def _texts(dataset: Dataset, ids: NDArray[np.int64]) -> Iterator[str]:
    return (dataset.read(int(i)) for i in ids)


def _longest(part: Part, tokenizer: str) -> int:
    """Tokens of the longest text of a part."""
    found = 1
    for start in range(0, len(part), _BLOCK):
        texts = [*_texts(part.dataset, part.ids[start : start + _BLOCK])]
        found = max(found, *map(len, tokens_of(tokenizer).encode(texts)))
    return found
