"""Tables and files of texts: columns, encodings, what is left out, and what is refused."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from written import rows, write_csv

from convarium import data
from convarium.data.texts.reading import compared, decoded, is_empty
from convarium.errors import DataError, OptionError


def opened(path, **options) -> data.Dataset:
    return data.open_dataset(path, **{"text_column": "text", **options})


def test_csv_tsv_and_parquet_hold_the_same_texts(tmp_path):
    made = rows(9)
    write_csv(tmp_path / "a.csv", made)
    with open(tmp_path / "a.tsv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(made[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(made)
    pq.write_table(pa.Table.from_pylist(made), tmp_path / "a.parquet")
    found = [opened(tmp_path / f"a.{end}") for end in ("csv", "tsv", "parquet")]
    for each in found:
        assert each.kind == "texts"
        assert each.classes == ("garden", "harbour", "kitchen")
        assert [each.read(i) for i in range(9)] == [row["text"] for row in made]
        assert [each.name(i) for i in range(9)] == [row["id"] for row in made]
        names = [each.classes[k] for k in each.targets]
        assert names == [row["label"] for row in made]
    assert len({each.fingerprint() for each in found}) == 1


def test_several_text_columns_are_joined_and_quotes_line_ends_and_long_cells_kept(tmp_path):
    long = "word " * 40_000  # above the csv module's own limit of a cell
    made = [
        {"title": 'a "quoted" one', "body": "two\nlines", "label": "x"},
        {"title": "", "body": long.strip(), "label": "y"},
    ]
    found = data.open_dataset(
        write_csv(tmp_path / "a.csv", made), text_column=["title", "body"], label_column="label"
    )
    assert found.read(0) == 'a "quoted" one\ntwo\nlines'
    assert found.read(1) == long.strip()
    assert found.columns["text_column"] == ["title", "body"]
    limit = csv.field_size_limit()
    assert limit < 2**20, "the limit of other readers is put back"


def test_empty_texts_and_missing_labels_are_left_out_and_listed(tmp_path):
    made = rows(6)
    made[1]["text"], made[2]["label"] = "   ", ""
    made[4]["text"] = "\x01\x02"
    found = opened(write_csv(tmp_path / "a.csv", made))
    assert len(found) == 4
    told = {item.name: item.reason for item in found.skipped}
    assert told == {"t1": "the row has no text", "t2": "the row has no label"}
    survey = found.survey(max_broken=0.5)
    assert survey.broken.tolist() == [2]
    assert found.skipped[-1].name == "t4"
    assert found.skipped[-1].reason == "the text is empty"


def test_a_byte_order_mark_is_no_letter_and_another_encoding_is_named(tmp_path):
    made = rows(6)
    made[0]["text"] = "café"
    with_mark = opened(write_csv(tmp_path / "a.csv", made, "utf-8-sig"))
    assert with_mark.read(0) == "café"
    assert with_mark.name(0) == "t0"
    write_csv(tmp_path / "b.csv", made, "latin-1")
    with pytest.raises(DataError, match=r"as a table in UTF-8: .*0xe9.*save it as UTF-8"):
        opened(tmp_path / "b.csv")


def test_bytes_become_texts_by_their_mark_alone():
    text = "naïve café"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert decoded(text.encode(encoding)) == text
    with pytest.raises(DataError, match="0xEF at 2; save it as UTF-8"):
        decoded(text.encode("latin-1"))
    assert is_empty("\x00\ufeff \n")
    assert not is_empty("\x00a")
    assert compared("Two  WORDS,\n\x00ﬁne") == ["two", "words", ",", "fine"]


def test_files_in_class_folders_are_texts_where_that_is_said(tmp_path):
    for number, row in enumerate(rows(6)):
        folder = tmp_path / "docs" / row["label"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(row["text"])
    (tmp_path / "docs" / "garden" / "bad.txt").write_bytes(b"caf\xe9")
    (tmp_path / "docs" / "garden" / "picture.png").write_bytes(b"x")
    found = data.open_dataset(tmp_path / "docs", kind="texts")
    assert (found.kind, len(found)) == ("texts", 7)
    assert [item.reason for item in found.skipped] == ["not texts by its name"]
    found.survey(max_broken=0.5)
    assert found.skipped[-1].reason.startswith("not UTF-8: byte 0xE9 at 3")


def test_several_labels_have_the_separator_that_is_given(tmp_path):
    made = [
        {"text": "one", "tags": "red, new"},
        {"text": "two", "tags": "red"},
        {"text": "three", "tags": ""},
    ]
    path = write_csv(tmp_path / "a.csv", made)
    found = opened(path, label_column="tags", task="multilabel", separator=",")
    assert found.classes == ("new", "red")
    assert found.targets.tolist() == [[1, 1], [0, 1], [0, 0]]
    with pytest.raises(OptionError, match="separator"):
        opened(path, label_column="tags", separator=",")


def test_numbers_are_learnt_where_that_is_said(tmp_path):
    made = [{"text": f"text {k}", "price [EUR]": str(k / 2)} for k in range(4)]
    path = write_csv(tmp_path / "a.csv", made)
    found = opened(path, label_column="price [EUR]", task="regression")
    assert (found.classes, found.units) == (("price",), ("EUR",))
    assert np.allclose(found.targets[:, 0], [0, 0.5, 1, 1.5])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text_column": "txet"}, r"no column 'txet'.*Did you mean 'text'"),
        ({"label_column": "lable"}, r"no column 'lable'.*Did you mean 'label'"),
        ({"group_column": "patient"}, "no column 'patient'"),
        ({"label_column": "text"}, "'text' of .* both as a text and as a label"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path, options, words):
    path = write_csv(tmp_path / "a.csv", rows(3))
    with pytest.raises(DataError, match=words):
        opened(path, **options)


def test_texts_are_no_files_and_one_class_is_too_few(tmp_path):
    path = write_csv(tmp_path / "a.csv", rows(6))
    with pytest.raises(OptionError, match="path_column"):
        opened(path, path_column="id")
    with pytest.raises(OptionError, match="images are asked for"):
        opened(path, kind="images")
    alone = write_csv(tmp_path / "b.csv", [row for row in rows(9) if row["label"] == "garden"])
    with pytest.raises(DataError, match="1 class: 'garden'; a classifier needs two or more"):
        data.split(opened(alone))


def test_texts_to_predict_come_from_tables_or_files_with_names(tmp_path, monkeypatch):
    made = rows(4)
    made[2]["text"] = ""
    path = write_csv(tmp_path / "new.csv", made)
    found = data.open_inputs([path], kind="texts")
    assert [found.name(i) for i in range(len(found))] == ["t0", "t1", "t3"]
    assert [tuple(item) for item in found.skipped] == [("t2", "the row has no text")]
    by_label = data.open_inputs([path], kind="texts", columns={"id_column": "label"})
    assert by_label.name(0) == "garden"
    (tmp_path / "one.txt").write_text("a text")
    monkeypatch.chdir(tmp_path)
    files = data.open_inputs(["one.txt"], kind="texts")
    assert (files.name(0), files.read(0)) == ("one.txt", "a text")
    with pytest.raises(DataError, match="is a table, and other inputs are none"):
        data.open_inputs([path, "one.txt"], kind="texts")
