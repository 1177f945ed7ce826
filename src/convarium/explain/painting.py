"""A heatmap over its picture, as pixels: the colours, the blend, the bar of colours, the name.

`Attribution.overlay` and every drawing of the report take their colours from here.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.errors import OptionError, ShapeError

Pixels = NDArray[np.uint8]

SMALLEST_SIDE = 160  # pictures below are shown with whole pixels repeated
_HEAT_COLOURS = "inferno"
_HEAT_SHARE = 0.6
# From what speaks against the class over nothing to what speaks for it; nothing is dark here too.
_SIGNED = np.array([(166, 214, 255), (38, 120, 212), (10, 10, 16), (222, 90, 24), (255, 214, 140)])
_INK, _SOFT = (27, 34, 43), (90, 101, 114)


def heat_colours(heat: NDArray[Any]) -> NDArray[np.float64]:
    """RGB in [0, 1] of each value in [0, 1], on a scale of even steps in lightness."""
    from matplotlib import colormaps

    return np.asarray(colormaps[_HEAT_COLOURS](np.asarray(heat, np.float64)))[..., :3]


def signed_colours(heat: NDArray[Any]) -> NDArray[np.float64]:
    """RGB in [0, 1] of each value in [-1, 1]: blue is below 0, dark is 0, orange is above.

    >>> signed_colours(np.array([-1.0, 0.0, 1.0])).argmax(1).tolist()
    [2, 2, 0]
    """
    values, stops = np.asarray(heat, np.float64), np.linspace(-1, 1, len(_SIGNED))
    return np.stack([np.interp(values, stops, part) for part in _SIGNED.T], -1) / 255


def colour(image: Pixels) -> Pixels:
    """The image with three channels."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def blend(image: Pixels, heat: NDArray[np.float32], *, signed: bool = False) -> Pixels:
    """The heat's colours over the image in grey: 0.4 grey + 0.6 colour(heat).

    The image loses its own colours, so that every colour left is one of the scale.

    Args:
        image: uint8 `(H, W, C)`.
        heat: `(h, w)` in [0, 1]; brought to `(H, W)` by linear interpolation.
        signed: the heat lies in [-1, 1], on the scale from blue over dark to orange.

    Shape:
        `(H, W, 3)`, uint8.
    """
    from PIL import Image

    height, width = image.shape[:2]
    if heat.shape != (height, width):
        floats = Image.fromarray(np.ascontiguousarray(heat, np.float32))
        resized = floats.resize((width, height), Image.Resampling.BILINEAR)
        heat = np.asarray(resized).clip(-1 if signed else 0, 1)
    colours = signed_colours(heat) if signed else heat_colours(heat)
    grey = colour(image) @ np.array([0.299, 0.587, 0.114])
    mixed = (1 - _HEAT_SHARE) * grey[..., None] + _HEAT_SHARE * 255 * colours
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def pixels_of(image: Any) -> Pixels:
    """An image as uint8 `(H, W, C)`, C 1 or 3.

    Args:
        image: array, tensor or Pillow image `(H, W)`, `(H, W, 1 | 3)` or `(1 | 3, H, W)`, of uint8
            or of floating-point numbers in [0, 1]; Pillow images of other modes, such as palettes,
            become grey or RGB as files do.

    Raises:
        DataError: a Pillow image whose mode has no black and white.
        ShapeError: another shape, or one that can be read in two ways.
        OptionError: another type, or numbers outside of [0, 1].

    >>> pixels_of(np.ones((3, 4, 5), np.float32)).shape, pixels_of(np.zeros((4, 5), "u1")).shape
    ((4, 5, 3), (4, 5, 1))
    """
    values = _array(image)
    shape = values.shape
    if values.ndim == 2:
        values = values[..., None]
    ends = [axis for axis in (0, 2) if values.ndim == 3 and values.shape[axis] in (1, 3)]
    if values.ndim == 3 and len(shape) == 2:
        ends = [2]
    if len(ends) != 1 or 0 in shape:
        raise ShapeError(
            f"image (of shape {shape}) must be (H, W), (H, W, C) or (C, H, W), with C 1 or 3 at "
            "one end only."
        )
    values = values.transpose(1, 2, 0) if ends == [0] else values
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype.kind != "f":
        raise OptionError(f"image (of {values.dtype}) must be uint8, or floating-point in [0, 1].")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise OptionError(
            f"image (from {low:g} to {high:g}) must be uint8, or floating-point in [0, 1]; give "
            "the picture as it was before it was normalised."
        )
    return np.ascontiguousarray(np.rint(255 * values.astype(np.float64)).astype(np.uint8))


def _array(image: Any) -> NDArray[Any]:
    """What can be an array, as one; tensors from anywhere."""
    from PIL import Image

    from convarium.data.decode import pixels_in

    if hasattr(image, "detach"):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
    if not hasattr(image, "__array__") and not hasattr(image, "__array_interface__"):
        raise OptionError(
            f"image (={type(image).__name__}) must be an array, a tensor or a Pillow image."
        )
    if isinstance(image, Image.Image) and image.mode != "F":
        return pixels_in(image.copy())
    return np.asarray(image)


def shown_size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width that a picture is shown at: small ones by a whole factor larger.

    >>> shown_size((8, 8)), shown_size((224, 300))
    ((160, 160), (224, 300))
    """
    factor = max(1, -(-SMALLEST_SIDE // max(size)))
    return factor * size[0], factor * size[1]


def heated(
    image: Pixels,
    heat: NDArray[np.float32],
    label: str,
    *,
    size: tuple[int, int] | None = None,
    signed: bool = False,
) -> Pixels:
    """The picture with the heat over it, below a name and above the bar of colours.

    Args:
        image: uint8 `(H, W, C)`.
        heat: `(h, w)` in [0, 1], or in [-1, 1] if `signed`.
        label: the class that the heat speaks for.
        size: height and width of the picture in it; None: `shown_size`.
        signed: as of `blend`.

    Shape:
        `(size[0] + frame, size[1], 3)`, uint8.
    """
    from PIL import Image, ImageDraw

    height, width = size or shown_size(image.shape[:2])
    small = max(image.shape[:2]) < SMALLEST_SIDE
    kind = Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
    plain = Image.fromarray(colour(image)).resize((width, height), kind)
    letters = min(28, max(12, width // 20))
    font, strip, edge = font_of(letters), round(1.7 * letters), letters // 2
    sheet = Image.new("RGB", (width, height + 2 * strip), "white")
    sheet.paste(Image.fromarray(blend(np.asarray(plain), heat, signed=signed)), (0, strip))
    pen = ImageDraw.Draw(sheet)
    words = fitting(label, font, width - 2 * edge)
    pen.text((edge, strip / 2), words, fill=_INK, font=font, anchor="lm")
    colours = signed_colours if signed else heat_colours
    add_scale(sheet, strip + height + strip / 2, letters, colours, signed=signed)
    return np.asarray(sheet)


def add_scale(
    sheet: Any,
    middle: float,
    letters: int,
    colours: Callable[[NDArray[Any]], NDArray[np.float64]],
    *,
    signed: bool = False,
) -> None:
    """Draw a bar of colours from 0 to 1 across a picture.

    Args:
        sheet: of Pillow, in RGB.
        middle: height of the bar's middle, in pixels from above.
        letters: size of the picture's letters, in pixels.
        colours: RGB in [0, 1] of values.
        signed: the bar begins at -1.
    """
    from PIL import Image, ImageDraw

    low, high = ("\N{MINUS SIGN}1", "+1") if signed else ("0", "1")
    pen, edge, bar = ImageDraw.Draw(sheet), letters // 2, max(3, letters // 2)
    font = font_of(max(8, round(0.75 * letters)))
    pen.text((edge, middle), low, fill=_SOFT, font=font, anchor="lm")
    pen.text((sheet.width - edge, middle), high, fill=_SOFT, font=font, anchor="rm")
    left = round(2 * edge + font.getlength(low))
    right = round(sheet.width - 2 * edge - font.getlength(high))
    if right > left:
        values = np.linspace(-1 if signed else 0, 1, right - left)[None].repeat(bar, 0)
        pixels = np.rint(255 * colours(values)).astype(np.uint8)
        sheet.paste(Image.fromarray(pixels), (left, round(middle - bar / 2)))


@functools.lru_cache(maxsize=32)
def font_of(size: int) -> Any:
    """The letters of matplotlib, which come with it."""
    from matplotlib.font_manager import FontProperties, findfont
    from PIL import ImageFont

    path = findfont(FontProperties(family="DejaVu Sans"))
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def fitting(text: str, font: Any, width: float) -> str:
    """As much of the text as fits, on one line, the cut marked by an ellipsis."""
    words = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    if font.getlength(words) <= width:
        return words
    fits = bisect.bisect_right(
        range(len(words)), width, key=lambda count: font.getlength(words[:count] + "…")
    )
    words = words[: max(0, fits - 1)]
    return words.rstrip() + "…" if words else ""
