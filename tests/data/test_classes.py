"""Class names: their order and the rule about mirroring do not depend on the container."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convarium import data
from convarium.data.classes import in_order


def open_both(root: Path, classes: list[str]) -> tuple[data.Dataset, data.Dataset]:
    """The same pictures as a folder of class folders and as a table."""
    rows = ["path,label"]
    for number, label in enumerate(classes):
        (root / "set" / label).mkdir(parents=True)
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(root / "set" / label / "1.png")
        rows.append(f"set/{label}/1.png,{label}")
    (root / "t.csv").write_text("\n".join(rows))
    return data.open_dataset(root / "set"), data.open_dataset(root / "t.csv")


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [
        ([str(k) for k in range(11)], [str(k) for k in range(11)]),
        (["10", "9", "b"], ["10", "9", "b"]),
        (["1", "01", "0"], ["0", "01", "1"]),
    ],
)
def test_folders_and_tables_number_classes_alike(
    tmp_path: Path, classes: list[str], wanted: list[str]
) -> None:
    folder, table = open_both(tmp_path, classes)
    assert folder.classes == table.classes == tuple(wanted)
    for dataset in (folder, table):
        assert dataset.targets is not None
        names = [dataset.classes[label] for label in dataset.targets]
        assert [dataset.name(i).split("/")[-2] for i in range(len(dataset))] == names


def test_an_empty_class_folder_does_not_change_the_order_of_numbers(tmp_path: Path) -> None:
    folder, _ = open_both(tmp_path, ["9", "10"])
    (tmp_path / "set" / "misc").mkdir()
    assert data.open_dataset(tmp_path / "set").classes == folder.classes == ("9", "10")


@pytest.mark.parametrize(
    ("classes", "kept"), [("0123", False), ("abc", False), ("01", True), (["cat", "b", "c"], True)]
)
def test_folders_and_tables_agree_on_mirroring(
    tmp_path: Path, classes: list[str], kept: bool
) -> None:
    folder, table = open_both(tmp_path, list(classes))
    assert folder.mirrored is table.mirrored is kept


@given(st.lists(st.text("019a", min_size=1), unique=True), st.randoms())
def test_the_order_does_not_depend_on_where_names_came_from(
    words: list[str], random: st.random_module
) -> None:
    mixed = list(words)
    random.shuffle(mixed)
    assert in_order(mixed) == in_order(words)
