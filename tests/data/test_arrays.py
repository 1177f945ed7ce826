"""Arrays: IDX, .npz, CIFAR's binary layout, the digits."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convarium import data
from convarium.data.arrays import read_idx
from convarium.errors import DataError

RNG = np.random.default_rng(0)


def write_idx(file: Path, array: NDArray[np.uint8], *, cut: int = 0, packed: bool = False) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = head + array.tobytes()
    content = content[: len(content) - cut]
    file.write_bytes(gzip.compress(content) if packed else content)


def mnist_like(folder: Path, *, packed: bool = False) -> dict[str, NDArray[np.uint8]]:
    arrays = {}
    for prefix, n in (("train", 6), ("t10k", 3)):
        arrays[f"{prefix}-images-idx3-ubyte"] = RNG.integers(0, 256, (n, 5, 4), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = np.arange(n, dtype=np.uint8) % 3
    for name, array in arrays.items():
        write_idx(folder / (name + ".gz" * packed), array, packed=packed)
    return arrays


@pytest.mark.parametrize("packed", [False, True])
def test_idx_folder_with_its_parts(tmp_path: Path, packed: bool) -> None:
    arrays = mnist_like(tmp_path, packed=packed)
    dataset = data.open_dataset(tmp_path)
    assert len(dataset) == 9
    assert dataset.image_size == (5, 4)
    assert dataset.channels == 1
    assert dataset.given is not None
    assert dataset.given.tolist() == [0] * 6 + [2] * 3
    assert dataset.classes == ("0", "1", "2")
    assert dataset.name(0) == "train/0"
    assert dataset.name(8) == "test/2"
    last = arrays["t10k-images-idx3-ubyte"][2]
    assert (dataset.read(8)[:, :, 0] == last).all()


def test_one_idx_file_of_images_finds_its_labels(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    dataset = data.open_dataset(tmp_path / "t10k-images-idx3-ubyte")
    assert len(dataset) == 3
    assert dataset.given is None


def test_gzip_is_found_by_content_not_by_name(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (2, 3, 3), dtype=np.uint8)
    write_idx(tmp_path / "plainly-named", array, packed=True)
    assert (read_idx(tmp_path / "plainly-named") == array).all()


@pytest.mark.parametrize("start", [b"", b"\0\0\x08", b"\0\0\x0d\x01", b"\x89PNG", b"\0\0\x08\x09"])
def test_wrong_first_bytes_are_refused(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "x").write_bytes(start + bytes(3))
    with pytest.raises(DataError, match="does not begin like an IDX file"):
        read_idx(tmp_path / "x")


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_idx_file_is_refused(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path / "x", np.zeros((4, 3, 3), np.uint8), cut=5, packed=packed)
    with pytest.raises(DataError, match="4 x 3 x 3 = 36 bytes and holds 31"):
        read_idx(tmp_path / "x")


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    write_idx(tmp_path / "x", RNG.integers(0, 256, (9, 9, 9), dtype=np.uint8), packed=True)
    whole = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="Cannot read"):
        read_idx(tmp_path / "x")


def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    with pytest.raises(DataError, match="and holds 0"):
        read_idx(tmp_path / "x")


def test_other_numbers_of_images_and_labels_are_refused(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(2, np.uint8))
    with pytest.raises(DataError, match="3 test images and 2 labels"):
        data.open_dataset(tmp_path)


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="no labels beside it; put"):
        data.open_dataset(tmp_path)


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 1), (6, 5, 4, 3), (6, 3, 5, 4)])
def test_npz_in_every_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 1, 0, 1, 5, 5]))
    dataset = data.open_dataset(tmp_path / "d.npz")
    assert dataset.image_size == (5, 4)
    assert dataset.classes == ("0", "1", "5")
    wanted = x.transpose(0, 2, 3, 1) if shape[1:] == (3, 5, 4) else x.reshape(6, 5, 4, -1)
    assert (dataset.read(5) == wanted[5]).all()
    assert dataset.given is None


@pytest.mark.parametrize("keys", ["x_{} y_{}", "{}_images {}_labels"])
def test_npz_with_given_parts(tmp_path: Path, keys: str) -> None:
    arrays = {}
    for n, word in ((4, "train"), (3, "val"), (2, "test")):
        images, labels = keys.format(word, word).split()
        arrays[images] = np.zeros((n, 3, 3), np.uint8)
        arrays[labels] = np.array(["b", "a", "b", "a"][:n])[:, None]
    np.savez_compressed(tmp_path / "d.npz", **arrays)
    dataset = data.open_dataset(tmp_path / "d.npz")
    assert dataset.classes == ("a", "b")
    assert dataset.given is not None
    assert dataset.given.tolist() == [0] * 4 + [1] * 3 + [2] * 2
    assert dataset.targets is not None
    assert dataset.targets.tolist() == [1, 0, 1, 0, 1, 0, 1, 1, 0]


def test_npz_names_its_classes(tmp_path: Path) -> None:
    x = np.zeros((2, 3, 3), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([2, 0]), classes=np.array(["a", "b", "c"]))
    dataset = data.open_dataset(tmp_path / "d.npz")
    assert dataset.classes == ("a", "b", "c")
    np.savez(tmp_path / "d.npz", x=x, y=np.array([3, 0]), classes=np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="3 classes, and has the labels 3"):
        data.open_dataset(tmp_path / "d.npz")


def test_16_bit_arrays_follow_the_rule_of_16_bit_files(tmp_path: Path) -> None:
    x = np.array([[[257 * 5, 65535]]], np.uint16)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0]))
    assert data.open_dataset(tmp_path / "d.npz").read(0).tolist() == [[[5], [255]]]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.zeros(3)}, "holds the arrays a; it needs x_train"),
        ({"x": np.zeros((2, 3, 3)), "y": np.zeros(2, int)}, "save them as uint8"),
        ({"x": np.full((2, 3, 3), 300), "y": np.zeros(2, int)}, "save them as uint8"),
        ({"x": np.zeros((2, 5, 5, 4), np.uint8), "y": np.zeros(2, int)}, "shape"),
        ({"x": np.zeros((2, 3), np.uint8), "y": np.zeros(2, int)}, "shape"),
        ({"x": np.zeros((2, 3, 3), np.uint8), "y": np.zeros(3, int)}, "2 images and 3 labels"),
        ({"x": np.zeros((2, 3, 3), np.uint8), "y": np.zeros(2)}, "whole numbers or texts"),
        ({"x": np.zeros((0, 3, 3), np.uint8), "y": np.zeros(0, int)}, "no images"),
    ],
)
def test_npz_of_another_kind_says_what_is_wrong(
    tmp_path: Path, arrays: dict[str, NDArray[np.uint8]], words: str
) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=words):
        data.open_dataset(tmp_path / "d.npz")


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('code was run')",))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.array([Hostile()], dtype=object), y=np.array([0]))
    with pytest.raises(DataError, match="without pickled objects"):
        data.open_dataset(tmp_path / "d.npz")
    (tmp_path / "e.npz").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(DataError, match="without pickled objects"):
        data.open_dataset(tmp_path / "e.npz")


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((9, 3, 3), np.uint8), y=np.zeros(9, int))
    content = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="Cannot read"):
        data.open_dataset(tmp_path / "d.npz")


def cifar_records(n: int, labels: int) -> tuple[bytes, NDArray[np.uint8]]:
    pixels = RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    heads = [bytes([7] * (labels - 1) + [i % 10]) for i in range(n)]
    return b"".join(h + p.tobytes() for h, p in zip(heads, pixels, strict=True)), pixels


def test_cifar10_in_the_binary_layout(tmp_path: Path) -> None:
    pixels = []
    for name, n in (("data_batch_1", 3), ("data_batch_2", 2), ("test_batch", 2)):
        content, images = cifar_records(n, 1)
        (tmp_path / f"{name}.bin").write_bytes(content)
        pixels.append(images)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
    (tmp_path / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    dataset = data.open_dataset(tmp_path)
    assert dataset.classes == tuple(names)
    assert dataset.targets is not None
    assert dataset.targets.tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert dataset.given is not None
    assert dataset.given.tolist() == [0] * 5 + [2] * 2
    assert (dataset.read(4) == pixels[1][1].transpose(1, 2, 0)).all()
    assert dataset.name(6) == "test/1"


def test_cifar100_is_read_by_its_fine_labels(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(cifar_records(4, 2)[0])
    (tmp_path / "test.bin").write_bytes(cifar_records(2, 2)[0])
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"fine{i:02}" for i in range(100)))
    dataset = data.open_dataset(tmp_path)
    assert dataset.targets is not None
    assert dataset.targets.tolist() == [0, 1, 2, 3, 0, 1]
    assert len(dataset.classes) == 100
    assert dataset.channels == 3


def test_a_truncated_cifar_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(cifar_records(2, 1)[0][:-1])
    with pytest.raises(DataError, match="6145 bytes, not a multiple of 3073"):
        data.open_dataset(tmp_path)


def test_a_cifar_label_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x63" + bytes(3072))
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="2 classes, and has the labels 99"):
        data.open_dataset(tmp_path)


def test_the_digits_are_the_real_ones() -> None:
    from sklearn.datasets import load_digits

    dataset, bunch = data.open_dataset("digits"), load_digits()
    assert len(dataset) == 1797
    assert dataset.image_size == (8, 8)
    assert dataset.channels == 1
    assert dataset.classes == tuple("0123456789")
    assert dataset.targets is not None
    assert (dataset.targets == bunch.target).all()
    wanted = [[round(v * 255 / 16) for v in row] for row in bunch.images[7].tolist()]
    assert dataset.read(7)[:, :, 0].tolist() == wanted
    assert dataset.mirrored is False
