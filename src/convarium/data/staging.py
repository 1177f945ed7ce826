"""Pictures kept aside while the data is looked at, so that a cache is made from the same reading.

They lie in a file without a name, which vanishes with the process. They have the bits that `packed`
would make: resized from the whole picture, or decoded at a reduced scale where that is enough.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.decode import read_image
from convarium.data.samples import EncodedSamples, Facts, Samples, facts_of
from convarium.data.shrinking import packed_size, shrunk
from convarium.files import not_written

_JPEG = b"\xff\xd8"


class Staging:
    """What one reading of all pictures leaves for a cache.

    Args:
        folder: where packs are kept.
        short_side: of the pack, in pixels.

    Raises:
        RunError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, short_side: int) -> None:
        self.short_side = short_side
        self._places: dict[int, tuple[int, tuple[int, ...]]] = {}
        self._lock, self._end, self._full = threading.Lock(), 0, False
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._file: Any = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # while it lives
        except OSError as error:
            raise not_written(folder, error) from error

    def watch(self, samples: Samples) -> Samples:
        """The same samples; the facts of one also keep its picture."""
        return _Watched(samples, self) if isinstance(samples, EncodedSamples) else samples

    def keep(self, i: int, pixels: NDArray[np.uint8]) -> None:
        """Put a picture aside; where the disk is full, nothing more is kept."""
        if self._full:
            return
        data = np.ascontiguousarray(pixels)
        with self._lock:
            start, self._end = self._end, self._end + data.nbytes
        try:
            whole = os.pwrite(self._file.fileno(), data.data, start) == data.nbytes
        except OSError:
            whole = False
        if whole:
            self._places[i] = (start, data.shape)
        else:
            self._full = True

    def drop(self) -> None:
        """Forget all pictures, and give the disk back."""
        self._full = True
        self._places.clear()
        self._file.close()

    def read(self, i: int) -> NDArray[np.uint8] | None:
        """A picture `(H, W, C)` that was kept."""
        if i not in self._places:
            return None
        start, shape = self._places[i]
        size = int(np.prod(shape))
        content = os.pread(self._file.fileno(), size, start)
        return np.frombuffer(content, np.uint8).reshape(shape) if len(content) == size else None


class _Watched:
    """Samples whose pictures are put aside when their facts are asked for."""

    def __init__(self, samples: EncodedSamples, staging: Staging) -> None:
        self.samples, self.staging = samples, staging

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, i: int) -> str:
        """Name of sample `i`."""
        return self.samples.name(i)

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)`."""
        return self.samples.read(i, at_least)

    def facts(self, i: int) -> Facts:
        """Digest and size of sample `i`, from one reading of its file."""
        source = self.samples.encoded(i)
        try:
            content = source if isinstance(source, bytes) else _content(source)
        except OSError:
            return self.samples.facts(i)  # which says what is wrong
        image = read_image(content)
        size = packed_size(image.shape[0], image.shape[1], self.staging.short_side)
        jpeg = content.startswith(_JPEG) and image.shape[0] >= 2 * size[0]
        self.staging.keep(i, shrunk(read_image(content, at_least=size) if jpeg else image, size))
        return facts_of(image)


def is_staged_before(folder: str | Path, short_side: int, source: str) -> bool:
    """Whether a pack of this side and source lies in the folder, so that none has to be made."""
    for file in Path(folder).glob(f"pack-{short_side}-*/pack.json"):
        try:
            if json.loads(file.read_text(encoding="utf-8")).get("source") == source:
                return True
        except (OSError, ValueError, AttributeError):
            continue
    return False


def _content(path: str) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it is none, or cannot be read.
    """
    if not os.path.isfile(path):
        raise OSError("not a regular file")
    return Path(path).read_bytes()
