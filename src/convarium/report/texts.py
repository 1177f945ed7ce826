"""Texts with their predictions and the heat of their tokens, ready to be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, Part, TextPreprocessing
from convarium.report.explained import about, first_batches, records_of
from convarium.report.sequences import HeatedTokens

if TYPE_CHECKING:
    from convarium.predict import Run

SHOWN: Final = 120  # tokens of a text in a drawing or on a page


def show_texts(run: Run, data: Part | Dataset, *, most: int = 48) -> tuple[HeatedTokens, ...]:
    """The first texts of `data` with their predictions, without heat.

    Args:
        run: an opened run.
        data: texts; labels are shown where they are known.
        most: how many at most.
    """
    shown = []
    for batch in first_batches(data, run, most, []):
        for record, name in records_of(run, data, batch):
            tokens = _tokens(run, data, record.id)
            heat = np.zeros(len(tokens), np.float32)
            shown.append(_cut(tokens, heat, record.sentence(), about(record, name)))
    return tuple(shown)


def heated_text(
    run: Run, data: Part | Dataset, i: int, heat: NDArray[np.float32], title: str, note: str
) -> tuple[HeatedTokens, dict[str, Any]]:
    """A text with the heat of its tokens, ready to be drawn, and both for programs."""
    tokens = _tokens(run, data, i)
    told = {"tokens": [token.strip() for token in tokens], "heat": heat.round(4).tolist()}
    return _cut(tokens, heat, title, note), told


def _cut(tokens: Sequence[str], heat: NDArray[np.float32], title: str, note: str) -> HeatedTokens:
    """A text to be drawn; of a long one the part around its strongest token."""
    start = 0
    if len(tokens) > SHOWN:
        start = int(np.clip(np.abs(heat).argmax() - SHOWN // 2, 0, len(tokens) - SHOWN))
        note = f"{note}; tokens {start + 1} to {start + SHOWN} of {len(tokens)}"
        tokens, heat = tokens[start : start + SHOWN], heat[start : start + SHOWN]
    return HeatedTokens(tokens, heat, title, note, first=start)


def _tokens(run: Run, data: Part | Dataset, i: int) -> list[str]:
    """A text of the data in pieces, a token each."""
    dataset = data.dataset if isinstance(data, Part) else data
    return token_pieces(cast("TextPreprocessing", run.preprocessing), str(dataset.read(i)))


def token_pieces(steps: TextPreprocessing, text: str) -> list[str]:
    """A text in pieces, each a token that the steps see and what follows it up to the next."""
    starts = [start for start, _ in steps.tokens.spans(text)]
    ends = [*starts[1:], len(text)][: len(starts)]
    pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)][: steps.longest]
    return [" ".join(piece.split()) + " " * (piece != piece.rstrip()) for piece in pieces]
