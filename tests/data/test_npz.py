"""NumPy archives: every layout, and what hostile or odd ones say."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from convarium import data
from convarium.errors import DataError

RNG = np.random.default_rng(0)
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


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


def sentence(file: Path) -> str:
    """What opening a file says, which must be one sentence that names it."""
    with pytest.raises(DataError) as caught:
        data.open_dataset(file)
    text = str(caught.value)
    assert file.name in text
    assert "\n" not in text
    assert text.endswith(".")
    return text


def npy(shape: tuple[int, ...], content: bytes) -> bytes:
    """An .npy file whose header claims a shape, whatever follows."""
    out = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + content


def test_a_header_that_claims_8_pib_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", npy((2**53,), b"abc"))
        archive.writestr("y.npy", npy((2,), b"ab"))
    assert "Unable to allocate 8.00 PiB" in sentence(tmp_path / "d.npz")


def test_members_that_are_no_arrays_are_not_taken_for_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x", b"no array")
        archive.writestr("y.npy", npy((2,), b"ab"))
    assert "holds the arrays y; it needs" in sentence(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("offset", "value", "words"), [(6, 1, "encrypted"), (8, 99, "compression method")]
)
def test_encrypted_and_oddly_packed_members_are_refused(
    tmp_path: Path, offset: int, value: int, words: str
) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3, 3), np.uint8), y=np.arange(2))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    for mark, further in ((LOCAL, 0), (CENTRAL, 2)):
        start = content.find(mark)
        while start >= 0:
            content[start + offset + further] = value
            start = content.find(mark, start + 1)
    (tmp_path / "d.npz").write_bytes(content)
    assert words in sentence(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("labels", "classes", "wanted"),
    [
        ([10, 20, 10], ["10", "20"], [0, 1, 0]),  # all are names
        ([20, 10, 20], ["5", "10", "20"], [2, 1, 2]),
        ([1, 0, 1], ["a", "b"], [1, 0, 1]),  # none is a name: places
        (["b", "a", "b"], ["a", "b", "c"], [1, 0, 1]),
    ],
)
def test_labels_are_all_names_or_all_places(
    tmp_path: Path, labels: list[object], classes: list[str], wanted: list[int]
) -> None:
    x = np.zeros((3, 2, 2), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.array(labels), classes=np.array(classes))
    dataset = data.open_dataset(tmp_path / "d.npz")
    assert dataset.classes == tuple(classes)
    assert dataset.targets is not None
    assert dataset.targets.tolist() == wanted


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        ([10, 2], ["10", "a"], "the labels 2, 10"),  # 10 is a name, 2 is not, 10 no place
        ([0, -1], ["a", "b"], "the labels -1"),
        ([2**63, 0], ["a", "b"], "the labels 9223372036854775808"),
        (["a", "0"], ["a", "b"], "the labels 0 beside"),
        ([0, 1], ["a", "a"], "names the class 'a' twice"),
        ([0, 1], [0.0, 1.0], "class names of type float64"),
    ],
)
def test_labels_and_names_that_do_not_fit_are_one_sentence(
    tmp_path: Path, labels: list[object], classes: list[object], words: str
) -> None:
    y = np.array(labels, np.uint64 if labels[0] == 2**63 else None)
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 2, 2), np.uint8), y=y, classes=np.array(classes))
    assert words in sentence(tmp_path / "d.npz")


def test_8_bit_values_in_16_bits_are_not_turned_black(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (4, 3, 3)).astype(np.uint16)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(4))
    assert "save it as uint8" in sentence(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("arrays", "kept"),
    [
        ({"y": np.arange(3)}, True),
        ({"y": np.array(["a", "b", "c"])}, False),
        ({"y": np.arange(3), "classes": np.array(["0", "1", "2"])}, False),
        ({"y": np.arange(3), "classes": np.array(["cat", "b", "c"])}, True),
    ],
)
def test_only_names_of_one_character_forbid_mirroring(
    tmp_path: Path, arrays: dict[str, NDArray[np.generic]], kept: bool
) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2, 2), np.uint8), **arrays)
    assert data.open_dataset(tmp_path / "d.npz").mirrored is kept


def test_class_names_that_no_file_takes_are_written_out(tmp_path: Path) -> None:
    y = np.array(["a", "caf\udce9", "\ud800"])
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2, 2), np.uint8), y=y)
    names = data.open_dataset(tmp_path / "d.npz").classes
    assert set(names) == {"a", r"caf\xe9", r"\ud800"}
