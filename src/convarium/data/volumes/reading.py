"""One stated way from a file to a volume, so that a file means the same everywhere.

===========================  ======================================================================
what is in the file          what comes out
===========================  ======================================================================
format                       found from the content, never from the name: .npy, .npz, TIFF, NIfTI
                             (.nii, .nii.gz)
array of 3 axes              depth, height, width; one channel. Where the first or the last axis has
                             4 entries or fewer it may be a picture with channels, and is refused
array of 4 axes              the first or the last is channels: the one with 8 entries or fewer,
                             where the other has more; else refused. `axes` in an .npz decides
TIFF                         pages are slices in their order; the axes that ImageJ and OME name are
                             kept; colours are channels
NIfTI                        turned to its closest canonical orientation (RAS+), only by swaps and
                             flips of axes: width goes right, height to the front, depth up. A
                             fourth axis is channels. Where the header has slope and intercept they
                             are applied in float64, and the values are float32
type of numbers              else kept: whole numbers and floats up to 64 bits; the network gets
                             float32
NaN, infinity                become the mean of the finite values of their channel
spacing                      of NIfTI, ImageJ, OME, or three numbers `spacing` of an .npz; else 1.
                             In millimetres where the file names a unit (OME: microns without one),
                             else as it is
pickled objects              refused: nothing is ever unpickled
complex, records, palettes   refused
more than `MAX_VALUES`,      refused from the header, before anything is unpacked
or half of 64 bits
cut short, damaged           unreadable: no half volume is ever returned
===========================  ======================================================================
"""

from __future__ import annotations

import gzip
import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np

from convarium.data.samples import cause
from convarium.data.volumes import nifti, numpy_files, tiff
from convarium.data.volumes.volume import MAX_VALUES, Volume
from convarium.errors import ConvariumError, DataError

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM")


def read_volume(path: str | Path, *, most: int = MAX_VALUES) -> Volume:
    """One volume, by the rules of this file's table.

    Args:
        path: a file.
        most: values; more are refused from the header, before anything is unpacked.

    Raises:
        DataError: the file cannot be read; the text is the reason alone, without the file's name.
        MissingExtraError: the package that reads NIfTI or TIFF is not installed.

    >>> folder = getfixture("tmp_path")
    >>> np.savez(folder / "a.npz", volume=np.zeros((8, 9, 10), np.uint8), spacing=(3, 1, 1))
    >>> volume = read_volume(folder / "a.npz")
    >>> volume.values.shape, volume.values.dtype, volume.spacing
    ((1, 8, 9, 10), dtype('uint8'), (3.0, 1.0, 1.0))
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError("not a regular file")
        with open(path, "rb") as file:
            start = file.read(600)
        volume = _read(path, start, most)
        order = volume.values.dtype.newbyteorder("=")
        return replace(volume, values=np.ascontiguousarray(volume.values, order))
    except ConvariumError:
        raise
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError("the file is cut short or damaged") from error
    except OSError as error:
        raise DataError(cause(error)) from error
    except Exception as error:  # a damaged file can raise anything inside a reader
        raise DataError(_reason(error)) from error


def _read(path: Path, start: bytes, most: int) -> Volume:
    if not start:
        raise DataError("the file is empty")
    if start.startswith(b"\x93NUMPY"):
        return numpy_files.read_npy(path, most)
    if start.startswith(b"PK"):
        return numpy_files.read_npz(path, most)
    if start.startswith(tiff.STARTS):
        return tiff.read_tiff(path, most)
    if start.startswith(nifti.GZIP) or nifti.is_nifti(start):
        return nifti.read_nifti(path, most)
    if start.startswith(_PICTURES):
        raise DataError("a picture by its content, not a volume")
    raise DataError("not a volume by its content: neither .npy nor .npz, TIFF or NIfTI")


def _reason(error: Exception) -> str:
    words = " ".join(str(error).split()).rstrip(".")
    return f"damaged: {words[:200] or type(error).__name__}"
