"""Arrays: IDX, CIFAR's binary layout, the digits."""

from __future__ import annotations

import gzip
import os
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


def test_names_of_cifar_that_are_not_utf8_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    (tmp_path / "batches.meta.txt").write_bytes(b"caf\xe9\nb\n")
    with pytest.raises(DataError, match=r"batches\.meta\.txt is not text in UTF-8") as caught:
        data.open_dataset(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(30)
def test_a_pipe_among_the_files_of_cifar_does_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(cifar_records(4, 1)[0])
    os.mkfifo(tmp_path / "data_batch_2.bin")
    assert len(data.open_dataset(tmp_path)) == 4


def test_numbers_as_labels_do_not_forbid_mirroring(tmp_path: Path) -> None:
    mnist_like(tmp_path)
    assert data.open_dataset(tmp_path).mirrored is True
