"""Where series come from: one buffer in memory, or files that are read when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from convarium.data.names import Names
from convarium.data.samples import Facts, FileSamples, digest, reading
from convarium.data.series.arrays import array_of, channels_first
from convarium.data.series.series import Floats, Series, check_readable, floats_of
from convarium.data.series.sound import read_wave
from convarium.errors import DataError


class SeriesArrays:
    """Series of the same channels in memory, in one buffer.

    Args:
        values: all series, one behind the other, float32 `(C, T in all)`.
        spans: where each begins and ends in it, int64 `(N, 2)`; spans may overlap, as windows do.
        names: one each; None numbers them.
        channels: names of the channels; none where they have none.
        rate: time steps a second, where it is known.

    >>> two = SeriesArrays.of([np.zeros((1, 3), "f4"), np.ones((1, 5), "f4")], ["a", "b"])
    >>> two.name(1), two.read(1).length
    ('b', 5)
    """

    kind: ClassVar[str] = "series"
    in_memory: ClassVar[bool] = True

    def __init__(
        self,
        values: Floats,
        spans: NDArray[np.int64],
        names: Iterable[str] | None = None,
        *,
        channels: Sequence[str] = (),
        rate: float | None = None,
    ) -> None:
        self.values, self.spans = values, spans
        self.channels, self.rate = tuple(channels), rate
        self._names = None if names is None else Names.of(names)

    @classmethod
    def of(
        cls,
        series: Sequence[Floats],
        names: Iterable[str] | None = None,
        *,
        channels: Sequence[str] = (),
        rate: float | None = None,
    ) -> SeriesArrays:
        """From series `(C, T)` of unequal lengths.

        Raises:
            DataError: they have unequal numbers of channels, or there is none.
        """
        counts = sorted({len(each) for each in series})
        if len(counts) != 1:
            raise DataError(
                f"The series have {' and '.join(map(str, counts)) or 'no'} channels; give series "
                "that all have the same ones."
            )
        ends = np.cumsum([each.shape[1] for each in series]).astype(np.int64)
        starts = np.concatenate([[0], ends[:-1]])
        spans = np.stack([starts, ends], axis=1)
        values = np.concatenate(series, axis=1)
        return cls(values, spans, names, channels=channels, rate=rate)

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Time steps of each series."""
        return self.spans[:, 1] - self.spans[:, 0]

    def name(self, i: int) -> str:
        """Its name, or its number."""
        return f"series {i}" if self._names is None else self._names[i]

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> Series:
        """The series; a DataError gives the reason alone."""
        start, end = self.spans[i].tolist()
        found = Series(np.ascontiguousarray(self.values[:, start:end]), self.rate)
        check_readable(found)
        return found

    def facts(self, i: int) -> Facts:
        """Digest and length of series `i`."""
        return facts_of(self.read(i))


class SeriesFiles(FileSamples):
    """Files that hold a series each: sound in .wav, or an array `(T,)` or `(C, T)` in .npy.

    Args:
        root: the folder that relative names start from.
        names: the files' names, `/` between folders.
    """

    kind: ClassVar[str] = "series"

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> Series:  # type: ignore[override]
        """The series; a DataError gives the reason alone."""
        return read_series(self.encoded(i))

    def facts(self, i: int) -> Facts:
        """Digest and length of series `i`; the whole file is read."""
        return facts_of(self.read(i))


def read_series(path: str) -> Series:
    """The series of one file.

    Raises:
        DataError: it cannot be read, or has no value; the text is the reason alone.
    """
    with reading(path):
        if path.lower().endswith(".npy"):
            found = Series(channels_first(floats_of(array_of(path))))
        else:
            found = read_wave(path)
    check_readable(found)
    return found


def facts_of(series: Series) -> Facts:
    """A digest of the values, 1 high, as wide as there are time steps, and the channels."""
    return Facts(digest(series.values), 1, series.length, series.channels)
