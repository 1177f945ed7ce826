"""Augmentation of texts: words that are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.augment.stream import Stream
from convarium.errors import ShapeError
from convarium.options import check_options, option

UNKNOWN = 1


@dataclass(frozen=True, kw_only=True)
class TextAugmentation:
    """Random changes of token ids, for training only.

    What happens to a text is a function of (seed, epoch, sample id), whatever it is padded to.

    Args:
        word_dropout: probability that a token becomes unknown (id 1); padding (id 0) stays.
        longest: tokens of a text at most; each has a number of its own below that.

    Raises:
        OptionError: a value of the wrong type or outside its range.

    >>> tokens = torch.tensor([[5, 6, 7, 0], [8, 0, 0, 0]])
    >>> TextAugmentation(word_dropout=0.99, longest=4).apply(
    ...     tokens, np.array([3, 4]), seed=0, epoch=0
    ... ).tolist()
    [[1, 1, 1, 0], [1, 0, 0, 0]]

    References:
        Iyyer et al. (2015), "Deep unordered composition rivals syntactic methods for text
        classification", ACL, section 3.1 (where words are dropped and not replaced).
    """

    word_dropout: float = option(0.0, low=0, below=1)
    longest: int = option(512, low=1)

    kind: ClassVar[str] = "texts"
    light: ClassVar[bool] = True  # batches of texts in memory need no worker
    mixes: ClassVar[bool] = False  # ids have no mean

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self.word_dropout > 0

    def lines(self) -> list[str]:
        """What is done, in words."""
        words = f"each word becomes unknown with probability {self.word_dropout:g}"
        return [words] if self.active else []

    def crop_draws(self, stream: Stream) -> None:
        """None: texts are not cropped when they are read."""

    def draw_mix(self, sides: tuple[int, ...], *, seed: int, epoch: int, step: int) -> None:
        """None: texts are not mixed."""

    def change(self, pixels: Tensor, stream: Stream, *, own: bool = False) -> Tensor:
        """The tokens as they are: the change comes last."""
        return pixels

    def apply(self, inputs: Tensor, ids: NDArray[np.int64], *, seed: int, epoch: int) -> Tensor:
        """The changed tokens; `inputs` stay as they were.

        Args:
            inputs: int64 `(B, T)`, T at most `longest`.
            ids: sample ids, int64 `(B,)`.
            seed: of the run.
            epoch: number of the epoch.

        Raises:
            ShapeError: inputs without these two axes, or longer ones.
        """
        if inputs.ndim != 2 or inputs.shape[1] > self.longest:
            raise ShapeError(
                f"inputs (of shape {tuple(inputs.shape)}) must be (B, T), T at most {self.longest}."
            )
        return self.after(inputs, Stream(ids, seed, epoch))

    def after(self, inputs: Tensor, stream: Stream) -> Tensor:
        """What is done to ids, int64 `(B, T)`."""
        if not self.active:
            return inputs
        draws = stream.several("word", self.longest, inputs.shape[1])
        gone = torch.from_numpy(draws < self.word_dropout).to(inputs.device) & (inputs > UNKNOWN)
        return inputs.masked_fill(gone, UNKNOWN)
