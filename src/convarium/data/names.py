"""Many names in little memory: one buffer of bytes and the places where each name ends."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def shown(text: str) -> str:
    r"""A text that can be stored and printed: bytes that are not UTF-8 as `\xff`.

    The operating system's names hold such bytes as lone surrogates, which no file in UTF-8 takes.

    >>> shown("caf\udce9"), shown("café")
    ('caf\\xe9', 'café')
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Names:
    """An immutable list of file names in one buffer: 8 bytes a name beside its own letters.

    Names are kept as the bytes of the file system, so that every file can be opened, also one
    whose name is not UTF-8.

    Args:
        buffer: all names, one behind the other.
        ends: where each name ends, int64 `(N,)`.

    >>> names = Names.of(["cat/a.png", "dog/b.png"])
    >>> len(names), names[1], names.path(1)
    (2, 'dog/b.png', 'dog/b.png')
    """

    def __init__(self, buffer: bytes | bytearray, ends: NDArray[np.int64]) -> None:
        self.buffer = buffer
        self.ends = ends

    @classmethod
    def of(cls, names: Iterable[str | bytes]) -> Names:
        """Names from any iterable; only one of them is held at a time."""
        buffer, ends = bytearray(), array("q")
        for name in names:
            buffer += os.fsencode(name)
            ends.append(len(buffer))
        return cls(buffer, np.frombuffer(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> str:
        r"""Name `i` as text to print and to store: bytes that are not UTF-8 as `\xff`."""
        return self._bytes(i).decode("utf-8", "backslashreplace")

    def path(self, i: int) -> str:
        """Name `i` as the operating system's functions take it."""
        return os.fsdecode(self._bytes(i))

    def _bytes(self, i: int) -> bytes:
        if not 0 <= i < len(self.ends):
            raise IndexError(f"name {i} of {len(self.ends)}")
        start = int(self.ends[i - 1]) if i else 0
        return bytes(self.buffer[start : int(self.ends[i])])
