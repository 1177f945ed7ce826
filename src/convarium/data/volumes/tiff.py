"""Volumes in TIFF files of several pages: stacks, also as ImageJ and OME write them."""

from __future__ import annotations

import html
import importlib.util
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from convarium.data.volumes.volume import (
    MOST_CHANNELS,
    Spacing,
    Volume,
    check_numbers,
    check_size,
    in_millimetres,
    in_order,
    usable_spacing,
)
from convarium.data.volumes.warned import warnings_of
from convarium.errors import DataError, import_extra

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_PAGES = "IQTR"  # letters of axes that count pages, where none is called Z
_DEFLATE: Final = (8, 32946)
_LZW: Final = 5
_READ: Final = (1, _LZW, 32773, *_DEFLATE)  # 1 is none, 32773 PackBits
_PALETTE = 3
_OME = "um"  # the unit where OME names none
_PHYSICAL = re.compile(r'\bPhysicalSize([XYZ])(Unit)?="([^"]*)"')


def read_tiff(path: Path, most: int) -> Volume:
    """A stack: pages of one shape are slices in their order; ImageJ's and OME's axes are kept.

    The spacing is ImageJ's (`spacing` and the resolution) or OME's physical sizes, else 1; in
    millimetres where the unit is named.

    Args:
        path: of the file.
        most: values.

    Raises:
        DataError: the reason alone.
        MissingExtraError: tifffile is not installed.
    """
    tifffile = import_extra("tifffile", "volumes")
    with warnings_of("tifffile") as warned, tifffile.TiffFile(path, _multifile=False) as file:
        parts = file.series
        _check_whole(file, parts, warned)
        letters, shape = _layout(parts)
        check_size(shape, parts[0].dtype, most)
        check_numbers(parts[0].dtype)
        for page in (page for part in parts for page in part.pages):
            _check_page(file, page)
        values = parts[0].asarray(maxworkers=1)
        if len(parts) > 1:
            values = np.empty((len(parts), *values.shape), values.dtype)
            for part, room in zip(parts, values, strict=True):
                room[...] = part.asarray(maxworkers=1)
        spacing, unit = _spacing(file)
        volume = Volume(in_order(values.squeeze(), letters), spacing, unit=unit)
        _check_whole(file, parts, warned)
        return volume


def holds_stack(path: str | Path) -> bool:
    """Whether a TIFF has the axes of a volume; not one that is damaged, or a picture.

    Raises:
        MissingExtraError: tifffile is not installed.
    """
    tifffile = import_extra("tifffile", "volumes")
    try:
        with warnings_of("tifffile"), tifffile.TiffFile(path, _multifile=False) as file:
            return bool(_layout(file.series))
    except Exception:  # a damaged file can raise anything; reading it will say what is wrong
        return False


def _layout(parts: Sequence[Any]) -> tuple[str, tuple[int, ...]]:
    """Letters of the axes that have more than one entry, and the whole shape.

    Raises:
        DataError: they are not those of a volume.
    """
    axes, shape = parts[0].axes, tuple(parts[0].shape)
    if len(parts) > 1:  # pages that were written one by one
        axes, shape = "I" + axes, (len(parts), *shape)
        if len({(part.axes, part.shape, str(part.dtype)) for part in parts}) > 1:
            raise DataError(
                f"the file holds {len(parts)} images of different shapes; save one stack of "
                "pages of one shape"
            )
    return _letters(axes, shape), shape


def _check_whole(file: Any, parts: Sequence[Any], warned: Sequence[str]) -> None:
    """Refuse what tifffile would fill with zeros, leave out, or look for in other files."""
    if warned:
        words = re.sub(r"<tifffile[^>]*> *", "", warned[0])
        raise DataError(f"cut short or damaged: {words[:200].rstrip('.')}")
    if any(page is None for part in parts for page in part.pages):
        raise DataError("the file lacks pages that it names; save it again")
    if file.is_ome and any(part.kind != "ome" for part in parts):
        raise DataError(
            "it names pages in other files, as OME may; save the whole volume in one file"
        )


def _letters(axes: str, shape: tuple[int, ...]) -> str:
    """Our letters for those axes that have more than one entry."""
    kept = [letter for letter, side in zip(axes, shape, strict=True) if side > 1]
    counting = [letter for letter in kept if letter == "Z"]
    counting += [letter for letter in kept if letter in _PAGES]
    channels = [letter for letter in kept if letter in "CS"]
    if not counting and channels == ["C"] and shape[axes.index("C")] > MOST_CHANNELS:
        counting, channels = channels, []  # as ImageJ has them of a stack whose axes were not named
    words = f"a TIFF with the axes {axes} of the shape {shape}"
    if not counting:
        raise DataError(f"{words} is a picture: it has no axis of slices")
    known = {"Y": "H", "X": "W", counting[0]: "D", **dict.fromkeys(channels, "C")}
    letters = "".join(known.get(letter, "?") for letter in kept)
    if len(counting) > 1 or sorted(letters) not in (sorted("DHW"), sorted("CDHW")):
        raise DataError(f"{words} is no volume of depth, height, width and channels; save one each")
    return letters


def _check_page(file: Any, page: Any) -> None:
    """Refuse compressions whose result cannot be bounded, and pages that unpack to too much."""
    compression = int(page.compression)
    if compression not in _READ:
        raise DataError(
            f"its compression ({getattr(page.compression, 'name', compression)}) is not read; save "
            "it without, or with deflate"
        )
    if compression == _LZW and importlib.util.find_spec("imagecodecs") is None:
        raise DataError(
            "its compression (LZW) takes the package imagecodecs; install that, or save it "
            "without compression or with deflate"
        )
    if int(page.keyframe.photometric) == _PALETTE:
        raise DataError("its values are numbers of a palette's colours; save grey or RGB")
    if compression not in _DEFLATE:
        return
    most = int(page.keyframe.nbytes)
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.filehandle.seek(offset)
        inflating = zlib.decompressobj()
        inflating.decompress(file.filehandle.read(count), most + 1)
        if not inflating.eof:
            raise DataError("a page is cut short, or unpacks to more than it should")


def _spacing(file: Any) -> tuple[Spacing, str]:
    """Spacing, and "mm" where its unit is named."""
    told = file.imagej_metadata
    if told is not None:
        tags = file.pages[0].tags
        along = [_step(tags.get(name)) for name in ("YResolution", "XResolution")]
        steps = [_number(told.get("spacing")), *along]
        units = {str(told.get(name, told.get("unit", ""))) for name in ("unit", "yunit", "zunit")}
        unit = units.pop().replace("\\u00B5", "u")  # as ImageJ writes a micro sign
        return in_millimetres(steps, "" if units else unit)
    if file.ome_metadata is not None:
        return _physical(file.ome_metadata)
    return (1.0, 1.0, 1.0), ""


def _step(tag: Any) -> float:
    """Units a voxel, from a tag of voxels a unit as a fraction."""
    if tag is None:
        return 1.0
    voxels, units = tag.value
    return float(units) / float(voxels) if voxels else 1.0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 1.0


def _physical(text: str) -> tuple[Spacing, str]:
    """OME's physical sizes of a voxel, where all three are there; without a unit in microns."""
    start = text.find("<Pixels")
    found = _PHYSICAL.findall(text, start, text.find(">", start))
    sizes = {axis: value for axis, unit, value in found if not unit}
    units = {axis: html.unescape(value) for axis, unit, value in found if unit}
    try:
        steps = [float(sizes[axis]) for axis in "ZYX"]
    except (KeyError, ValueError):
        return (1.0, 1.0, 1.0), ""
    named = [units.get(axis, _OME) for axis in "ZYX"]
    each = [in_millimetres([step] * 3, unit) for step, unit in zip(steps, named, strict=True)]
    if all(unit for _, unit in each):
        depth, height, width = (along[0] for along, _ in each)
        return (depth, height, width), "mm"
    return (usable_spacing(steps) if len({*named}) == 1 else (1.0, 1.0, 1.0)), ""
