"""Pictures or volumes, and labels, in a NumPy archive. Nothing here is ever unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.arrays import joined
from convarium.data.dataset import Dataset
from convarium.data.given import TEST, TRAIN, VALIDATION
from convarium.data.volumes.numpy_files import axes_of, spacing_of
from convarium.data.volumes.samples import VolumeArrays
from convarium.data.volumes.volume import guessed_axes
from convarium.errors import DataError

_KEYS = (
    ("x_train", "y_train", TRAIN),
    ("x_val", "y_val", VALIDATION),
    ("x_test", "y_test", TEST),
    ("train_images", "train_labels", TRAIN),
    ("val_images", "val_labels", VALIDATION),
    ("test_images", "test_labels", TEST),
    ("x", "y", None),
    ("images", "labels", None),
)
_CLASSES = "classes"


def open_npz(path: Path, kind: str | None = None) -> Dataset:
    """A NumPy archive: x_train, y_train, x_test, y_test (and x_val, y_val); or x and y.

    `train_images` and `train_labels`, or `images` and `labels`, do as well. Images are `(N, H, W)`,
    `(N, H, W, C)` or `(N, C, H, W)` with C 1 or 3, in whole numbers 0 to 255 (16 bit: the high
    byte). Other arrays of four axes are volumes `(N, D, H, W)`, and so are those of five, with the
    first or last axis of a volume as its channels; their numbers stay as they are. `axes` names the
    axes of one volume, as in an archive with one, and `spacing` is that of all. Labels are whole
    numbers or texts. An array `classes` of texts names the classes: labels are found by name
    where each is one of them, else they are places among them, from 0.

    Args:
        path: the archive.
        kind: "images" or "volumes"; None finds out.

    Raises:
        DataError: the archive cannot be read, holds pickled objects, or lacks images and labels.
    """
    arrays = _arrays(path)
    axes = arrays.get("axes")
    blocks = [
        (_as_samples(path, images, arrays[images], kind, axes), arrays[labels], part)
        for images, labels, part in _KEYS
        if images in arrays and labels in arrays
    ]
    if not blocks:
        raise DataError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; it needs x_train and y_train "
            "(and x_test, y_test), or x and y."
        )
    dataset = joined(str(path), blocks, arrays.get(_CLASSES))
    if "spacing" in arrays and isinstance(dataset.samples, VolumeArrays):
        try:
            dataset.samples.spacing = spacing_of(arrays["spacing"])
        except DataError as error:
            raise DataError(f"{path}: {error}.") from error
    return dataset


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an archive by their names."""
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds one array; save images and labels with np.savez.")
            members: dict[str, Any] = {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile archive can raise anything
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"Cannot read {path} as .npz without pickled objects: {reason}.") from error
    return {name: array for name, array in members.items() if isinstance(array, np.ndarray)}


def _as_samples(
    path: Path, name: str, array: NDArray[Any], kind: str | None, told: NDArray[Any] | None
) -> NDArray[Any]:
    """uint8 `(N, C, H, W)` of pictures, or numbers `(N, C, D, H, W)` of volumes."""
    if kind == "images" or (array.ndim < 4 and kind is None and told is None):
        return _as_pictures(path, name, array)
    try:
        axes = _axes(array, kind, told)
    except DataError as error:
        if array.ndim == 4 and told is None:
            return _as_pictures(path, name, array)
        raise DataError(f"{name} in {path}: {error}.") from error
    array, letters = (array, axes) if "C" in axes else (array[:, None], "C" + axes)
    return array.transpose(0, *(1 + letters.index(letter) for letter in "CDHW"))


def _axes(array: NDArray[Any], kind: str | None, told: NDArray[Any] | None) -> str:
    """Letters of the axes of one volume."""
    shape = array.shape[1:]
    if told is not None:
        return axes_of(told, shape)
    return "DHW" if kind == "volumes" and len(shape) == 3 else guessed_axes(shape)


def _as_pictures(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 `(N, C, H, W)` from an array of images in any allowed layout."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape[2:]:
        raise DataError(
            f"{name} in {path} has the shape {array.shape}; images must be (N, H, W), (N, H, W, C) "
            "or (N, C, H, W) with C 1 or 3, and volumes (N, D, H, W) or (N, C, D, H, W)."
        )
    if array.dtype == np.uint16 and array.max(initial=0) > 255:
        return (array >> 8).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16 and array.size:
        raise DataError(
            f"{name} in {path} has the type uint16 and no value above 255, all black in 16 bits; "
            "save it as uint8."
        )
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        raise DataError(
            f"{name} in {path} has the type {array.dtype}; images must be whole numbers 0 to 255, "
            "so save them as uint8 (from [0, 1]: (255 * x).round().astype('uint8'))."
        )
    return array.astype(np.uint8)
