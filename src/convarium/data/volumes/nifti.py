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

from convarium.data.volumes.volume import (
    MILLIMETRES,
    Stored,
    Volume,
    check_numbers,
    check_size,
    in_millimetres,
)
from convarium.data.volumes.warned import warnings_of
from convarium.errors import DataError, import_extra

GZIP = b"\x1f\x8b"
_LONGEST_HEADER = 540
_FARTHEST = 2**24  # bytes of header and extensions
_REST = 2**16  # bytes behind the voxels, such as padding
_PIECE = 2**20
_UNITS, _SPACE = {1: "m", 2: "mm", 3: "micron"}, 7  # and the bits that hold these numbers


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


def read_nifti(path: Path, most: int) -> Volume:
    """A `.nii` or `.nii.gz` file, in nibabel's closest canonical orientation (RAS+).

    No more bytes are unpacked than the header asks for, and it may not ask for more than the limit.
    Values are scaled by the header's slope and intercept where it has them, in float64, and rounded
    to float32. A fourth axis becomes channels. Metres and microns become millimetres.

    Args:
        path: of the file.
        most: values.

    Raises:
        DataError: the reason alone.
        MissingExtraError: nibabel is not installed.
    """
    nibabel = import_extra("nibabel", "volumes")
    turns = nibabel.orientations
    with warnings_of("nibabel.global"):
        header, values = _read(nibabel, path, most)
        affine = np.asarray(header.get_best_affine(), np.float64)
        turn = turns.io_orientation(affine)
        canonical = affine @ turns.inv_ornt_aff(turn, values.shape[:3])
        slope, intercept = header.get_slope_inter()
        values = _channels_first(turns.apply_orientation(values, turn))
    if (slope, intercept) not in ((None, None), (1, 0)):
        values = _scaled(values, slope, intercept)
    # :.6g has float32's digits
    steps = [f"{step:.6g}" for step in nibabel.affines.voxel_sizes(canonical)]
    code = int(header["xyzt_units"])
    unit = _UNITS.get(code & _SPACE, "")
    canonical[:3] *= MILLIMETRES.get(unit, 1)
    spacing, known = in_millimetres(steps[::-1], unit)
    return Volume(values, spacing, canonical, known, Stored(affine, code))


def as_stored(values: NDArray[Any], volume: Volume) -> bytes:
    """NIfTI of a map over a volume that came as NIfTI: with the axes, affine and unit of its file.

    Shape:
        values: `(D, H, W)`, those of the volume.

    Raises:
        DataError: the volume came from another format.
        MissingExtraError: nibabel is not installed.
    """
    if volume.stored is None:
        raise DataError("the volume did not come as NIfTI")
    nibabel = import_extra("nibabel", "volumes")
    turns = nibabel.orientations
    there = turns.io_orientation(volume.stored.affine)
    back = turns.ornt_transform([[0, 1], [1, 1], [2, 1]], there)
    own = turns.apply_orientation(values.transpose(2, 1, 0), back)
    image = nibabel.Nifti1Image(np.ascontiguousarray(own), volume.stored.affine)
    image.header["xyzt_units"] = volume.stored.units & _SPACE
    return bytes(image.to_bytes())


def _read(nibabel: Any, path: Path, most: int) -> tuple[Any, NDArray[Any]]:
    """The header, and the voxels in the file's order; no more is unpacked than it asks for."""
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
        offset, shape, dtype = _checked(header, most)
        early = (start + stream.read(max(0, offset - len(start))))[offset:]
        values = np.empty(math.prod(shape), dtype)
        if not _filled(values.view(np.uint8).data, early, stream):
            raise DataError("the file is cut short")
        if len(stream.read(_REST)) == _REST:  # reads on to the check sum at the end
            raise DataError("the file goes on far behind its voxels; save it again")
    return header, values.reshape(shape, order="F")


def _filled(room: memoryview, early: bytes, stream: IO[bytes] | gzip.GzipFile) -> bool:
    """Whether a stream fills the room behind what was read early, a piece at a time."""
    piece, place = early[: len(room)], 0
    while piece:
        room[place : place + len(piece)] = piece
        place += len(piece)
        piece = stream.read(min(_PIECE, len(room) - place))
    return place == len(room)


def _checked(header: Any, most: int) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Offset, shape and type of the voxels; ones at the end of the shape are left out."""
    shape, dtype = list(map(int, header.get_data_shape())), header.get_data_dtype()
    check_numbers(dtype)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) not in (3, 4, 5) or (len(shape) == 5 and shape[3] != 1):
        raise DataError(
            f"an image of the shape {tuple(shape)} has {len(shape)} axes; a volume has three, and "
            "a fourth with channels"
        )
    check_size(shape, dtype, most)
    offset = int(header.get_data_offset())
    if not header.single_vox_offset <= offset <= _FARTHEST:
        raise DataError(f"the header puts the voxels at byte {offset}, which cannot be")
    return offset, tuple(shape), dtype


def _scaled(values: NDArray[Any], slope: float, intercept: float) -> NDArray[np.float32]:
    """The values slope x + intercept in float64, rounded to float32; a slice at a time."""
    scaled = np.empty(values.shape, np.float32)
    by, more = np.float64(slope), np.float64(intercept)
    with np.errstate(over="ignore", invalid="ignore"):
        for own, made in zip(values, scaled, strict=True):
            for k, plane in enumerate(own):
                made[k] = plane * by + more
    return scaled


def _channels_first(values: NDArray[Any]) -> NDArray[Any]:
    """`(C, D, H, W)` from NIfTI's `(W, H, D)`, `(W, H, D, C)` or `(W, H, D, 1, C)`."""
    if values.ndim == 5:
        values = values[:, :, :, 0]
    whole = values[..., None] if values.ndim == 3 else values
    return whole.transpose(3, 2, 1, 0)
