"""Opening data sets and inputs: which kind is found, and what is said where nothing is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from convarium import data
from convarium.errors import DataError, OptionError


def picture(file: Path, value: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (3, 2), value).save(file, "PNG")


def names(dataset: data.Dataset) -> list[str]:
    return [dataset.name(i) for i in range(len(dataset))]


def test_a_missing_path_is_one_sentence_with_the_close_match(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"no file or folder .*Did you mean 'photos'\?") as caught:
        data.open_dataset(tmp_path / "photo")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="Did you mean 'digits'"):
        data.open_dataset("digit")


def test_an_unknown_kind_of_file_says_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(b"x")
    with pytest.raises(DataError, match="not a kind of data that is known; give a folder"):
        data.open_dataset(tmp_path / "x.pkl")


def test_a_name_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"File name too long; check its name") as caught:
        data.open_dataset(tmp_path / ("x" * 300))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no file or folder"):
        data.open_inputs([tmp_path / ("x" * 300)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "closed" / "inner").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    try:
        for name in ("closed", "closed/inner"):
            with pytest.raises(DataError, match="Permission denied; check its name"):
                data.open_dataset(tmp_path / name)
    finally:
        (tmp_path / "closed").chmod(0o700)


@pytest.mark.timeout(30)
def test_a_pipe_as_source_or_input_does_not_wait_for_ever(tmp_path: Path) -> None:
    for name in ("t.csv", "d.npz", "a.png"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataError, match="neither a folder nor a regular file"):
            data.open_dataset(tmp_path / name)
    with pytest.raises(DataError, match="not a regular file"):
        data.open_inputs([tmp_path / "a.png"]).read(0)


def test_a_source_that_is_not_utf8_can_be_stored(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    picture(folder / "a.png")
    (folder / "t.csv").write_text("path,label\na.png,x\n")
    shown = f"{tmp_path}/caf\\xe9"
    assert data.open_dataset(folder / "t.csv").source == f"{shown}/t.csv"
    assert data.open_inputs([folder]).source == shown
    assert data.open_dataset(folder / "t.csv").read(0).shape == (2, 3, 1)


def test_a_folder_goes_before_a_built_in_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "digits" / "a" / "1.png")
    monkeypatch.chdir(tmp_path)
    assert data.open_dataset("digits").classes == ("a",)


def test_columns_for_a_built_in_name_are_not_silently_ignored() -> None:
    with pytest.raises(OptionError, match="tables only"):
        data.open_dataset("digits", group_column="writer")


def test_inputs_are_files_folders_and_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.dat", "new/b.png", "new/a.png", "deep/x/y/z.png", "pat/1.png", "pat/2.png"):
        picture(tmp_path / name)
    (tmp_path / "deep" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    dataset = data.open_inputs(["one.dat", "new", tmp_path / "deep", "pat/*.png"])
    deep = f"{tmp_path}/deep/x/y/z.png"
    assert names(dataset) == ["one.dat", "new/a.png", "new/b.png", deep, "pat/1.png", "pat/2.png"]
    assert dataset.targets is None
    assert dataset.classes == ()
    (reason,) = [item.reason for item in dataset.skipped]
    assert reason == "neither an image nor a volume by its name"
    monkeypatch.chdir("/")
    assert dataset.read(0).shape == (2, 3, 1)


def test_a_name_with_pattern_letters_is_a_file_first(tmp_path: Path) -> None:
    picture(tmp_path / "a[1].png")
    assert names(data.open_inputs([tmp_path / "a[1].png"])) == [f"{tmp_path}/a[1].png"]


def test_patterns_reach_into_folders(tmp_path: Path) -> None:
    picture(tmp_path / "x" / "y" / "1.png")
    assert len(data.open_inputs([f"{tmp_path}/**/*.png"])) == 1


@pytest.mark.parametrize("item", ["absent.png", "absent/*.png"])
def test_inputs_that_are_not_there_are_one_sentence(tmp_path: Path, item: str) -> None:
    with pytest.raises(DataError, match="no file fits it as a pattern; check the name"):
        data.open_inputs([tmp_path / item])


def test_a_folder_without_images_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No images or volumes in .*; name files"):
        data.open_inputs([tmp_path])
    with pytest.raises(DataError, match="no inputs"):
        data.open_inputs([])


def test_classes_are_matched_by_name_not_by_number(tmp_path: Path) -> None:
    picture(tmp_path / "dog" / "1.png")
    picture(tmp_path / "cat" / "2.png")
    dataset = data.match_classes(data.open_dataset(tmp_path), ("zebra", "dog", "cat", "bird"))
    assert dataset.classes == ("zebra", "dog", "cat", "bird")
    assert dataset.targets is not None
    assert dataset.targets.tolist() == [2, 1]
    assert dataset.name(0) == "cat/2.png"


def test_unknown_classes_stop_with_the_list(tmp_path: Path) -> None:
    for name in ("dogs", "cat", "wolf"):
        picture(tmp_path / name / "1.png")
    with pytest.raises(DataError, match=r"2 classes .* 'dogs', 'wolf'; .* mean 'dog'\?"):
        data.match_classes(data.open_dataset(tmp_path), ("cat", "dog"))
