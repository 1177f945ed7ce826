"""From the bytes of picture files to a network's outputs: threads decode ahead, as in `predict`.

files -> decode, resize, crop, a batch together (threads) -> normalise -> network
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from convarium.data import Preprocessing, read_image
from convarium.data.parallel import ordered
from convarium.data.reducing import comes_smaller, enough_for
from convarium.errors import OptionError

#: Batches of a pass, so that what is decoded before the first one counts little.
BATCHES: Final = 4


@dataclass(frozen=True)
class PictureFiles:
    """Picture files in memory, such as JPEGs, and how a network's inputs are made of them.

    Args:
        files: the bytes of each.
        preprocessing: of images.

    Raises:
        OptionError: there are no files, or the preprocessing is not one of images.
    """

    files: Sequence[bytes]
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        if not self.files:
            raise OptionError("There are no picture files to begin with; give some.")
        if self.preprocessing.kind != "images":
            raise OptionError(f"Picture files are images, and these are {self.preprocessing.kind}.")

    @property
    def sha256(self) -> str:
        """Of all bytes, hexadecimal."""
        digest = hashlib.sha256()
        for content in self.files:
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()

    @property
    def shrink(self) -> bool:
        """Whether one of them comes smaller at a reduced scale, as `data.reduced` has it."""
        return any(comes_smaller(each, self.preprocessing) for each in self.files)

    def batches(
        self, batch_size: int, count: int = BATCHES, *, reduced: bool = False
    ) -> Iterator[Tensor]:
        """So many batches of inputs (B, C, H, W); the files begin again behind the last one.

        As many threads decode as torch computes with; large JPEGs at a reduced scale, if asked to.

        Raises:
            DataError: a file cannot be read.
        """
        steps = self.preprocessing
        enough = enough_for(steps) if reduced else None

        def made(number: int) -> Tensor:
            places = [(number * batch_size + k) % len(self.files) for k in range(batch_size)]
            read = (read_image(self.files[k], at_least=enough) for k in places)
            pixels, _ = steps.padded([steps.apply(each) for each in read])
            return steps.finish(pixels)

        return ordered(made, range(count), torch.get_num_threads())

    def run(
        self, forward: Callable[[Tensor], Tensor], batch_size: int, *, reduced: bool = False
    ) -> None:
        """A pass of `BATCHES` batches."""
        for batch in self.batches(batch_size, reduced=reduced):
            forward(batch)
