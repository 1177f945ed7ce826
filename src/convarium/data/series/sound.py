"""Sound in .wav files as series: a channel each, between -1 and 1, and the steps of a second.

Whole numbers are divided by the largest that their width holds (8 bits count from 128), so that one
recording is the same in 16, 24 and 32 bits; floating-point samples stay as they are. SciPy reads
all of these, and the float and extensible forms that Python's own `wave` does not take.
"""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.series.series import Floats, Series, floats_of
from convarium.errors import DataError, import_extra

_FINEST: Final = 1000  # a ratio of rates is taken for one with a denominator up to this
_FARTHEST: Final = 100_000  # of a ratio's two numbers: the filter is twenty times as long


def read_wave(path: str | BinaryIO) -> Series:
    """A .wav file, opened or by its path: int of 8, 16, 24 or 32 bits or float, any channels.

    Raises:
        DataError: it is damaged, empty or in another format; the text is the reason alone.
        MissingExtraError: SciPy is not installed.
    """
    wavfile: Any = import_extra("scipy.io.wavfile", "series")
    try:
        _be_strict(wavfile.WavFileWarning)
        rate, values = wavfile.read(path)
    except OSError:
        raise
    except Exception as error:  # a damaged file can raise anything
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"no sound that can be read: {reason}") from error
    if not values.size or rate <= 0:
        raise DataError("the file holds no sound")
    return Series(_between_one(values), float(rate))


def resampled(series: Series, rate: float | None) -> Series:
    """The series at another rate, by a filter that leaves out what the rate cannot hold.

    A series without a rate, or one that has it already, stays as it is. What is missing must have
    been filled before.

    Raises:
        DataError: one rate is more than a thousand times the other, or far above it in a ratio of
            large numbers, whose filter would fill the memory; the reason alone.
        MissingExtraError: SciPy is not installed.
    """
    if rate is None or series.rate is None or series.rate == rate:
        return series
    ratio = Fraction(rate / series.rate).limit_denominator(_FINEST)
    near = 0 < ratio.numerator <= _FINEST * ratio.denominator
    if not near or max(ratio.numerator, ratio.denominator) > _FARTHEST:
        raise DataError(
            f"its rate of {series.rate:g} is too far from {rate:g} steps a second; resample the "
            "file"
        )
    signal: Any = import_extra("scipy.signal", "series")
    exact = series.values.astype(np.float64)
    found = signal.resample_poly(exact, ratio.numerator, ratio.denominator, axis=1)
    return Series(floats_of(found), rate)


def _be_strict(kind: type[Warning]) -> None:
    """Let what SciPy warns of be an error, but for notes of the recorder, which it leaves out.

    Filters belong to the whole process, and threads that set and reset them would leave others'
    behind: so these two are set once, for SciPy's own kind of warning alone.
    """
    if ("error", kind) not in [(each[0], each[2]) for each in warnings.filters]:
        warnings.filterwarnings("ignore", ".*not understood", kind)
        warnings.filterwarnings("error", "(?!.*not understood)", kind)


def _between_one(values: NDArray[Any]) -> Floats:
    """Samples `(T,)` or `(T, C)` as float32 `(C, T)`."""
    columns = np.ascontiguousarray(values.reshape(len(values), -1).T)
    if values.dtype == np.uint8:
        return ((columns.astype(np.float32) - 128) / 128).astype(np.float32)
    if values.dtype.kind == "i":  # SciPy gives 24 bits at the high end of 32
        return (columns / float(2 ** (8 * values.dtype.itemsize - 1))).astype(np.float32)
    return floats_of(columns)
