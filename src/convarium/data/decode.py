"""One stated way from an image file to 8-bit pixels, so that a file means the same everywhere.

===========================  ======================================================================
what is in the file          what comes out
===========================  ======================================================================
format                       found from the content, never from the name; one of `FORMATS`. EPS, WMF
                             and other formats that are programs are refused
grey, 1 bit                  one channel; 1 bit gives 0 and 255
palette, YCbCr, RGBX         three channels, RGB
CMYK                         RGB by Pillow's formula, 255 - min(255, C (255 - K) / 255 + K); a CMYK
                             JPEG is taken as Adobe's inverted form, as Pillow does
alpha, transparent colour    composited over white, round((c a + 255 (255 - a)) / 255), so a hidden
                             colour never shows; grey with alpha stays grey
16 bit                       the high byte, value // 256, for grey as for colour: 257 k gives k;
                             of 12 bits (TIFF) the highest 8, value // 16
white is zero (TIFF)         inverted, so that white is 255, for 1 to 8 bits as for 16
EXIF or TIFF orientation     applied; a damaged EXIF block counts as upright
several frames               the first one
cut short, damaged           unreadable: no half or grey picture is ever returned. Where another
                             library has set Pillow to return half pictures, nothing is read
no regular file              refused: a pipe would be waited for without end
more than `MAX_PIXELS`       refused from the header, before any pixel is decoded (Pillow's limit)
32-bit integer, float, LAB   refused: the file does not say which values are black and white. (A
                             PNM of more than 8 bits, which Pillow calls 32 bit, counts as 16 bit)
colour profile               ignored
===========================  ======================================================================

Pillow's own warnings are turned off for the process when the first picture is read: what they say
is either covered by a rule above or raised as an error.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from convarium.data import jpeg
from convarium.data.orientation import orientation_of, upright
from convarium.errors import DataError, OptionError

MAX_PIXELS = 178_956_970
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")


class TooManyPixelsError(DataError):
    """An image of more pixels than are allowed."""


_IMAGE_NAME = re.compile(
    r"\.(jpe?g|jpe|jfif|a?png|webp|gif|bmp|dib|tiff?|p[bgpn]m|jp2|j2k|avif|mpo)$", re.IGNORECASE
)

_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0102, 0x0106, 0
_BAND = 65_536
_LOSSY = ("JPEG", "WEBP")
_PILLOW = r"PIL\."
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def read_image(
    source: str | Path | bytes,
    *,
    at_least: tuple[int, int] | None = None,
    most: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Pixels of one image, by the rules of this file's table.

    Args:
        source: a path, or the bytes of an image file.
        at_least: height and width, of the upright picture, that are enough: a JPEG of twice that
            and more comes at a reduced scale of up to 1/2, which takes a fraction of the time.
            None decodes every pixel.
        most: pixels; more are refused from the header, before any is decoded.

    Returns:
        Shape `(H, W, C)`, C = 1 for grey and 3 for colour, contiguous and writable.

    Raises:
        DataError: the image cannot be read; the text is the reason alone, without the file's name.
        OptionError: Pillow is set to return half pictures, by `ImageFile.LOAD_TRUNCATED_IMAGES`.

    >>> read_image(b"P5 2 1 255 AB").tolist()
    [[[65], [66]]]
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise OptionError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES (=True) makes half pictures of files that are cut "
            "short; set it to False, as it is by default."
        )
    with opened(source, most) as image:
        pixels = _turbo(image, at_least)
        if pixels is None:
            image.load()
            pixels = pixels_in(image)
        return np.require(upright(pixels, orientation_of(image)), requirements=["C", "W"])


def read_mask(source: str | Path | bytes) -> NDArray[np.bool_]:
    """What an image marks, `(H, W)`: each pixel that is neither 0 nor transparent, upright.

    Numbers of more than 8 bits count as they are, so that 1 of 65,535 is a mark. Of a JPEG or WebP,
    whose black is not quite black, what is brighter than half is marked.

    Raises:
        DataError: the image cannot be read; the text is the reason alone, without the file's name.

    >>> read_mask(b"P5 2 1 255 " + bytes([0, 1])).tolist()
    [[False, True]]
    """
    with opened(source) as image:
        image.load()
        if image.mode in (*_WIDE, "I"):
            marked = np.asarray(image) != 0
        else:
            pixels = np.asarray(image.convert("RGBA"))
            black = 127 if image.format in _LOSSY else 0
            marked = (pixels[..., :3].max(2) > black) & (pixels[..., 3] > 0)
        turned: NDArray[np.bool_] = upright(marked[..., None], orientation_of(image))[..., 0]
        return np.ascontiguousarray(turned)


def image_size(source: str | Path | bytes) -> tuple[int, int]:
    """Height and width of the upright picture that `read_image` gives, from the header alone.

    Raises:
        DataError: the header cannot be read; the text is the reason alone.

    >>> image_size(b"P5 2 1 255 AB")
    (1, 2)
    """
    with opened(source) as image:
        if image.format == "TIFF":  # its orientation is known once it is decoded
            return read_image(source).shape[:2]
        wide, tall = image.size
        return (wide, tall) if orientation_of(image) >= 5 else (tall, wide)


def is_image_name(name: str) -> bool:
    """Whether a file's name ends like that of an image.

    >>> is_image_name("a/cat.JPG"), is_image_name("labels.csv")
    (True, False)
    """
    return _IMAGE_NAME.search(name) is not None


@contextlib.contextmanager
def opened(source: str | Path | bytes, most: int = MAX_PIXELS) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read and its size checked; what fails in the block is a reason."""
    _silence_pillow()
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        _check_regular(source)
        with Image.open(file, formats=_known_formats()) as image:
            _check_size(image, most)
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        limit = f"{min(most, MAX_PIXELS):,}"
        raise TooManyPixelsError(
            f"more pixels than the limit of {limit}; make the image smaller first"
        ) from error
    except Exception as error:  # a damaged file can raise anything inside a decoder
        raise DataError(_reason(error)) from error


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that the installed Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _silence_pillow() -> None:
    """Ignore Pillow's warnings; asked again each time, since filters belong to the caller."""
    modules: list[Any] = [entry[3] for entry in warnings.filters]
    if not any(getattr(module, "pattern", module) == _PILLOW for module in modules):
        warnings.filterwarnings("ignore", module=_PILLOW)


def _turbo(
    image: ImageFile.ImageFile, at_least: tuple[int, int] | None
) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG, not yet turned; None where Pillow has to decode."""
    if image.format != "JPEG":
        return None
    lying = at_least is not None and orientation_of(image) >= 5
    return jpeg.decode(image, at_least[::-1] if at_least and lying else at_least)


def _check_regular(source: str | Path | bytes) -> None:
    if isinstance(source, bytes):
        return
    mode = os.stat(source).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder gives its own reason
        raise DataError("not a regular file")


def _check_size(image: Image.Image, most: int) -> None:
    if image.width * image.height > min(most, MAX_PIXELS):
        raise TooManyPixelsError(
            f"{image.width} x {image.height} pixels are more than the limit of "
            f"{min(most, MAX_PIXELS):,}; make the image smaller first"
        )
    if image.width * image.height == 0:
        raise DataError("the image has no pixels")


def pixels_in(image: Image.Image) -> NDArray[np.uint8]:
    """`(H, W, 1)` or `(H, W, 3)` from a loaded image, not yet turned."""
    if image.mode in _WIDE or (image.mode == "I" and image.format == "PPM"):
        return _from_wide(image)
    if image.mode not in _GREY + _COLOUR:
        raise DataError(
            f"pixels of Pillow's mode {image.mode!r} have no defined black and white; "
            "save the image with 8 or 16 bits a channel"
        )
    grey = image.mode in _GREY
    if not image.has_transparency_data:
        mode = "L" if grey else "RGB"
        plain = np.asarray(image if image.mode == mode else image.convert(mode))
        return plain[:, :, None] if grey else plain
    _narrow_key(image)
    image = image.convert("L") if image.mode == "1" else image
    return _over_white(np.asarray(image.convert("LA" if grey else "RGBA")))


def _from_wide(image: Image.Image) -> NDArray[np.uint8]:
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    bits = int(tags.get(_BITS_PER_SAMPLE, (16,))[0])
    values = np.asarray(image).astype(np.int64)
    narrow: NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts up to 8 bits, and not 16
        narrow = 255 - narrow
    key = image.info.get("transparency")
    if isinstance(key, int):
        narrow[values == key] = 255
    return narrow[:, :, None]


def _narrow_key(image: Image.Image) -> None:
    """Bring the transparent colour of a 16-bit RGB file to the 8 bits that Pillow kept."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composite `(H, W, C + 1)`, alpha last, over white, with exact integer rounding.

    In 16 bits, since c a + 255 (255 - a) + 127 <= 65,152, and in bands that stay in the cache.
    """
    height, width, channels = pixels.shape
    mixed = np.empty((height, width, channels - 1), np.uint8)
    band = max(1, _BAND // max(1, width))
    for top in range(0, height, band):
        part = pixels[top : top + band]
        alpha = part[:, :, -1].astype(np.uint16)
        white = 255 * (255 - alpha) + 127
        for channel in range(channels - 1):
            mixed[top : top + band, :, channel] = (part[:, :, channel] * alpha + white) // 255
    return mixed


def _reason(error: Exception) -> str:
    """Why a decoder failed, in words for the list of skipped files."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a known format"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split()) or type(error).__name__
    return f"damaged or cut short ({text})"
