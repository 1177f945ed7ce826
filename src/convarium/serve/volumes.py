"""Volumes from bodies: files of NumPy and NIfTI, or numbers.

Other formats that `data.read_volume` knows are not read: fewer decoders stand open to strangers.
"""

from __future__ import annotations

import base64
import binascii
import math
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from convarium.data import Volume, VolumePreprocessing, read_volume
from convarium.data.volumes.nifti import GZIP, is_nifti
from convarium.data.volumes.volume import TooManyVoxelsError, guessed_axes, in_order
from convarium.errors import DataError
from convarium.serve.bodies import PLAIN, holds_only
from convarium.serve.limits import Limits
from convarium.serve.refusals import RefusedError, unusable

MEDIA: Final = ("application/x-npy", "application/x-nifti", "application/gzip", PLAIN)
_STARTS: Final = (b"\x93NUMPY", b"PK", GZIP)
_HEAD: Final = 600  # bytes that say whether it is NIfTI
_DEEPEST: Final = 4  # lists in one another


def volume_of_file(content: bytes, limits: Limits) -> Volume:
    """A volume by its content, whose header says that its voxels are not too many.

    Raises:
        DataError: it cannot be read.
        RefusedError: 413, it is too large.
    """
    if not content.startswith(_STARTS) and not is_nifti(content[:_HEAD]):
        raise DataError("not a volume by its content: neither .npy, .npz nor NIfTI")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume"
        path.write_bytes(content)
        try:
            return read_volume(path, most=limits.max_pixels)
        except TooManyVoxelsError as error:
            raise _too_many(str(error)) from error


def volume_of_value(value: Any, limits: Limits) -> Volume:
    """A volume of numbers, (D, H, W) or with channels, by the rules for .npy; or a file in base64.

    Raises:
        DataError: it cannot be read.
        RefusedError: 413, it is too large; 422, it is no volume.
    """
    if isinstance(value, str):
        try:
            return volume_of_file(base64.b64decode(value, validate=True), limits)
        except (binascii.Error, ValueError) as error:
            raise unusable("the text of a volume must be its file in base64") from error
    words = "a volume must be numbers, (D, H, W), (C, D, H, W) or (D, H, W, C)"
    if not holds_only(value, {int, float}, _DEEPEST):
        raise unusable(words)
    try:
        with np.errstate(over="ignore"):  # what is too large counts as infinite
            values = np.array(value, np.float32)
    except (ValueError, OverflowError) as error:  # rows of unequal lengths
        raise unusable(words) from error
    return Volume(in_order(values, guessed_axes(values.shape)))


def check_voxels(volume: Volume, preprocessing: VolumePreprocessing, limits: Limits) -> None:
    """Refuse what would fill the memory once it is brought to the card's spacing.

    Raises:
        RefusedError: 413.
    """
    size = preprocessing.resampled(volume)
    if volume.channels * math.prod(size) > limits.max_pixels:
        told = " x ".join(map(str, size))
        raise _too_many(f"{told} voxels at the run's spacing are more than {limits.max_pixels:,}")


def _too_many(words: str) -> RefusedError:
    return RefusedError(413, "too_many_voxels", f"{words}.")
