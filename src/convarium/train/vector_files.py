"""Pretrained vectors of words from a file: word2vec's and GloVe's text, or safetensors.

    a text    word number number ...   a line a word; a first line "count length" is passed over
    a table   safetensors with "vectors" (V, E), whose metadata "vocabulary" is a JSON list of words

A text may be packed by gzip.
"""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.data import Part, Preprocessing
from convarium.data.pictures import pictures_of
from convarium.data.texts.tokens import START
from convarium.errors import DataError, OptionError
from convarium.train.config import TrainConfig
from convarium.train.word_vectors import counted_vectors

_FEW: Final = 0.5


class FileVectors(NamedTuple):
    """Vectors of a network's tokens.

    Args:
        vectors: a row a token, float32 `(V, E)`.
        known: which rows stand in the file; the others are as they were given.
    """

    vectors: Tensor
    known: NDArray[np.bool_]


def give_vectors(
    model: nn.Module, part: Part, preprocessing: Preprocessing, config: TrainConfig
) -> None:
    """Give a network of texts its first vectors, counted in all texts of a part or from a file.

    Raises:
        OptionError: the network takes none.
        DataError: the file cannot be used.
    """
    network: Any = model
    if not hasattr(network, "set_vectors") or network.config.get("embedding") == "random":
        raise OptionError(
            f"vectors (={config.vectors!r}) needs a network that takes them, such as text_cnn with "
            "--option embedding=fine_tuned; leave it out."
        )
    ready: Any = pictures_of(part.dataset, preprocessing)
    shape = (network.config["vocabulary"], network.config["embedding_dim"])
    if config.vectors == "counted":
        network.set_vectors(counted_vectors(ready.flat(part.ids), *shape, seed=config.seed))
        return
    steps: Any = preprocessing
    drawn = next(iter(network.stem.children())).weight
    found = file_vectors(config.vectors, steps.tokens.words(), drawn)
    counts = np.bincount(ready.flat(part.ids), minlength=shape[0])
    counts[:2] = 0  # padding and unknown
    met = counts[found.known].sum() / max(1, counts.sum())
    if met < _FEW:
        warnings.warn(
            f"{config.vectors} has vectors of {met:.0%} of the training texts' tokens; are they of "
            "this language, and of words?",
            stacklevel=2,
        )
    network.set_vectors(found.vectors)


def vector_length(path: str | Path) -> int:
    """How many numbers a vector of a file has.

    Raises:
        DataError: it cannot be read as vectors.
    """
    return len(next(_pairs(Path(path), None))[1])


def file_vectors(path: str | Path, words: Sequence[str], drawn: Tensor) -> FileVectors:
    """The vectors of tokens, where the file has them; only these are held in memory.

    A token is looked up as it is, and a word of the file that no token is spelt as also without
    upper case. Of two tokens that are spelt alike, the one that begins a word has the vector. The
    other rows are drawn ones, scaled to the spread of those that were found.

    Args:
        path: the file.
        words: the tokens, by id.
        drawn: rows of the same length for what the file does not have, `(V, E)`.

    Raises:
        DataError: it cannot be read as vectors, has another length, or has none of the tokens.
    """
    begins = sorted(range(len(words)), key=lambda row: words[row].startswith(START))
    rows = {words[row].removeprefix(START): row for row in begins}  # the last one stays
    length = drawn.shape[1]
    found = np.zeros((len(words), length), np.float32)
    exact = np.zeros(len(words), np.bool_)
    known = np.zeros(len(words), np.bool_)
    for word, values in _pairs(Path(path), rows):
        if len(values) != length:
            raise DataError(
                f"{path} has {len(values)} numbers of {word!r}, and the network's vectors have "
                f"{length}; add --option embedding_dim={len(values)} if all of them have."
            )
        row, same = rows.get(word), True
        if row is None:
            row, same = rows.get(word.lower()), False
        if row is None or exact[row] or (known[row] and not same):
            continue
        found[row], known[row], exact[row] = values, True, same
    if not known.any():
        raise DataError(f"{path} has a vector of none of the {len(words)} tokens.")
    if not np.isfinite(found).all():
        raise DataError(f"{path} has a number that is not finite.")
    mine = drawn.detach().cpu().float().numpy()
    scale = found[known].std() / max(float(mine[~known].std()) if (~known).any() else 1.0, 1e-12)
    found[~known] = mine[~known] * scale
    return FileVectors(torch.from_numpy(found), known)


def _pairs(path: Path, wanted: Container[str] | None) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Words that are wanted, in some spelling, and their numbers; of None all."""
    try:
        read = _of_table if path.suffix.lower() == ".safetensors" else _of_text
        empty = True
        for word, values in read(path):
            empty = False
            if wanted is None or word in wanted or word.lower() in wanted:
                yield word, values()
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path} cannot be read as vectors of words ({reason}); give a text with a word and "
            'its numbers a line, or safetensors with "vectors" and a "vocabulary".'
        ) from error
    if empty:
        raise DataError(f"{path} holds no vector.")


def _of_text(path: Path) -> Iterator[tuple[str, Callable[[], NDArray[np.float32]]]]:
    """Lines of a text; a word may hold blanks, so that numbers are counted from the end."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="surrogateescape") as lines:
        first = next(lines, "").rstrip().split(" ")
        length = len(first) - 1
        if len(first) == 2 and first[0].isdigit():  # word2vec's count and length
            length = int(first[1])
        elif length > 0:
            yield first[0], partial(np.array, first[1:], np.float32)
        if length < 1:
            raise ValueError("its first line has no number")
        for number, line in enumerate(lines, start=2):
            parts = line.rstrip().rsplit(" ", length)
            if len(parts) != length + 1:
                raise ValueError(f"line {number} has other than {length} numbers")
            yield parts[0], partial(np.array, parts[1:], np.float32)


def _of_table(path: Path) -> Iterator[tuple[str, Callable[[], NDArray[np.float32]]]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            words = json.loads((file.metadata() or {})["vocabulary"])
            vectors = file.get_tensor("vectors").astype(np.float32)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    if vectors.ndim != 2 or len(words) != len(vectors):
        raise ValueError(f"{len(words)} words do not fit vectors {vectors.shape}")
    for word, row in zip(words, vectors, strict=True):
        yield str(word), partial(np.asarray, row)
