"""Volumes in NIfTI files, turned so that width goes right, height to the front and depth up."""

from __future__ import annotations

import gzip
import io
import math
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.volumes.volume import Volume, check_numbers, check_size, usable_spacing
from convarium.data.volumes.warned import warnings_of
from convarium.errors import DataError, import_extra

GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 540
_FARTHEST = 2**24  # bytes of header and extensions
_REST = 2**16  # bytes behind the voxels, such as padding


def is_nifti(start: bytes) -> bool:
    """Whether a file that begins like this, unpacked, is NIfTI-1 or NIfTI-2 in one file.

    >>> is_nifti(b"P5 2 1 255 AB")
    False
    """
    if len(start) < 348:
        return False
    sizes = {struct.unpack(order + "i", start[:4])[0] for order in "<>"}
    one = 348 in sizes and start[344:348] == b"n+1\0"
    return one or (540 in sizes and start[4:8] == b"n+2\0")


def read_nifti(path: Path) -> Volume:
    """A `.nii` or `.nii.gz` file, in nibabel's closest canonical orientation (RAS+).

    No more bytes are unpacked than the header asks for, and it may not ask for more than the limit.
    Values are scaled by the header's slope and intercept where it has them. A fourth axis becomes
    channels.

    Raises:
        DataError: the reason alone.
        MissingExtraError: nibabel is not installed.
    """
    nibabel = import_extra("nibabel", "volumes")
    with warnings_of("nibabel.global"):
        data, two = _bounded(nibabel, path)
        image = (nibabel.Nifti2Image if two else nibabel.Nifti1Image).from_bytes(data)
        image = nibabel.as_closest_canonical(image)
        values = _channels_first(np.asanyarray(image.dataobj))
    steps = [
        f"{step:.6g}" for step in nibabel.affines.voxel_sizes(image.affine)
    ]  # float32's digits
    return Volume(values, usable_spacing(steps[::-1]), np.asarray(image.affine, np.float64))


def _bounded(nibabel: Any, path: Path) -> tuple[bytes, bool]:
    """The bytes of the file, unpacked, that its header asks for; and whether it is NIfTI-2."""
    with open(path, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if packed else raw
        start = stream.read(_LONGEST_HEADER)
        if not is_nifti(start):
            raise DataError("the content is not NIfTI in one file")
        two = start[4:8] == b"n+2\0"
        kind = nibabel.Nifti2Header if two else nibabel.Nifti1Header
        header = kind.from_fileobj(io.BytesIO(start[: 540 if two else 348]))
        needed = _needed(header)
        data = start + stream.read(max(0, needed - len(start)))
        if len(data) < needed:
            raise DataError("the file is cut short")
        if len(stream.read(_REST)) == _REST:  # reads on to the check sum at the end
            raise DataError("the file goes on far behind its voxels; save it again")
    return data, two


def _needed(header: Any) -> int:
    """Bytes up to the last voxel."""
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    check_numbers(dtype)
    _check_axes(shape)
    check_size(shape)
    offset = header.get_data_offset()
    if not 0 <= offset <= _FARTHEST:
        raise DataError(f"the header puts the voxels at byte {offset}, which cannot be")
    return int(offset) + math.prod(map(int, shape)) * int(dtype.itemsize)


def _check_axes(shape: tuple[int, ...]) -> None:
    """Width, height, depth; and channels as the fourth axis, or as the fifth behind a 1."""
    if len(shape) not in (3, 4, 5) or (len(shape) == 5 and shape[3] != 1):
        raise DataError(
            f"an image of the shape {tuple(map(int, shape))} has {len(shape)} axes; a volume has "
            "three, and a fourth with channels"
        )


def _channels_first(values: NDArray[Any]) -> NDArray[Any]:
    """`(C, D, H, W)` from NIfTI's `(W, H, D)`, `(W, H, D, C)` or `(W, H, D, 1, C)`."""
    width, height, depth = values.shape[:3]
    return values.reshape(width, height, depth, -1, order="F").transpose(3, 2, 1, 0)
