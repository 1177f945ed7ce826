"""A volume: channels of voxels on a grid, and how far apart they lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.errors import DataError

#: Values of one volume, all channels together: 512 x 512 x 1,024, which are 1 GiB as float32. More
#: is refused before decoding; of types of 64 bits half as many are.
MAX_VALUES = 2**28
_BYTES = 4  # of a value of the network's type
#: So many entries an axis has at most that is taken for channels without being named.
MOST_CHANNELS = 8

Spacing = tuple[float, float, float]
Floats = NDArray[np.float32]

#: Millimetres in other units, by their names in files and as NIfTI counts them.
MILLIMETRES = {
    "mm": 1.0,
    "millimeter": 1.0,
    "m": 1e3,
    "meter": 1e3,
    "cm": 10.0,
    "inch": 25.4,
    "in": 25.4,
    "micron": 1e-3,
    "um": 1e-3,
    "\N{MICRO SIGN}m": 1e-3,
    "\N{GREEK SMALL LETTER MU}m": 1e-3,
    "nm": 1e-6,
}

_FEW_SLICES = 4


class TooManyVoxelsError(DataError):
    """A volume of more values than are allowed."""


class Stored(NamedTuple):
    """How a NIfTI file itself has its voxels: its affine, and its number for the units."""

    affine: NDArray[np.float64]
    units: int


@dataclass(frozen=True, eq=False)
class Volume:
    """Channels of voxels, and what lies between them.

    Args:
        values: whole numbers or floats as the file has them, `(C, D, H, W)`.
        spacing: from voxel to voxel along depth, height and width, in `unit`.
        affine: of NIfTI, from (width, height, depth) to `unit` to the right, to the front and up,
            `(4, 4)`; None where the file says nothing of the kind.
        unit: "mm" where the file names a unit, which was converted; else empty.
        stored: of NIfTI, what leads back to the axes that the file has.

    Raises:
        DataError: not four axes with at least one voxel, values that are no numbers, or a spacing
            that is not positive.

    >>> Volume(np.zeros((1, 4, 8, 8), np.int16), spacing=(3.0, 1.0, 1.0)).size
    (4, 8, 8)
    """

    values: NDArray[Any]
    spacing: Spacing = (1.0, 1.0, 1.0)
    affine: NDArray[np.float64] | None = None
    unit: str = ""
    stored: Stored | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 4 or 0 in self.values.shape:
            raise DataError(
                f"values (of shape {self.values.shape}) must be (C, D, H, W) with a voxel or more"
            )
        check_numbers(self.values.dtype)
        steps: tuple[float, ...] = self.spacing
        if len(steps) != 3 or not all(0 < step < math.inf for step in steps):
            raise DataError(f"spacing (={self.spacing}) must be three positive numbers")

    @property
    def channels(self) -> int:
        """Channels."""
        return int(self.values.shape[0])

    @property
    def size(self) -> tuple[int, int, int]:
        """Depth, height and width in voxels."""
        depth, height, width = self.values.shape[1:]
        return depth, height, width

    def floats(self) -> Floats:
        """The values in float32, where NaN and infinity become their channel's finite mean.

        They are `values` themselves where these are so already; nothing should be written to them.

        Shape:
            `(C, D, H, W)`; whole numbers of up to 16 bits and floats of up to 32 are exact.

        Raises:
            DataError: a channel has no finite value.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.values.astype(np.float32, copy=False)
        if self.values.dtype.kind != "f":
            return values
        bad = [k for k, channel in enumerate(values) if not_finite(channel)]
        if bad and values is self.values:
            values = values.copy()
        for number in bad:
            channel = values[number]
            good = np.isfinite(channel)
            if not good.any():
                raise DataError(f"channel {number} holds no finite value")
            mean = np.mean(channel, where=good, dtype=np.float64)
            np.copyto(channel, mean, where=np.logical_not(good, out=good))
        return values


def not_finite(values: NDArray[Any]) -> int:
    """How many values are NaN or infinite, counted in pieces that take little memory.

    >>> not_finite(np.array([[1.0, np.nan], [np.inf, 2.0]]))
    2
    """
    if values.dtype.kind != "f":
        return 0
    return sum(piece.size - int(np.count_nonzero(np.isfinite(piece))) for piece in values)


def check_numbers(dtype: np.dtype[Any]) -> None:
    """Refuse what are no real numbers.

    Raises:
        DataError: complex numbers, records (such as RGB), texts or objects.
    """
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(
            f"values of type {dtype} are no whole numbers or floats of up to 64 bits; save such"
        )


def check_size(shape: Sequence[int], dtype: np.dtype[Any], most: int = MAX_VALUES) -> None:
    """Refuse a shape without voxels, or with more than are read.

    The limit is that of `most` in bytes of float32, so that wide types have fewer.

    Raises:
        DataError: so.
    """
    count = math.prod(int(side) for side in shape)
    if count == 0 or min(shape, default=0) < 0:
        raise DataError("the volume has no voxels")
    most = most * _BYTES // max(_BYTES, dtype.itemsize)
    if count > most:
        raise TooManyVoxelsError(
            f"{' x '.join(map(str, shape))} values of {dtype} are more than the limit of {most:,}; "
            "make the volume smaller first"
        )


def in_order(values: NDArray[Any], axes: str) -> NDArray[Any]:
    """`(C, D, H, W)` from values whose axes have these letters; without C there is one channel."""
    if "C" not in axes:
        values, axes = values[None], "C" + axes
    return values.transpose([axes.index(letter) for letter in "CDHW"])


def guessed_axes(shape: Sequence[int]) -> str:
    """Letters of the axes of an array that does not name them.

    Three axes are depth, height and width. Of four, the first or the last one is channels: the one
    that has 8 entries or fewer where the other has more.

    Raises:
        DataError: another number of axes, or more than one reading.

    >>> guessed_axes((24, 32, 32)), guessed_axes((2, 24, 32, 32)), guessed_axes((24, 32, 32, 2))
    ('DHW', 'CDHW', 'DHWC')
    """
    words = f"an array of the shape {tuple(shape)}"
    remedy = "save an .npz with the array and axes='CDHW' (or 'DHW', 'DHWC'), which says it"
    if len(shape) == 3:
        if min(shape[0], shape[2]) <= _FEW_SLICES:
            raise DataError(f"{words} may be a picture with channels; {remedy}")
        return "DHW"
    if len(shape) != 4:
        raise DataError(
            f"{words} has {len(shape)} axes; a volume has three, depth, height and width, or four "
            "with channels"
        )
    first, last = shape[0] <= MOST_CHANNELS, shape[3] <= MOST_CHANNELS
    if first == last:
        which = "either end" if first else "neither end"
        raise DataError(
            f"{words} has four axes, and {which} has the 1 to {MOST_CHANNELS} entries of channels; "
            f"{remedy}"
        )
    return "CDHW" if first else "DHWC"


def in_millimetres(steps: Sequence[Any], unit: str) -> tuple[Spacing, str]:
    """Spacing and its unit: "mm" where the file's unit is known, else as it is and no unit.

    >>> in_millimetres((2.0, 1.0, 1.0), "cm"), in_millimetres((2.0, 1.0, 1.0), "pixel")
    (((20.0, 10.0, 10.0), 'mm'), ((2.0, 1.0, 1.0), ''))
    """
    factor = MILLIMETRES.get(unit.strip().lower())
    if factor is None:
        return usable_spacing(steps), ""
    # the product has the digits of the file's number, without those of a float's rounding
    return usable_spacing([f"{float(step) * factor:.12g}" for step in steps]), "mm"


def usable_spacing(steps: Sequence[Any]) -> Spacing:
    """Spacing from what a file says; what is not positive and finite there is 1."""
    depth, height, width = (abs(float(step)) for step in steps)
    found = [step if 0 < step < math.inf else 1.0 for step in (depth, height, width)]
    return found[0], found[1], found[2]
