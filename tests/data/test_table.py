"""Tables of path and label."""

from __future__ import annotations

import os
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


def sentence(file: Path, **columns: str) -> str:
    """What opening a table says, which must be one sentence that names it."""
    with pytest.raises(DataError) as caught:
        data.open_dataset(file, **columns)
    text = str(caught.value)
    assert file.name in text
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_columns_of_the_same_name_are_not_silently_chosen_from(images: Path) -> None:
    (images / "t.csv").write_text("path,label,label\nin/0.png,a,b\n")
    assert "has 2 columns named 'label'; rename" in sentence(images / "t.csv")
    columns = [pa.array(["in/0.png"]), pa.array(["a"]), pa.array(["b"])]
    table = pa.Table.from_arrays(columns, names=["path", "label", "path"])
    pq.write_table(table, images / "t.parquet")
    assert "has 2 columns named 'path'; rename" in sentence(images / "t.parquet")


def test_columns_that_are_not_used_may_share_a_name(images: Path) -> None:
    (images / "t.csv").write_text("path,note,note,label\nin/0.png,x,y,a\n")
    assert data.open_dataset(images / "t.csv").classes == ("a",)


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("path", pa.array([b"in/0.png"]), "binary"),
        ("path", pa.array([3]), "int64"),
        ("path", pa.array([{"bytes": b"x", "path": "in/0.png"}]), "struct"),
        ("label", pa.array([{"name": "cat"}]), "struct"),
        ("label", pa.array([["cat"]]), "list"),
        ("label", pa.array([b"cat"]), "binary"),
    ],
)
def test_parquet_columns_of_other_types_do_not_become_names(
    images: Path, column: str, values: pa.Array, kind: str
) -> None:
    columns = {"path": pa.array(["in/0.png"]), "label": pa.array(["cat"]), column: values}
    pq.write_table(pa.table(columns), images / "t.parquet")
    text = sentence(images / "t.parquet")
    assert f"The column '{column}'" in text
    assert f"has the type {kind}" in text


def test_parquet_texts_may_be_stored_as_categories(images: Path) -> None:
    columns = {"path": ["in/0.png", "in/1.png"], "label": ["b", "a"]}
    table = pa.table({name: pa.array(v).dictionary_encode() for name, v in columns.items()})
    pq.write_table(table, images / "t.parquet")
    assert labels(data.open_dataset(images / "t.parquet")) == ["b", "a"]


def test_parquet_that_is_damaged_inside_is_one_sentence(images: Path) -> None:
    table = pa.table({"path": [f"in/{i}.png" for i in range(999)], "label": ["a"] * 999})
    pq.write_table(table, images / "t.parquet", compression="zstd")
    content = bytearray((images / "t.parquet").read_bytes())
    content[40:400] = bytes(360)
    (images / "t.parquet").write_bytes(content)
    assert "Cannot read" in sentence(images / "t.parquet")


@pytest.mark.timeout(30)
def test_a_pipe_in_a_table_does_not_wait_for_ever(images: Path) -> None:
    os.mkfifo(images / "in" / "pipe.png")
    (images / "t.csv").write_text("path,label\nin/pipe.png,a\nin/0.png,b\n")
    dataset = data.open_dataset(images / "t.csv")
    dataset.survey(max_broken=0.5)
    assert dataset.skipped == [data.Skipped("in/pipe.png", "not a regular file")]


def test_a_row_of_more_cells_than_columns_is_not_cut(images: Path) -> None:
    (images / "t.csv").write_text("path,label\nin/0.png,dog\n\nin/1.png,big, small,cat\n")
    text = sentence(images / "t.csv")
    assert "Row 2 of" in text
    assert "has 4 cells, and the table 2 columns" in text
    assert "double quotes" in text
    (images / "t.csv").write_text("path,label\nin/0.png,dog,\nin/1.png,cat, ,\nin/2.png,\n")
    assert labels(data.open_dataset(images / "t.csv")) == ["dog", "cat"]


def test_a_number_that_is_none_is_no_label(images: Path) -> None:
    table = pa.table({"path": ["in/0.png", "in/1.png"], "label": [1.0, float("nan")]})
    pq.write_table(table, images / "t.parquet")
    dataset = data.open_dataset(images / "t.parquet")
    assert dataset.classes == ("1.0",)
    assert [item.name for item in dataset.skipped] == ["in/1.png"]
