"""From a body to samples by the kind of the run, and from a sample to what the network takes.

======= ========================================================== ===============================
kind    a body, or a part of one                                   a value of {"inputs": [...]}
======= ========================================================== ===============================
images  JPEG, PNG or WebP                                          the file in base64, or numbers
                                                                   0 to 255: (H, W), (H, W, 1 | 3)
texts   text/plain                                                 a text
series  audio/wav                                                  (T,) or (C, T) numbers, or
                                                                   {"values": ..., "rate": ...}
volumes .npy, .npz, NIfTI                                          the file in base64, or numbers:
                                                                   (D, H, W), or with channels
======= ========================================================== ===============================

The steps of the card are those of `data.Preprocessing`, so a file gives the same bits as elsewhere.
A further kind of run is a further row of `READERS`.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convarium.data import (
    Preprocessing,
    Series,
    SeriesPreprocessing,
    VolumePreprocessing,
    read_image,
)
from convarium.data.decode import TooManyPixelsError
from convarium.data.series.arrays import channels_first
from convarium.data.series.series import floats_of
from convarium.data.series.sound import read_wave
from convarium.data.texts.reading import decoded
from convarium.errors import DataError, OptionError
from convarium.serve.bodies import (
    JSON,
    MULTIPART,
    PLAIN,
    Received,
    holds_only,
    parts_of,
    values_of,
)
from convarium.serve.limits import LONGEST, LONGEST_TEXT, Limits
from convarium.serve.refusals import RefusedError, unusable
from convarium.serve.volumes import MEDIA, check_voxels, volume_of_file, volume_of_value

_IMAGES: Final = ("image/jpeg", "image/png", "image/webp", PLAIN)
_SOUNDS: Final = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave", PLAIN)
_STARTS: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
#: Scans of a JPEG, each of which goes over all of its pixels; encoders write ten or so.
_SCANS: Final = 100
_SCAN: Final = b"\xff\xda"
#: The kind of runs whose samples are fields, which are no samples of a batch.
FIELDS: Final = "grids"
_AXES: Final = (2, 3)


@dataclass(frozen=True)
class Given:
    """One sample as it was sent.

    Args:
        read: gives what `Preprocessing.apply` takes.
        value: bytes of a file, or a value of a JSON document.
    """

    read: Callable[[Any, Limits], Any]
    value: Any


@dataclass(frozen=True)
class Reader:
    """How samples of a kind are read.

    Args:
        media: types of a body that is a file.
        file: reads its bytes.
        value: reads a value of a JSON document.
    """

    media: tuple[str, ...]
    file: Callable[[bytes, Limits], Any]
    value: Callable[[Any, Limits], Any]


def samples_of(kind: str, body: Received, most: int) -> list[Given]:
    """The samples of a body, none of them looked into yet.

    Args:
        kind: of the run.
        body: of the request.
        most: samples.

    Raises:
        RefusedError: 415 for a type that the run does not take, 400 for a body that is not made so,
            413 for more samples.
    """
    reader = READERS[kind]
    if body.media == JSON:
        found = [Given(reader.value, value) for value in values_of(body.content, most)]
    elif body.media == MULTIPART:
        found = [_file(reader, part) for part in parts_of(body, most)]
    else:
        found = [_file(reader, body)]
    if not found:
        raise RefusedError(400, "empty", "The body holds no sample.")
    return found


def prepared(
    given: Given, preprocessing: Preprocessing, limits: Limits
) -> tuple[str | None, Tensor]:
    """A text as it was read, and a sample of any kind as `Preprocessing.apply` gives it.

    Pixels and sounds of full size are let go of, so that requests that wait hold little.

    Raises:
        DataError: it cannot be read.
        RefusedError: 413, it is too large; 422, it is no such sample.
    """
    sample = given.read(given.value, limits)
    if isinstance(preprocessing, SeriesPreprocessing):
        check_length(sample, preprocessing)
    if isinstance(preprocessing, VolumePreprocessing):
        check_voxels(preprocessing.fitting(sample), preprocessing, limits)
    return sample if isinstance(sample, str) else None, preprocessing.apply(sample)


def check_kind(kind: str, where: str) -> None:
    """Refuse a run whose samples cannot be sent.

    Raises:
        OptionError: so.
    """
    if kind not in (*READERS, FIELDS):
        known = ", ".join((*READERS, FIELDS))
        raise OptionError(f"{where} takes {kind}, and serve is for runs of {known}.")


def _file(reader: Reader, part: Received) -> Given:
    if part.media not in reader.media:
        known = ", ".join((*reader.media[:-1], MULTIPART, JSON))
        raise RefusedError(415, "wrong_type", f"Content-Type must be one of {known}.")
    return Given(reader.file, part.content)


def _image(content: bytes, limits: Limits) -> NDArray[np.uint8]:
    """Pixels of a file whose header says that they are not too many."""
    webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    if not webp and not content.startswith(_STARTS):
        raise DataError("not a JPEG, PNG or WebP image")
    if content.startswith(_STARTS[0]) and content.count(_SCAN) > _SCANS:
        reason = f"A JPEG of over {_SCANS} scans takes too long to decode; save it anew."
        raise RefusedError(413, "too_many_scans", reason)
    try:
        return read_image(content, most=limits.max_pixels)
    except TooManyPixelsError as error:
        raise _too_many_pixels(str(error)) from error


def _image_value(value: Any, limits: Limits) -> NDArray[np.uint8]:
    if isinstance(value, str):
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise unusable("the text of an image must be its file in base64") from error
        return _image(content, limits)
    words = "an image must be whole numbers from 0 to 255, (H, W) or (H, W, C) with C 1 or 3"
    if not holds_only(value, {int}, _AXES[-1]):
        raise unusable(words)
    try:
        pixels = np.array(value)
    except (ValueError, OverflowError) as error:  # rows of unequal lengths
        raise unusable(words) from error
    flat = pixels.ndim == _AXES[0]
    if pixels.dtype.kind not in "iu" or pixels.ndim not in _AXES or not pixels.size:
        raise unusable(words)
    if not flat and pixels.shape[2] not in (1, 3):
        raise unusable(words)
    if pixels.min() < 0 or pixels.max() > 255:
        raise unusable(words)
    height, width = pixels.shape[:2]
    if height * width > limits.max_pixels:
        most = f"{limits.max_pixels:,}"
        raise _too_many_pixels(f"{width} x {height} pixels are more than the limit of {most}")
    found: NDArray[np.uint8] = pixels.astype(np.uint8)
    return found[:, :, None] if flat else found


def _too_many_pixels(words: str) -> RefusedError:
    return RefusedError(413, "too_many_pixels", f"{words}.")


def _text(content: bytes, limits: Limits) -> str:
    return _short(decoded(content))


def _text_value(value: Any, limits: Limits) -> str:
    if not isinstance(value, str):
        raise unusable("a text must be a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can write
        raise unusable("a text must be Unicode") from error
    return _short(value)


def _short(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        reason = f"A text of {len(text):,} characters is over the limit of {LONGEST_TEXT:,}."
        raise RefusedError(413, "too_long", reason)
    return text


def _sound(content: bytes, limits: Limits) -> Series:
    return read_wave(io.BytesIO(content))


def _series_value(value: Any, limits: Limits) -> Series:
    rate = None
    if isinstance(value, dict):
        value, rate = value.get("values"), value.get("rate")
        fits = type(rate) in (int, float) and rate > 0 and math.isfinite(rate)
        if rate is not None and not fits:
            raise unusable("the rate of a series must be a number above 0")
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    words = "a series must be numbers or null, (T,) or (C, T) with rows of one length"
    for row in rows:
        if not isinstance(row, list) or not row or len(row) != len(rows[0]):
            raise unusable(words)
        if not all(each is None or type(each) in (int, float) for each in row):
            raise unusable(words)
    try:
        values = channels_first(floats_of(np.array(rows, np.float64)))
    except OverflowError as error:
        raise unusable(words) from error
    return Series(values, None if rate is None else float(rate))


def check_length(series: Series, preprocessing: SeriesPreprocessing) -> None:
    """Refuse what would fill the memory, also after it is brought to the card's rate."""
    most = LONGEST * preprocessing.input_shape[1]
    times = (preprocessing.rate or 1) / (series.rate or preprocessing.rate or 1)
    if max(1.0, times) * series.length > most:
        reason = f"A series of {series.length} time steps is over the limit of {most}."
        raise RefusedError(413, "too_long", reason)


#: How samples are read, by the kind of the run.
READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        "images": Reader(_IMAGES, _image, _image_value),
        "texts": Reader(("text/plain", PLAIN), _text, _text_value),
        "series": Reader(_SOUNDS, _sound, _series_value),
        "volumes": Reader(MEDIA, volume_of_file, volume_of_value),
    }
)
