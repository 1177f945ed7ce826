"""Where samples come from: arrays in memory, or files that are decoded when they are read."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from convarium.data.decode import read_image
from convarium.data.looks import SMALLEST, thumbnail
from convarium.data.names import Names
from convarium.errors import DataError


class VolumeFacts(NamedTuple):
    """What reading a volume showed besides: how deep it is, how far apart, and of what values.

    The unit of the spacing is empty where the file names none.
    """

    depth: int
    spacing: tuple[float, float, float]
    type: str
    low: float
    high: float
    not_finite: int
    unit: str = ""


class Facts(NamedTuple):
    """What reading one sample showed: a digest of its pixels, never 0, and its size.

    Of pictures that are large enough also a tiny one, `(16, 16, 3)`.
    """

    digest: int
    height: int
    width: int
    channels: int
    volume: VolumeFacts | None = None
    tiny: NDArray[np.uint8] | None = None


class Samples(Protocol):
    """A numbered collection of samples.

    A class of another kind than images says so as `kind`, and one in memory has `in_memory`.
    """

    def __len__(self) -> int: ...

    def name(self, i: int) -> str:
        """Name of sample `i`, as it is printed and stored."""
        ...

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> Any:
        """What `Preprocessing.apply` takes: pixels `(H, W, C)`, a `Volume`, or a text.

        A DataError gives the reason alone.

        Where `at_least`, a height and a width, are enough, a reduced scale may come.
        """
        ...

    def facts(self, i: int) -> Facts:
        """Digest and size of sample `i`; a DataError gives the reason alone."""
        ...


class ArraySamples:
    """Pictures of one size in memory.

    Args:
        images: uint8 `(N, C, H, W)`, C 1 or 3, contiguous.
        blocks: names of consecutive blocks and their lengths: `[("train", 60000), ("test", 10000)]`
            names the samples `train/0` ... `test/9999`.

    Raises:
        DataError: images of another kind or shape.
    """

    in_memory: ClassVar[bool] = True

    def __init__(self, images: NDArray[np.uint8], blocks: Sequence[tuple[str, int]]) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise DataError(
                f"images of shape {images.shape} and type {images.dtype} must be uint8 (N, C, H, W)"
                " with C 1 (grey) or 3 (colour)."
            )
        self.images: NDArray[np.uint8] = np.ascontiguousarray(images)
        self.blocks = tuple(blocks)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, i: int) -> str:
        """Block and number within it."""
        return block_name(self.blocks, i)

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)`, all of them."""
        return np.ascontiguousarray(self.images[i].transpose(1, 2, 0))

    def facts(self, i: int) -> Facts:
        """Digest and size of sample `i`."""
        channels, height, width = self.images.shape[1:]
        tiny = thumbnail(self.read(i)) if min(height, width) >= SMALLEST else None
        return Facts(digest(self.images[i]), height, width, channels, tiny=tiny)


class EncodedSamples(ABC):
    """Image files wherever they lie, decoded when they are read.

    Attributes:
        enough: height and width that are enough of every picture; None is all of them. See
            `data.reduced`.
    """

    enough: tuple[int, int] | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, i: int) -> str:
        """Name of sample `i`."""

    @abstractmethod
    def encoded(self, i: int) -> str | bytes:
        """Path or bytes of the image file of sample `i`; a DataError gives the reason alone."""

    def sequence(self, ids: Sequence[int]) -> Iterator[str | bytes | None]:
        """What `encoded` gives for rising ids, one after the other; None leaves it to `encoded`."""
        return iter([None] * len(ids))

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)` by the rules of `data.decode`."""
        return read_image(self.encoded(i), at_least=at_least or self.enough)

    def facts(self, i: int) -> Facts:
        """Digest and size of sample `i`; the whole file is decoded."""
        return facts_of(read_image(self.encoded(i)))


class FileSamples(EncodedSamples):
    """Image files of their own.

    Args:
        root: the folder that relative names start from.
        names: the files' names, `/` between folders.
    """

    def __init__(self, root: str, names: Names) -> None:
        self.root = root
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """The file's name below the root."""
        return self.names[i]

    def encoded(self, i: int) -> str:
        """The file's path."""
        return os.path.join(self.root, self.names.path(i))


@contextmanager
def reading(path: str) -> Iterator[None]:
    """What is wrong with a file, as an error that gives the reason alone.

    Raises:
        DataError: it is no regular file, or cannot be read.
    """
    try:
        if not os.path.isfile(path):
            raise DataError("not a regular file")
        yield
    except OSError as error:
        raise DataError(cause(error)) from error


def cause(error: OSError) -> str:
    """Why a file cannot be read, in the system's words."""
    return (error.strerror or str(error) or type(error).__name__).lower()


def facts_of(image: NDArray[np.uint8]) -> Facts:
    """Digest, size and a tiny picture of `(H, W, C)`."""
    height, width, channels = image.shape
    return Facts(digest(image), height, width, channels, tiny=thumbnail(image))


def block_name(blocks: Sequence[tuple[str, int]], i: int) -> str:
    """Block and number within it of sample `i`."""
    start = 0
    for block, length in blocks:
        if i < start + length:
            return f"{block}/{i - start}"
        start += length
    raise IndexError(f"sample {i} of {start}")


def digest(pixels: NDArray[Any]) -> int:
    """64 bits of BLAKE2b of the values and their shape; 0 is kept for what cannot be read."""
    key = np.array(pixels.shape, np.int64).tobytes()
    state = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=8, key=key)
    return int.from_bytes(state.digest(), "little") or 1
