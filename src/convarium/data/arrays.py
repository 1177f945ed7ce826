"""Pictures that come as arrays: IDX (as MNIST ships), CIFAR's binary files, the digits."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.classes import may_be_mirrored, numbered
from convarium.data.dataset import Dataset
from convarium.data.given import PARTS, TEST, TRAIN
from convarium.data.names import shown
from convarium.data.samples import ArraySamples
from convarium.data.volumes.samples import VolumeArrays
from convarium.errors import DataError, import_extra

_IDX_PARTS = (("train", TRAIN), ("t10k", TEST), ("test", TEST))
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
    dataset = joined("digits", [(images[:, None], np.asarray(bunch.target), None)])
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
        return joined(str(path), [(*_idx_pair(path), None)])
    found = [(_idx_file(path, prefix), part) for prefix, part in _IDX_PARTS]
    blocks = [(*_idx_pair(file), part) for file, part in found if file is not None]
    return joined(str(path), blocks)


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


def cifar_folder(path: Path) -> bool:
    """Whether a folder holds CIFAR-10 or CIFAR-100 in the binary layout."""
    return bool(_cifar_files(path))


def open_cifar(path: Path) -> Dataset:
    """CIFAR-10 or CIFAR-100 in the binary layout; CIFAR-100 by its fine labels.

    A record is the label (CIFAR-100: the coarse and the fine label) and 3 x 32 x 32 bytes.

    Raises:
        DataError: a file is cut short, a label has no name, or the names cannot be read.

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
    return joined(str(path), blocks, np.array(_words(names)) if names.is_file() else None)


def joined(source: str, blocks: Sequence[Block], classes: NDArray[Any] | None = None) -> Dataset:
    """One data set from blocks of images `(N, C, H, W)`, labels `(N,)` and the part, if given.

    Plain numbers as labels do not tell digits from clothes, so they may be mirrored; names do.

    Args:
        source: what the user named.
        blocks: images or volumes, labels and part number, of each part.
        classes: names of the classes, where there are any.

    Raises:
        DataError: images, labels and names do not fit one another.
    """
    shapes = {images.shape[1:] for images, _, _ in blocks}
    if len(shapes) > 1:
        raise DataError(f"{source} holds images of the shapes {sorted(shapes)}; one is needed.")
    for images, labels, part in blocks:
        if len(images) != labels.size:
            word = "" if part is None else f"{PARTS[part]} "
            raise DataError(
                f"{source} holds {len(images)} {word}images and {labels.size} labels; each image "
                "needs one label."
            )
    labels = np.concatenate([labels.reshape(-1) for _, labels, _ in blocks])
    if not len(labels):
        raise DataError(f"{source} holds no images; give at least one for each class.")
    names, targets = _numbered(source, labels, classes)
    named = classes is not None or labels.dtype.kind == "U"
    images = np.concatenate([images for images, _, _ in blocks])
    parts = [(part, len(images)) for images, _, part in blocks]
    merged: dict[str, int] = {}
    for part, length in parts:
        word = "image" if part is None else PARTS[part]
        merged[word] = merged.get(word, 0) + length
    given = [np.full(length, -1 if part is None else part, np.int8) for part, length in parts]
    return Dataset(
        (VolumeArrays if images.ndim == 5 else ArraySamples)(images, list(merged.items())),
        source=source,
        classes=names,
        targets=targets,
        given=np.concatenate(given) if all(part is not None for part, _ in parts) else None,
        mirrored=may_be_mirrored(names) if named else True,
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
    names = [shown(str(value)) for value in values]
    if classes is None:
        order, place = numbered(
            np.arange(len(names)), {name: number for number, name in enumerate(names)}
        )
        return order, place[targets.reshape(-1)]
    words = _class_names(source, classes)
    known = {word: number for number, word in enumerate(words)}
    by_name = labels.dtype.kind == "U" or known.keys() >= set(names)
    chosen = [known.get(name, -1) for name in names] if by_name else [int(v) for v in values]
    wrong = [n for n, number in zip(names, chosen, strict=True) if not 0 <= number < len(words)]
    if wrong:
        raise DataError(
            f"{source} names {len(words)} classes, and has the labels {', '.join(wrong[:5])} beside"
            " them; name every class."
        )
    return words, np.array(chosen, np.int64)[targets.reshape(-1)]


def _class_names(source: str, classes: NDArray[Any]) -> list[str]:
    if classes.dtype.kind not in "iuU":
        raise DataError(
            f"{source} has class names of type {classes.dtype}; they must be texts, in the order "
            "of the class numbers."
        )
    words = [shown(str(word)) for word in classes.reshape(-1)]
    twice = [word for word, times in Counter(words).items() if times > 1]
    if twice:
        raise DataError(
            f"{source} names the class {twice[0]!r} twice; give each class a name of its own."
        )
    return words


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not text in UTF-8 ({error.reason}); get the file again."
        ) from error


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
    train, test = (
        sorted(filter(Path.is_file, folder.glob("data_batch_*.bin"))),
        folder / "test_batch.bin",
    )
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
