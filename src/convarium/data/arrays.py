"""Pictures that come as arrays: IDX (as MNIST ships), .npz, CIFAR's binary files, the digits.

Nothing here is ever unpickled.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.folder import TEST, TRAIN, VALIDATION
from convarium.data.samples import ArraySamples
from convarium.data.table import number_classes
from convarium.errors import DataError, import_extra

_PART_NAMES = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
_IDX_PARTS = (("train", TRAIN), ("t10k", TEST), ("test", TEST))
_NPZ_KEYS = (
    ("x_train", "y_train", TRAIN),
    ("x_val", "y_val", VALIDATION),
    ("x_test", "y_test", TEST),
    ("train_images", "train_labels", TRAIN),
    ("val_images", "val_labels", VALIDATION),
    ("test_images", "test_labels", TEST),
    ("x", "y", None),
    ("images", "labels", None),
)
_CIFAR_SIDE = 32
_CIFAR_PIXELS = 3 * _CIFAR_SIDE * _CIFAR_SIDE

Block = tuple[NDArray[Any], NDArray[Any], int | None]


def open_digits() -> Dataset:
    """The 1,797 handwritten 8 x 8 digits that scikit-learn ships; 0..16 becomes 0..255.

    Raises:
        MissingExtraError: scikit-learn is not installed.

    References:
        Alpaydin, Kaynak (1998), "Optical recognition of handwritten digits", UCI repository.
    """
    bunch = import_extra("sklearn.datasets", "digits").load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    dataset = _joined("digits", [(images[:, None], np.asarray(bunch.target), None)])
    dataset.mirrored = False
    return dataset


def open_idx(path: Path) -> Dataset:
    """IDX files: a folder with train-images-idx3-ubyte and t10k-..., or one file of images.

    Plain or gzip, found by content. The labels lie beside the images, with `labels-idx1` where the
    images have `images-idx3`.

    Raises:
        DataError: a file is missing, cut short, or is not what its first bytes say.
    """
    if path.is_file():
        return _joined(str(path), [(*_idx_pair(path), None)])
    found = [(_idx_file(path, prefix), part) for prefix, part in _IDX_PARTS]
    blocks = [(*_idx_pair(file), part) for file, part in found if file is not None]
    return _joined(str(path), blocks)


def idx_folder(path: Path) -> bool:
    """Whether a folder holds the images of an IDX data set."""
    return _idx_file(path, "train") is not None


def read_idx(path: Path) -> NDArray[np.uint8]:
    """One IDX array of unsigned bytes, plain or gzip.

    Raises:
        DataError: the file is no IDX file of unsigned bytes, or its length is not what it says.
    """
    data = _bytes(path)
    rank = data[3] if len(data) >= 4 else 0
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= rank <= 4 or len(data) < 4 + 4 * rank:
        raise DataError(
            f"{path} does not begin like an IDX file of unsigned bytes (0, 0, 8, rank); get the "
            "file again."
        )
    shape = [int(side) for side in np.frombuffer(data, ">u4", rank, 4)]
    expected, found = int(np.prod(shape, dtype=object)), len(data) - 4 - 4 * rank
    if expected != found:
        raise DataError(
            f"{path} should hold {' x '.join(map(str, shape))} = {expected} bytes and holds "
            f"{found}; get the file again."
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def open_npz(path: Path) -> Dataset:
    """A NumPy archive: x_train, y_train, x_test, y_test (and x_val, y_val); or x and y.

    `train_images` and `train_labels`, or `images` and `labels`, do as well. Images are `(N, H, W)`,
    `(N, H, W, C)` or `(N, C, H, W)` with C 1 or 3, in whole numbers 0 to 255 (16 bit: the high
    byte). Labels are whole numbers or texts. An array `classes` of texts names the classes.

    Raises:
        DataError: the archive cannot be read, holds pickled objects, or lacks images and labels.
    """
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds one array; save images and labels with np.savez.")
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"Cannot read {path} as .npz without pickled objects: {error}.") from error
    blocks = [
        (_as_pictures(path, images, arrays[images]), arrays[labels], part)
        for images, labels, part in _NPZ_KEYS
        if images in arrays and labels in arrays
    ]
    if not blocks:
        raise DataError(
            f"{path} holds the arrays {', '.join(arrays) or 'none'}; it needs x_train and y_train "
            "(and x_test, y_test), or x and y."
        )
    return _joined(str(path), blocks, arrays.get("classes"))


def cifar_folder(path: Path) -> bool:
    """Whether a folder holds CIFAR-10 or CIFAR-100 in the binary layout."""
    return bool(_cifar_files(path))


def open_cifar(path: Path) -> Dataset:
    """CIFAR-10 or CIFAR-100 in the binary layout; CIFAR-100 by its fine labels.

    A record is the label (CIFAR-100: the coarse and the fine label) and 3 x 32 x 32 bytes.

    Raises:
        DataError: a file is cut short, or a label has no name.

    References:
        Krizhevsky (2009), "Learning multiple layers of features from tiny images".
    """
    hundred = (path / "train.bin").exists() and not any(path.glob("data_batch_*.bin"))
    width = (2 if hundred else 1) + _CIFAR_PIXELS
    blocks: list[Block] = []
    for file, part in _cifar_files(path):
        data = np.fromfile(file, np.uint8)
        if not len(data) or len(data) % width:
            raise DataError(
                f"{file} has {len(data)} bytes, not a multiple of {width}; get the file again."
            )
        records = data.reshape(-1, width)
        shape = (len(records), 3, _CIFAR_SIDE, _CIFAR_SIDE)
        images = records[:, width - _CIFAR_PIXELS :].reshape(shape)
        blocks.append((images, records[:, width - _CIFAR_PIXELS - 1], part))
    names = path / ("fine_label_names.txt" if hundred else "batches.meta.txt")
    words = names.read_text(encoding="utf-8").split() if names.exists() else None
    return _joined(str(path), blocks, None if words is None else np.array(words))


def _joined(source: str, blocks: Sequence[Block], classes: NDArray[Any] | None = None) -> Dataset:
    """One data set from blocks of images `(N, C, H, W)`, labels `(N,)` and the part, if given."""
    shapes = {images.shape[1:] for images, _, _ in blocks}
    if len(shapes) > 1:
        raise DataError(f"{source} holds images of the shapes {sorted(shapes)}; one is needed.")
    for images, labels, part in blocks:
        if len(images) != labels.size:
            word = "" if part is None else f"{_PART_NAMES[part]} "
            raise DataError(
                f"{source} holds {len(images)} {word}images and {labels.size} labels; each image "
                "needs one label."
            )
    labels = np.concatenate([labels.reshape(-1) for _, labels, _ in blocks])
    if not len(labels):
        raise DataError(f"{source} holds no images; give at least one for each class.")
    names, targets = _numbered(source, labels, classes)
    images = np.concatenate([images for images, _, _ in blocks])
    parts = [(part, len(images)) for images, _, part in blocks]
    merged: dict[str, int] = {}
    for part, length in parts:
        word = "image" if part is None else _PART_NAMES[part]
        merged[word] = merged.get(word, 0) + length
    given = [np.full(length, -1 if part is None else part, np.int8) for part, length in parts]
    return Dataset(
        ArraySamples(images, list(merged.items())),
        source=source,
        classes=names,
        targets=targets,
        given=np.concatenate(given) if all(part is not None for part, _ in parts) else None,
    )


def _numbered(
    source: str, labels: NDArray[Any], classes: NDArray[Any] | None
) -> tuple[list[str], NDArray[np.int64]]:
    """Class names and class numbers from labels that are whole numbers or texts."""
    if labels.dtype.kind not in "iuU":
        raise DataError(
            f"{source} has labels of type {labels.dtype}; they must be whole numbers or texts."
        )
    values, targets = np.unique(labels, return_inverse=True)
    if classes is None:
        names = [str(value) for value in values]
        order = number_classes(names)
        place = np.array([order.index(name) for name in names], np.int64)
        return order, place[targets.reshape(-1)]
    words = [str(word) for word in classes.reshape(-1)]
    wrong = [str(v) for v in values if not (str(v) in words or _in_range(v, len(words)))]
    if wrong:
        raise DataError(
            f"{source} names {len(words)} classes, and has the labels {', '.join(wrong[:5])} beside"
            " them; name every class."
        )
    if labels.dtype.kind == "U":
        return words, np.array([words.index(str(v)) for v in values], np.int64)[targets]
    return words, labels.astype(np.int64)


def _in_range(value: Any, n: int) -> bool:
    return not isinstance(value, str) and 0 <= int(value) < n


def _as_pictures(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 `(N, C, H, W)` from an array of images in any allowed layout."""
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape[2:]:
        raise DataError(
            f"{name} in {path} has the shape {array.shape}; images must be (N, H, W), (N, H, W, C) "
            "or (N, C, H, W) with C 1 or 3."
        )
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        raise DataError(
            f"{name} in {path} has the type {array.dtype}; images must be whole numbers 0 to 255, "
            "so save them as uint8 (from [0, 1]: (255 * x).round().astype('uint8'))."
        )
    return array.astype(np.uint8)


def _idx_file(folder: Path, prefix: str) -> Path | None:
    for dash in ("-", "."):
        for suffix in ("", ".gz"):
            file = folder / f"{prefix}-images{dash}idx3-ubyte{suffix}"
            if file.is_file():
                return file
    return None


def _idx_pair(images: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    stem = name.removesuffix(".gz")
    found = [images.parent / each for each in (name, stem, f"{stem}.gz")]
    labels = next((file for file in found if file.is_file() and file != images), None)
    if labels is None:
        raise DataError(f"{images} has no labels beside it; put {found[0]} there.")
    pixels, numbers = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or numbers.ndim != 1:
        raise DataError(
            f"{images} and {labels} have {pixels.ndim} and {numbers.ndim} axes; images need 3 and "
            "labels 1."
        )
    return pixels[:, None], numbers


def _bytes(path: Path) -> bytes:
    """The file's bytes, unpacked where it is gzip by content."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Cannot read {path}: {error}; get the file again.") from error


def _cifar_files(folder: Path) -> list[tuple[Path, int]]:
    train, test = sorted(folder.glob("data_batch_*.bin")), folder / "test_batch.bin"
    if not train and _is_cifar100(folder):
        train, test = [folder / "train.bin"], folder / "test.bin"
    files = [(file, TRAIN) for file in train]
    return [*files, (test, TEST)] if files and test.is_file() else files


def _is_cifar100(folder: Path) -> bool:
    file = folder / "train.bin"
    if not file.is_file():
        return False
    named = (folder / "fine_label_names.txt").is_file()
    return named or file.stat().st_size % (2 + _CIFAR_PIXELS) == 0
