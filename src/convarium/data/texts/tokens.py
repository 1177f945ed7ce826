"""From texts to token ids: words, pieces of words or characters, learnt from training texts.

    text -> normal form, lower case -> words and signs -> ids: 0 padding, 1 unknown, the rest from 2

The tokenizer is Hugging Face's, with nothing added: no text can hold the padding, whatever is
written in it.

References:
    Sennrich, Haddow, Birch (2016), "Neural machine translation of rare words with subword units",
    arXiv:1508.07909, section 3.2 (pieces of words).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.texts.quick import QuickWords
from convarium.data.texts.reading import plain
from convarium.errors import DataError, import_extra
from convarium.options import check_options, option

PADDING, UNKNOWN = "[PAD]", "[UNK]"  # ids 0 and 1; words are split at brackets, so none is such
START: Final = "\N{LOWER ONE EIGHTH BLOCK}"  # of a piece that begins a word
LONGEST: Final = 512


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """How texts become tokens.

    Args:
        level: "word" (words and signs), "bpe" (pieces of them, so that few are unknown) or "char".
        vocabulary: tokens at most, padding and unknown among them; the most frequent ones.
        least: how often a token must stand in the training texts; rarer ones are unknown, so that
            training sees some.
        lower: without upper case.
        form: Unicode's normal form, "NFKC" (which also makes wide letters and ligatures plain) or
            "NFC".
        longest: tokens of a text at most, the rest is cut off; None means all of the longest
            training text, at most 512.

    Raises:
        OptionError: a value of the wrong type or outside its range.
    """

    level: str = option("word", "what a token is", choices=("word", "bpe", "char"))
    vocabulary: int = option(50_000, "tokens that are known, at most", low=3)
    least: int = option(2, "how often a known token must stand in the training texts", low=1)
    lower: bool = option(True, "take upper case for lower case")
    form: str = option("NFKC", "Unicode's normal form", choices=("NFKC", "NFC"))
    longest: int | None = option(None, "tokens of a text at most; the rest is cut off", low=1)

    def __post_init__(self) -> None:
        check_options(self)


class Tokens:
    """A tokenizer from its JSON.

    Args:
        text: as `learn_tokens` gives it.

    Raises:
        DataError: it is no tokenizer whose ids begin with padding and unknown.
        MissingExtraError: the package `tokenizers` is not installed.
    """

    def __init__(self, text: str) -> None:
        library = import_extra("tokenizers", "texts")
        try:
            self._tokenizer = library.Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"The card's tokenizer cannot be read ({error}).") from error
        start = [self._tokenizer.token_to_id(word) for word in (PADDING, UNKNOWN)]
        if start != [0, 1]:
            raise DataError(
                f"The tokenizer's padding and unknown have the ids {start}, and must have 0 and 1."
            )
        self._quick = QuickWords.of(text)

    def __len__(self) -> int:
        size: int = self._tokenizer.get_vocab_size()
        return size

    def words(self) -> list[str]:
        """The tokens, by id."""
        found: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(found, key=found.__getitem__)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The ids of several texts, whole; in threads of the library's own where it is asked."""
        if self._quick is None:
            return self._slow(texts)
        ascii = [text.isascii() for text in texts]
        quick = iter(self._quick.encode([*compress(texts, ascii)]))
        slow = iter(self._slow([text for text in texts if not text.isascii()]))
        return [next(quick if known else slow) for known in ascii]

    def _slow(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """By the tokenizer itself."""
        cleaned = [*map(plain, texts)]
        found = self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)
        return [np.array(each.ids, np.int32) for each in found]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in a text each token stands: start and end, in characters."""
        whole = self._tokenizer.encode(plain(text), add_special_tokens=False)
        found: list[tuple[int, int]] = whole.offsets
        return found


@functools.lru_cache(maxsize=8)
def tokens_of(text: str) -> Tokens:
    """`Tokens`, made once for each tokenizer."""
    return Tokens(text)


def learn_tokens(texts: Iterable[str], options: TokenOptions) -> str:
    """The tokenizer of some texts, as JSON; the same texts give the same one.

    Raises:
        MissingExtraError: the package `tokenizers` is not installed.
    """
    library = import_extra("tokenizers", "texts")
    tokenizer = library.Tokenizer(_model(library, options, {PADDING: 0, UNKNOWN: 1}))
    tokenizer.normalizer = _normalizer(library, options)
    tokenizer.pre_tokenizer = _pieces(library.pre_tokenizers, library.Regex, options.level)
    given = {
        "vocab_size": options.vocabulary,
        "min_frequency": options.least,
        "special_tokens": [PADDING, UNKNOWN],
        "show_progress": False,
    }
    if options.level == "bpe":
        alphabet = min(1000, max(1, options.vocabulary // 4))
        trainer = library.trainers.BpeTrainer(**given, limit_alphabet=alphabet)
    else:
        trainer = library.trainers.WordLevelTrainer(**given)
    tokenizer.train_from_iterator(map(plain, texts), trainer)
    made: dict[str, Any] = json.loads(tokenizer.to_str())
    made["added_tokens"] = []  # or the text "[PAD]" would be padding
    made["model"]["unk_token"] = UNKNOWN
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def sha256(text: str) -> str:
    """SHA-256 of a tokenizer's JSON."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _model(library: Any, options: TokenOptions, vocabulary: dict[str, int]) -> Any:
    if options.level == "bpe":
        return library.models.BPE(unk_token=UNKNOWN, fuse_unk=True)
    return library.models.WordLevel(vocabulary, unk_token=UNKNOWN)


def _pieces(splitters: Any, pattern: Any, level: str) -> Any:
    """What a text is split into before tokens are looked up."""
    if level == "char":
        return splitters.Split(pattern("[\\s\\S]"), "isolated")
    if level == "word":
        return splitters.Whitespace()
    marked = splitters.Metaspace(replacement=START, prepend_scheme="always")
    each = [splitters.WhitespaceSplit(), marked, splitters.Punctuation("isolated")]
    return splitters.Sequence(each)


def _normalizer(library: Any, options: TokenOptions) -> Any:
    """The normal form and lower case; of characters also one blank for several."""
    normalizers = library.normalizers
    steps = [getattr(normalizers, options.form)()]
    if options.lower:
        steps.append(normalizers.Lowercase())
    if options.level == "char":
        steps += [normalizers.Replace(library.Regex("\\s+"), " "), normalizers.Strip()]
    return normalizers.Sequence(steps)
