"""Volumes in NumPy's files. The header is checked before anything is read; nothing is unpickled."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from convarium.data.volumes.volume import (
    Spacing,
    Volume,
    check_numbers,
    check_size,
    guessed_axes,
    in_order,
    usable_spacing,
)
from convarium.errors import DataError

_NAMES = ("volume", "image", "data", "array", "x", "arr_0")
_SUFFIX = ".npy"
_FEW_BYTES = 4096
_HEADER_BYTES = 10_000  # NumPy's own limit, which it looks at too late
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npy(path: Path, most: int) -> Volume:
    """One array: `(D, H, W)`, or four axes of which the first or the last is channels.

    Args:
        path: of the file.
        most: values.

    Raises:
        DataError: the reason alone.
    """
    with open(path, "rb") as file:
        _check_header(file, most)
        file.seek(0)
        values = _array(file)
    return Volume(in_order(values, guessed_axes(values.shape)))


def read_npz(path: Path, most: int) -> Volume:
    """An archive with one volume, and where it has them `spacing` and `axes`.

    The volume is the array named volume, image, data, array, x or arr_0, else the only one.
    `spacing` has three numbers, for depth, height and width. `axes` is a text such as "CDHW".

    Args:
        path: of the file.
        most: values.

    Raises:
        DataError: the reason alone.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name[: -len(_SUFFIX)] for name in archive.namelist() if name.endswith(_SUFFIX)]
        others = [name for name in names if name not in ("spacing", "axes")]
        name = next((name for name in _NAMES if name in others), None)
        if name is None and len(others) == 1:
            name = others[0]
        if name is None:
            raise DataError(
                f"the archive holds the arrays {', '.join(others[:5]) or 'none'}; name the volume "
                "'volume'"
            )
        values = _member(archive, name, most)
        told = {
            name: _member(archive, name, most, small=True) for name in names if name not in others
        }
    axes = axes_of(told["axes"], values.shape) if "axes" in told else guessed_axes(values.shape)
    spacing = spacing_of(told["spacing"]) if "spacing" in told else (1.0, 1.0, 1.0)
    return Volume(in_order(values, axes), spacing)


def _member(archive: zipfile.ZipFile, name: str, most: int, small: bool = False) -> NDArray[Any]:
    if archive.getinfo(name + _SUFFIX).compress_type not in _PACKED:
        raise DataError("the archive is packed in a way that NumPy does not write; save it again")
    with archive.open(name + _SUFFIX) as file:
        _check_header(file, most, small)
    with archive.open(name + _SUFFIX) as file:
        return _array(file)


def _array(file: IO[bytes]) -> NDArray[Any]:
    """The array, if nothing comes behind it; of an archive this reads on to the check sum."""
    values: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    if file.read(1):
        raise DataError("the file goes on behind its array; save it again")
    return values


def _check_header(file: IO[bytes], most: int, small: bool = False) -> None:
    """Refuse from an array's header what would not be read; a small array may be a text."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise DataError(f"NumPy's format {version} is for records; save an array of numbers")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(_header(file, 2 if version == (1, 0) else 4))
    if dtype.hasobject:
        raise DataError("the array holds pickled objects, which could run code; save numbers")
    if not (small and dtype.kind == "U"):
        check_numbers(dtype)
    check_size(shape or (1,), dtype, most)
    if small and math.prod(shape) * dtype.itemsize > _FEW_BYTES:
        raise DataError(f"an array of {dtype} is too large for what 'spacing' or 'axes' hold")


def _header(file: IO[bytes], digits: int) -> IO[bytes]:
    """Length and text of an array's header; NumPy would read as much as the length says."""
    length = file.read(digits)
    size = int.from_bytes(length, "little")
    if size > _HEADER_BYTES:
        raise DataError(f"its header would have {size:,} bytes; save the array again")
    return io.BytesIO(length + file.read(size))


def axes_of(text: NDArray[Any], shape: tuple[int, ...]) -> str:
    """The letters that an array `axes` has for the axes of a volume.

    Raises:
        DataError: it has no text, or one that does not name each axis.

    >>> import numpy as np
    >>> axes_of(np.array("whd"), (4, 5, 6))
    'WHD'
    """
    axes = str(text.reshape(-1)[0]).upper() if text.size == 1 and text.dtype.kind == "U" else ""
    if sorted(axes) not in (sorted("DHW"), sorted("CDHW")) or len(axes) != len(shape):
        raise DataError(
            f"axes (={axes[:20]!r}) must name each axis of an array of the shape {shape} by "
            "a letter: D, H and W for depth, height and width, C for channels"
        )
    return axes


def spacing_of(steps: NDArray[Any]) -> Spacing:
    """Three positive numbers from an array `spacing`.

    Raises:
        DataError: it has others.

    >>> import numpy as np
    >>> spacing_of(np.array([3, 1, 1]))
    (3.0, 1.0, 1.0)
    """
    if steps.size != 3 or steps.dtype.kind not in "iuf":
        raise DataError("spacing must be three numbers, for depth, height and width")
    found = usable_spacing(steps.reshape(-1).tolist())
    if found != tuple(map(float, steps.reshape(-1).tolist())):
        raise DataError(f"spacing (={steps.reshape(-1).tolist()}) must be three positive numbers")
    return found
