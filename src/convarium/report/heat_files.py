"""The heat of volumes as files: NumPy's, and NIfTI that lies over the volume it belongs to."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np
import torch

from convarium import files
from convarium.data import Dataset, Part, Volume, VolumePreprocessing
from convarium.errors import import_extra
from convarium.report.explained import Explained

if TYPE_CHECKING:
    from convarium.predict import Run

_ENDINGS = re.compile(r"(\.nii)?\.[A-Za-z0-9]+$")


def write_heat(
    folder: str | Path, run: Run, data: Part | Dataset, explained: Explained
) -> tuple[Path, ...]:
    """Write the heat of each explained volume at the volume's own voxels, in [0, 1].

    `NAME.npy` is float32 `(D, H, W)`. A volume that came as NIfTI also gets `NAME.nii.gz` with its
    affine, so that a viewer shows one over the other. Images have no such files.

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
        stem = _ENDINGS.sub("", PurePath(dataset.name(i)).name)
        path = Path(folder) / f"{number:03}-{stem}.npy"
        files.write_bytes(path, _npy(whole))
        written.append(path)
        if volume.affine is not None:
            written.append(_write_nifti(path.with_suffix(".nii.gz"), whole, volume))
    return tuple(written)


def _npy(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(values), allow_pickle=False)
    return file.getvalue()


def _write_nifti(
    path: Path, values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], volume: Volume
) -> Path:
    nibabel = import_extra("nibabel", "volumes")
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), volume.affine)
    files.write_bytes(path, gzip.compress(image.to_bytes(), mtime=0))
    return path
