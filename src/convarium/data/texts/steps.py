"""From a text to the input of a network, as steps that a card can carry.

read_text -> tokenize -> pad
characters   ids (n,)    int64 (B, T), T the longest of the batch
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.data.preprocessing import Preprocessing
from convarium.data.texts.reading import EMPTY
from convarium.data.texts.tokens import LONGEST, TokenOptions, Tokens, sha256, tokens_of
from convarium.errors import DataError

_MOST = 2**20  # tokens of a batch in evaluation
_READ = {"op": "read_text", "encoding": "utf-8", "empty": "left out"}


@dataclass(frozen=True)
class TextPreprocessing(Preprocessing):
    """The steps from a text to token ids, and the class names.

    Ids are 0 for padding, 1 for what is unknown, and from 2 for what is known. A batch is padded to
    its longest text.

    Args:
        input_shape: the tokens of a text at most, `(T,)`; the rest is cut off.
        classes: class names, in the order of the class numbers.
        tokenizer: the tokenizer's JSON.
        options: that it was learnt with.

    Raises:
        DataError: another shape, or no tokenizer.
    """

    input_shape: tuple[int, ...] = (LONGEST,)
    mean: tuple[float, ...] = field(default=(), init=False, repr=False)
    std: tuple[float, ...] = field(default=(), init=False, repr=False)
    classes: tuple[str, ...] = ()
    resize: None = field(default=None, init=False, repr=False)
    interpolation: Literal["bilinear"] = field(default="bilinear", init=False, repr=False)
    tokenizer: str = field(default="", repr=False)
    options: TokenOptions = field(default_factory=TokenOptions)

    kind: ClassVar[str] = "texts"
    input_kind: ClassVar[str] = "tokens"
    pixel_type: ClassVar[torch.dtype] = torch.int64

    def __post_init__(self) -> None:
        if len(self.input_shape) != 1 or self.input_shape[0] < 1:
            raise DataError(f"input_shape (={self.input_shape}) must be (T,) with T of 1 or more.")
        len(self.tokens)

    @property
    def tokens(self) -> Tokens:
        """The tokenizer."""
        return tokens_of(self.tokenizer)

    @property
    def longest(self) -> int:
        """Tokens of a text at most."""
        return self.input_shape[0]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The ordered steps as they stand in the card."""
        said = dataclasses.asdict(self.options)
        whole = {**said, "sha256": sha256(self.tokenizer), "tokenizer": self.tokenizer}
        pad = {"op": "pad", "to": "longest", "most": self.longest, "padding": 0}
        return [dict(_READ), {"op": "tokenize", **whole}, pad]

    def apply(self, image: str | NDArray[Any]) -> Tensor:
        """The ids of a text, cut to the longest, not yet padded.

        Shape:
            Returns: int64 `(n,)`, n 1 or more.

        Raises:
            DataError: not a text, or an empty one; the text is the reason alone.
        """
        if not isinstance(image, str):
            raise DataError("no text, where the network takes texts")
        (ids,) = self.encode([image])
        if not len(ids):
            raise DataError(EMPTY)
        return torch.from_numpy(ids.astype(np.int64))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The ids of several texts, each cut to the longest; none for an empty text."""
        return [ids[: self.longest] for ids in self.tokens.encode(texts)]

    def finish(self, pixels: Tensor) -> Tensor:
        """The ids as they are."""
        return pixels

    @property
    def most_at_once(self) -> int:
        """Texts of a batch in evaluation, at most: no more than a million tokens."""
        return max(1, _MOST // self.longest)

    @property
    def network_options(self) -> dict[str, int]:
        """How many ids there are."""
        return {"vocabulary": len(self.tokens)}

    def example(self, count: int = 1) -> Tensor:
        """Texts of the largest length whose words are all unknown, int64 `(count, T)`."""
        return torch.ones(count, self.longest, dtype=torch.int64)

    def together(self, samples: Sequence[Tensor]) -> Tensor:
        """Several texts in one tensor, each with padding behind it, int64 `(B, T)`."""
        return nn.utils.rnn.pad_sequence([*samples], batch_first=True)

    def same_pixels(self, other: Preprocessing) -> bool:
        """Whether `apply` of the other gives the same ids; classes may differ."""
        if not isinstance(other, TextPreprocessing):
            return False
        return (self.input_shape, self.tokenizer) == (other.input_shape, other.tokenizer)

    @classmethod
    def from_steps(
        cls, steps: Mapping[str, Any], shape: tuple[int, ...], classes: tuple[str, ...]
    ) -> TextPreprocessing:
        """The preprocessing of a card's entries, as `Preprocessing.from_steps` has them.

        Raises:
            DataError: the tokenizer is not the one that the card was written with.
        """
        said = steps["tokenize"]
        text = said["tokenizer"]
        if sha256(text) != said["sha256"]:
            raise DataError(
                "The card's tokenizer is not the one that it was written with (its SHA-256 "
                "differs); copy the whole run again."
            )
        names = [each.name for each in dataclasses.fields(TokenOptions)]
        options = TokenOptions(**{name: said[name] for name in names})
        return cls(shape, classes=classes, tokenizer=text, options=options)
