"""Where texts come from: rows of tables, in one buffer, or files that are read when asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.data.names import Names
from convarium.data.samples import Facts, FileSamples, reading
from convarium.data.texts.reading import decoded
from convarium.errors import DataError


class Texts:
    """Texts in memory, in one buffer: 16 bytes a text beside its own letters and its name's.

    Args:
        texts: any iterable; only one of them is held at a time.

    >>> texts = Texts(["a red shoe", "a blue hat"]).called(["17", "18"])
    >>> texts.name(1), texts.read(1)
    ('18', 'a blue hat')
    """

    kind: ClassVar[str] = "texts"
    in_memory: ClassVar[bool] = True

    def __init__(self, texts: Iterable[str]) -> None:
        self._buffer, ends = bytearray(), array("q")
        for text in texts:
            self._buffer += text.encode("utf-8", "surrogatepass")
            ends.append(len(self._buffer))
        self._ends: NDArray[np.int64] = np.frombuffer(ends, np.int64)
        self._names: Names | None = None

    def called(self, names: Iterable[str]) -> Texts:
        """The same texts with a name each; before, they are numbered.

        Raises:
            DataError: there are not as many names as texts.
        """
        found = Names.of(names)
        if len(found) != len(self):
            raise DataError(f"{len(found)} names do not fit {len(self)} texts; give one for each.")
        self._names = found
        return self

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, i: int) -> str:
        """Its name, or its number."""
        return f"text {i}" if self._names is None else self._names[i]

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> str:
        """The text."""
        start = int(self._ends[i - 1]) if i else 0
        return self._buffer[start : int(self._ends[i])].decode("utf-8", "surrogatepass")

    def facts(self, i: int) -> Facts:
        """Digest and length of text `i`."""
        return facts_of(self.read(i))


class TextFiles(FileSamples):
    """Files that hold a text each, by the rules of `data.texts.reading`.

    Args:
        root: the folder that relative names start from.
        names: the files' names, `/` between folders.
    """

    kind: ClassVar[str] = "texts"

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> str:  # type: ignore[override]
        """The text; a DataError gives the reason alone."""
        path = self.encoded(i)
        with reading(path), open(path, "rb") as file:
            return decoded(file.read())

    def facts(self, i: int) -> Facts:
        """Digest and length of text `i`; the whole file is read."""
        return facts_of(self.read(i))


def facts_of(text: str) -> Facts:
    """A digest of the text as it is, and its length in characters as the width."""
    content = text.encode("utf-8", "surrogatepass")
    return Facts(digest_of(content), 1, len(text), 1)


def digest_of(content: bytes) -> int:
    """64 bits of BLAKE2b; 0 is kept for what cannot be read."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little") or 1
