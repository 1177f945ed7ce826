"""Folders of class folders: what is listed, what is skipped, and which parts are given."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convarium import data
from convarium.cli import main
from convarium.errors import DataError


def picture(file: Path, value: int = 0, size: tuple[int, int] = (4, 4)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value % 256, value // 256, 7)).save(file)


def listing(dataset: data.Dataset) -> list[tuple[str, str]]:
    assert dataset.targets is not None
    labels = [dataset.classes[label] for label in dataset.targets]
    return [(dataset.name(i), label) for i, label in enumerate(labels)]


def reasons(dataset: data.Dataset) -> dict[str, str]:
    return {item.name: item.reason for item in dataset.skipped}


def test_classes_come_from_folder_names_and_nested_files_belong_to_them(tmp_path: Path) -> None:
    for name in ("dog/b.png", "cat/z.png", "cat/a.png", "cat/sub/deep/c.png"):
        picture(tmp_path / name)
    dataset = data.open_dataset(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert listing(dataset) == [
        ("cat/a.png", "cat"),
        ("cat/z.png", "cat"),
        ("cat/sub/deep/c.png", "cat"),
        ("dog/b.png", "dog"),
    ]
    assert dataset.given is None
    assert dataset.skipped == []


def test_hidden_files_checkpoints_empty_folders_and_other_files_are_skipped(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png", "b/.ipynb_checkpoints/2.png", "a/.hidden.png"):
        picture(tmp_path / name)
    picture(tmp_path / ".git" / "x.png")
    picture(tmp_path / "__MACOSX" / "x.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "README.md").write_text("x")
    dataset = data.open_dataset(tmp_path)
    assert [name for name, _ in listing(dataset)] == ["a/1.png", "b/2.png"]
    assert reasons(dataset) == {
        ".git": "hidden",
        "__MACOSX": "hidden",
        "a/.hidden.png": "hidden",
        "b/.ipynb_checkpoints": "hidden",
        "empty": "a class folder without images or volumes",
        "a/notes.txt": "neither an image nor a volume by its name",
        "README.md": "not in a class folder",
    }


def test_an_empty_class_folder_does_not_shift_the_numbers(tmp_path: Path) -> None:
    picture(tmp_path / "b" / "1.png")
    picture(tmp_path / "c" / "2.png")
    (tmp_path / "a").mkdir()
    dataset = data.open_dataset(tmp_path)
    assert dataset.classes == ("b", "c")
    assert dataset.targets is not None
    assert dataset.targets.tolist() == [0, 1]


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_given_parts_are_found_by_their_usual_names(tmp_path: Path, word: str) -> None:
    for i, part in enumerate(("train", word, "test")):
        picture(tmp_path / part / "a" / "1.png", 2 * i)
        picture(tmp_path / part / "b" / "2.png", 2 * i + 1)
    dataset = data.open_dataset(tmp_path)
    assert dataset.given is not None
    part_of = {
        name.split("/")[0]: int(k)
        for (name, _), k in zip(listing(dataset), dataset.given, strict=True)
    }
    assert part_of == {"train": 0, word: 1, "test": 2}


def test_a_class_missing_in_validation_does_not_shift_the_numbers(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/2.png", "train/c/3.png", "val/a/4.png", "val/c/5.png"):
        picture(tmp_path / name)
    assert dict(listing(data.open_dataset(tmp_path)))["val/c/5.png"] == "c"


def test_classes_named_like_parts_stay_classes(tmp_path: Path) -> None:
    for name in ("train/1.png", "car/2.png", "bus/3.png"):
        picture(tmp_path / name)
    assert data.open_dataset(tmp_path).classes == ("bus", "car", "train")


def test_train_and_test_without_class_folders_stay_classes(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "1.png")
    picture(tmp_path / "test" / "2.png")
    assert data.open_dataset(tmp_path).classes == ("test", "train")


def test_loops_of_links_end(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b" / "2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = data.open_dataset(tmp_path)
    names = [name for name, _ in listing(dataset)]
    assert names.count("a/1.png") == 1
    assert len(names) < 10
    assert "a link to a folder that is listed already" in reasons(dataset).values()
    assert "no such file" in {item.reason for item in _surveyed(dataset).skipped}


def _surveyed(dataset: data.Dataset) -> data.Dataset:
    dataset.survey(max_broken=1)
    return dataset


def test_a_linked_class_folder_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "store" / "1.png")
    picture(tmp_path / "set" / "b" / "2.png")
    (tmp_path / "set" / "a").symlink_to(tmp_path / "store", target_is_directory=True)
    assert data.open_dataset(tmp_path / "set").classes == ("a", "b")


def test_names_that_are_not_utf8_can_be_read_and_stored(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b" / "2.png")
    odd = os.fsencode(tmp_path / "b") + b"/\xff.png"
    os.rename(tmp_path / "b" / "2.png", odd)
    dataset = data.open_dataset(tmp_path)
    assert dataset.name(1) == r"b/\xff.png"
    assert dataset.read(1).shape == (4, 4, 3)
    assert dataset.name(1).encode("utf-8")


def test_training_on_names_that_are_not_utf8_ends_in_a_run(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for i in range(16):
        picture(root / "ab"[i % 2] / f"{i:02}.png", i, (32, 32))
    for name in (b"/loose\xff.txt", b"/a/odd\xff.txt", b"/b/\xfe.png"):
        Path(os.fsdecode(os.fsencode(root) + name)).write_bytes(b"no image")
    out = tmp_path / "run"
    words = ["train", str(root), "--out", str(out), "--epochs", "1", "--model", "lenet5"]
    assert main([*words, "--size", "32"]) == 0
    card = json.loads((out / "card.json").read_bytes())
    assert card["data"]["source"] == f"{tmp_path}/caf\\xe9"
    skipped = [json.loads(row)["name"] for row in (out / "skipped.jsonl").read_text().splitlines()]
    assert sorted(skipped) == [r"a/odd\xff.txt", r"b/\xfe.png", r"loose\xff.txt"]


def test_a_folder_beside_the_parts_does_not_turn_them_into_classes(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"):
        picture(tmp_path / name)
    picture(tmp_path / "unlabeled" / "5.png")
    with pytest.raises(DataError, match=r"parts test and train, .* 'unlabeled'; move") as caught:
        data.open_dataset(tmp_path)
    assert "\n" not in str(caught.value)
    os.rename(tmp_path / "unlabeled", tmp_path / ".unlabeled")
    dataset = data.open_dataset(tmp_path)
    assert dataset.classes == ("a", "b")
    assert dataset.given is not None


@pytest.mark.timeout(30)
def test_a_pipe_does_not_wait_for_ever(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b" / "2.png")
    for name in ("a/pipe.png", "pipe.png"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "b" / "link.png").symlink_to(tmp_path / "pipe.png")
    dataset = data.open_dataset(tmp_path)
    assert len(dataset) == 2
    assert reasons(dataset) == dict.fromkeys(
        ("pipe.png", "a/pipe.png", "b/link.png"), "not a regular file"
    )


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        data.open_dataset(tmp_path)


def test_a_folder_of_loose_images_says_what_to_do(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    with pytest.raises(DataError, match="1 images or volumes but no class folders; put"):
        data.open_dataset(tmp_path)


def test_class_folders_without_images_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="no images or volumes; put"):
        data.open_dataset(tmp_path)


def test_the_survey_tells_size_colour_and_copies(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", 5, (6, 4))
    picture(tmp_path / "a" / "2.bmp", 5, (6, 4))
    Image.new("L", (6, 4), 3).save(tmp_path / "a" / "3.png")
    dataset = data.open_dataset(tmp_path)
    survey = dataset.survey()
    assert survey.digests[0] == survey.digests[1] != survey.digests[2]
    assert dataset.image_size == (4, 6)
    assert dataset.channels == 3
    assert survey.heights.tolist() == [4, 4, 4]
    picture(tmp_path / "a" / "4.png", 5, (5, 4))
    assert data.open_dataset(tmp_path).image_size is None


def test_grey_files_alone_have_one_channel(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("L", (6, 4), 3).save(tmp_path / "a" / "3.png")
    assert data.open_dataset(tmp_path).channels == 1


def test_unreadable_images_are_skipped_with_their_reason(tmp_path: Path) -> None:
    for i in range(19):
        picture(tmp_path / "a" / f"{i:02}.png", i)
    (tmp_path / "a" / "19.png").write_bytes(b"no image")
    dataset = data.open_dataset(tmp_path)
    assert dataset.survey().broken.tolist() == [19]
    assert dataset.skipped == [data.Skipped("a/19.png", "not an image of a known format")]
    dataset.survey()
    assert len(dataset.skipped) == 1
    with pytest.raises(DataError, match=r"Cannot read a/19\.png: not an image"):
        dataset.read(19)


def test_too_many_unreadable_images_stop_with_counts_and_reasons(tmp_path: Path) -> None:
    for i in range(8):
        picture(tmp_path / "a" / f"{i}.png", i)
    for i in (8, 9):
        (tmp_path / "a" / f"{i}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 of 10 images .* 10% \(a/8\.png: not an image"):
        data.open_dataset(tmp_path).survey()
    assert len(data.open_dataset(tmp_path).survey(max_broken=0.2).broken) == 2


def test_the_fingerprint_follows_pixels_and_labels_not_the_place(tmp_path: Path) -> None:
    for root in ("one", "two", "three"):
        picture(tmp_path / root / "a" / "1.png", 1)
        picture(tmp_path / root / "b" / "2.png", 3 if root == "three" else 2)
    one, two, three = (
        data.open_dataset(tmp_path / root).fingerprint() for root in ("one", "two", "three")
    )
    assert one == two != three
    assert len(one) == 32


def test_listing_does_not_depend_on_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in np.random.default_rng(0).permutation(20):
        picture(tmp_path / f"c{i % 3}" / f"{i:02}.png")
    forward = listing(data.open_dataset(tmp_path))
    assert forward == sorted(forward)
