"""Heatmaps as files, one a sample: PNG; of volumes NumPy's too, or NIfTI that lies over them."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from convarium import files
from convarium.data import Dataset, Part, Volume, VolumePreprocessing
from convarium.data.volumes.nifti import as_stored
from convarium.explain.painting import heated
from convarium.report.explained import Explained
from convarium.report.pictures import png

if TYPE_CHECKING:
    from convarium.predict import Run

_LONGEST = 60  # letters of a file's name, of up to four bytes each
_ENDINGS = re.compile(r"(\.nii)?\.[A-Za-z0-9]+$")


def write_heat(
    folder: str | Path, run: Run, data: Part | Dataset, explained: Explained
) -> tuple[Path, ...]:
    """Write the heat of each explained volume at the volume's own voxels, in [0, 1].

    `NAME.npy` is float32 `(D, H, W)`. A volume that came as NIfTI gets `NAME.nii.gz` instead, with
    the axes, the affine and the unit of its file, so that a viewer shows one over the other. Images
    have no such files.

    Args:
        folder: is made where it is missing.
        run: that explained.
        data: that it explained.
        explained: what came out.

    Raises:
        RunError: a file cannot be written.
        DataError: a volume cannot be read any more.
    """
    steps = run.preprocessing
    if not isinstance(steps, VolumePreprocessing):
        return ()
    dataset = data.dataset if isinstance(data, Part) else data
    written: list[Path] = []
    for number, (i, heat) in enumerate(zip(explained.ids, explained.maps, strict=True), start=1):
        volume = dataset.read(i)
        whole = steps.back(torch.from_numpy(heat)[None], volume)[0].clamp(0, 1).numpy()
        suffix = ".npy" if volume.stored is None else ".nii.gz"
        path = Path(folder) / file_name(number, dataset.name(i), suffix)
        content = _npy(whole) if volume.stored is None else _nifti(whole, volume)
        files.write_bytes(path, content)
        written.append(path)
    return tuple(written)


def write_overlays(folder: str | Path, explained: Explained) -> tuple[Path, ...]:
    """Write each picture with its heat over it as a PNG, below the name of the class.

    Args:
        folder: is made where it is missing.
        explained: what came out.

    Raises:
        RunError: a file cannot be written.
    """
    written: list[Path] = []
    pairs = zip(explained.pictures, explained.rows, strict=True)
    for number, (picture, row) in enumerate(pairs, start=1):
        status = row["status"]
        label = picture.title if status == "fine" else f"{picture.title}: {status}"
        heat = cast("NDArray[np.float32]", picture.heat)
        path = Path(folder) / file_name(number, row["name"], ".png")
        files.write_bytes(path, png(heated(picture.image, heat, label)))
        written.append(path)
    return tuple(written)


def file_name(number: int, name: str, suffix: str) -> str:
    """A file's name from a sample's: its number, so that none collide, and what is safe of it.

    >>> file_name(7, "new/a cat?.nii.gz", ".png")
    '007-a cat_.png'
    """
    stem = _ENDINGS.sub("", PurePath(name).name)
    safe = "".join(x if x.isalnum() or x in "-_. ()" else "_" for x in stem)
    return f"{number:03}-{safe[:_LONGEST].strip()}{suffix}"


def _npy(values: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()


def _nifti(values: NDArray[np.float32], volume: Volume) -> bytes:
    return gzip.compress(as_stored(values, volume), mtime=0)
