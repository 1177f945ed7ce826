"""What a data set holds, against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convarium import data
from convarium.data.samples import ArraySamples
from convarium.errors import DataError


def save(path: Path, seed: int, shape: tuple[int, ...] = (10, 12, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        save(tmp_path / "train" / "ape" / f"{number}.png", number)
    for number in range(3):
        save(tmp_path / "train" / "bee" / f"{number}.png", 10 + number, (20 + number, 9, 3))
    save(tmp_path / "train" / "bee" / "copy.png", 0)  # of ape/0
    save(tmp_path / "test" / "ape" / "again.png", 1)  # of train/ape/1
    save(tmp_path / "test" / "bee" / "own.png", 99)
    (tmp_path / "test" / "bee" / "broken.png").write_bytes(b"no image")
    (tmp_path / "test" / "bee" / "notes.txt").write_text("x")
    return tmp_path


def test_counts_copies_and_what_is_left_out(folder: Path) -> None:
    found = data.overview(data.open_dataset(folder))
    assert found.samples == 11
    assert found.unreadable == 1
    assert found.classes == {"ape": 5, "bee": 5}
    assert found.parts == {"train": 8, "test": 3}
    assert found.heights == (10, 10, 22)
    assert found.widths == (9, 12, 12)
    assert found.channels == 3
    assert {frozenset(names) for names in found.copies} == {
        frozenset({"train/ape/0.png", "train/bee/copy.png"}),
        frozenset({"train/ape/1.png", "test/ape/again.png"}),
    }
    assert (found.contradicting, found.crossing) == (1, 1)
    assert {item.name for item in found.skipped} == {"test/bee/broken.png", "test/bee/notes.txt"}
    assert found.fingerprint == data.open_dataset(folder).fingerprint()


def test_numbers_have_their_range() -> None:
    samples = ArraySamples(np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), [("image", 3)])
    targets = np.array([[1.5, 0], [2.5, 0], [5, 3]], np.float32)
    dataset = data.Dataset(
        samples,
        source="made",
        classes=("length", "age"),
        targets=targets,
        task="regression",
        units=("mm", ""),
    )
    found = data.overview(dataset)
    assert found.classes == {}
    assert found.numbers == {"length": (1.5, 3.0, 5.0), "age": (0.0, 1.0, 3.0)}
    assert data.target_in_words(dataset, targets[0]) == "length 1.5 mm; age 0"


def test_labels_are_counted_one_by_one() -> None:
    samples = ArraySamples(np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), [("image", 3)])
    targets = np.array([[1, 1], [0, 1], [0, 0]], np.float32)
    dataset = data.Dataset(
        samples, source="made", classes=("sea", "sun"), targets=targets, task="multilabel"
    )
    assert data.overview(dataset).classes == {"sea": 1, "sun": 2}
    assert [data.target_in_words(dataset, row) for row in targets] == [
        "sea; sun",
        "sun",
        "no label",
    ]


def test_unlabelled_images_have_no_classes() -> None:
    samples = ArraySamples(np.zeros((3, 1, 2, 2), np.uint8), [("image", 3)])
    found = data.overview(data.Dataset(samples, source="made"))
    assert (found.classes, found.numbers, found.parts) == ({}, {}, {})
    assert [len(names) for names in found.copies] == [3]
    assert found.contradicting == 0


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="cannot be read"):
        data.overview(data.open_dataset(tmp_path))
