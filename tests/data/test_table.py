"""Tables of path and label."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from convarium import data
from convarium.errors import DataError, OptionError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for i in range(4):
        Image.new("L", (2, 2), i).save(tmp_path / "in" / f"{i}.png")
    return tmp_path


def labels(dataset: data.Dataset) -> list[str]:
    assert dataset.targets is not None
    return [dataset.classes[label] for label in dataset.targets]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("columns", [("path", "label"), ("File", "Class"), ("image", "target")])
def test_columns_are_found_by_their_usual_names(
    images: Path, delimiter: str, columns: tuple[str, str]
) -> None:
    rows = [("extra", *columns), ("x", "in/0.png", "dog"), ("y", "in/1.png", "cat")]
    text = "\ufeff" + "\n".join(delimiter.join(row) for row in rows) + "\n\n"
    (images / "t.csv").write_text(text, encoding="utf-8")
    dataset = data.open_dataset(images / "t.csv")
    assert dataset.classes == ("cat", "dog")
    assert labels(dataset) == ["dog", "cat"]
    assert dataset.read(1).tolist() == [[[1], [1]], [[1], [1]]]
    assert dataset.given is None
    assert dataset.groups is None


def test_quoted_cells_with_commas_and_line_ends(images: Path) -> None:
    (images / "t.csv").write_text('path,label\nin/0.png,"a, b"\n"in/1.png","c\nd"\n')
    assert data.open_dataset(images / "t.csv").classes == ("a, b", "c\nd")


def test_parquet_with_whole_number_labels_keeps_their_order(images: Path) -> None:
    table = pa.table({"file": [f"in/{i}.png" for i in range(3)], "label": [10, 9, 2]})
    pq.write_table(table, images / "t.parquet")
    dataset = data.open_dataset(images / "t.parquet")
    assert dataset.classes == ("2", "9", "10")
    assert labels(dataset) == ["10", "9", "2"]


def test_parts_and_groups_from_columns(images: Path) -> None:
    (images / "t.csv").write_text(
        "path,label,split,patient\nin/0.png,a,train,x\nin/1.png,b,Valid,y\n"
        "in/2.png,a,test,x\nin/3.png,b,,\n"
    )
    dataset = data.open_dataset(images / "t.csv", group_column="patient")
    assert dataset.given is not None
    assert dataset.given.tolist() == [0, 1, 2, -1]
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 1, 0, 2]


def test_rows_without_path_or_label_are_skipped_and_listed(images: Path) -> None:
    (images / "t.csv").write_text("path,label\nin/0.png,a\n,b\nin/1.png,\nin/2.png\nin/3.png,b\n")
    dataset = data.open_dataset(images / "t.csv")
    assert len(dataset) == 2
    assert dataset.skipped == [
        data.Skipped("row 2", "the row has no path"),
        data.Skipped("in/1.png", "the row has no label"),
        data.Skipped("in/2.png", "the row has no label"),
    ]


def test_a_missing_label_column_lists_the_columns(images: Path) -> None:
    (images / "t.csv").write_text("path,labels,age\nin/0.png,a,3\n")
    with pytest.raises(DataError, match=r"name it with --label-column; its columns are: path, lab"):
        data.open_dataset(images / "t.csv")


def test_a_wrong_column_name_gets_the_close_match(images: Path) -> None:
    (images / "t.csv").write_text("path,label,diagnosis\nin/0.png,a,b\n")
    with pytest.raises(DataError, match=r"no column 'diagnosys'.*Did you mean 'diagnosis'\?"):
        data.open_dataset(images / "t.csv", label_column="diagnosys")
    assert data.open_dataset(images / "t.csv", label_column="diagnosis").classes == ("b",)


def test_an_unknown_part_names_the_row(images: Path) -> None:
    (images / "t.csv").write_text("path,label,split\nin/0.png,a,train\nin/1.png,a,holdout\n")
    with pytest.raises(DataError, match=r"Row 2 .* 'holdout'"):
        data.open_dataset(images / "t.csv")


@pytest.mark.parametrize("content", [b"", b"path,label\n", b"path,label\n,\n"])
def test_a_table_without_rows_is_one_sentence(images: Path, content: bytes) -> None:
    (images / "t.csv").write_bytes(content)
    with pytest.raises(DataError):
        data.open_dataset(images / "t.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_rubbish_is_one_sentence(images: Path, name: str) -> None:
    (images / name).write_bytes(b"\xff\xfe\x00rubbish\x81")
    with pytest.raises(DataError, match="Cannot read"):
        data.open_dataset(images / name)


def test_columns_for_a_folder_are_not_silently_ignored(images: Path) -> None:
    with pytest.raises(OptionError, match="tables only"):
        data.open_dataset(images, label_column="x")


def test_absolute_paths_work(images: Path, tmp_path: Path) -> None:
    (images / "t.csv").write_text(f"path,label\n{images}/in/2.png,a\n")
    assert data.open_dataset(images / "t.csv").read(0)[0, 0, 0] == 2


def test_missing_files_are_found_by_the_survey(images: Path) -> None:
    rows = "".join(f"in/{i}.png,a\n" for i in range(5))
    (images / "t.csv").write_text("path,label\n" + rows)
    dataset = data.open_dataset(images / "t.csv")
    dataset.survey(max_broken=0.5)
    assert dataset.skipped == [data.Skipped("in/4.png", "no such file")]
