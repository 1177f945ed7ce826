"""Corrections of labels: what is written is read, and nothing else is taken."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convarium import data
from convarium.data.corrections import (
    corrected,
    digest_of,
    read_corrections,
    write_corrections,
)
from convarium.errors import DataError, OptionError

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@settings(max_examples=30)
@given(st.dictionaries(WORDS, WORDS))
def test_what_is_written_is_read(tmp_path_factory, corrections):
    file = tmp_path_factory.mktemp("made") / "corrections.csv"
    write_corrections(file, corrections)
    assert read_corrections(file) == corrections


def test_samples_get_other_labels_and_all_others_keep_theirs():
    plain = data.open_dataset("digits")
    names = {plain.name(0): "7", plain.name(5): "5"}
    found = data.open_dataset("digits", corrections=names)
    expected = np.array(plain.targets)
    expected[0] = 7
    np.testing.assert_array_equal(found.targets, expected)
    assert dict(found.corrections) == names
    assert found.fingerprint() != plain.fingerprint()
    assert data.open_dataset("digits", corrections={}).fingerprint() == plain.fingerprint()


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        ({"image/9999": "3"}, "no sample that the corrections name: image/9999"),
        ({f"x{k}": "3" for k in range(9)}, "x0, x1, x2, ..."),
        ({"image/0": "eleven"}, "'eleven', which is no class"),
    ],
)
def test_unknown_names_and_labels_are_refused(corrections, words):
    with pytest.raises(DataError, match=words):
        data.open_dataset("digits", corrections=corrections)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,label\na,b\n", "lacks a path"),
        ("path,label\na\n", "lacks a path or a label"),
        ("path,label\n,b\n", "Row 2"),
        ("path,label\na,b\na,c\n", "give a two labels"),
        ("path,label,digest\na,b,1.23457E+15\n", "row 2 .* as if a spreadsheet had changed it"),
        ("path,label,digest\na,b,x123\n", "16 hexadecimal digits"),
        ('path,label\n"a,b\n', "cannot be read as CSV"),
        (b"\xff\xfe\x00", "cannot be read as CSV"),
    ],
)
def test_files_that_are_no_corrections_are_refused(tmp_path, text, words):
    file = tmp_path / "corrections.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=words):
        read_corrections(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_corrections(tmp_path / "none.csv")


def test_a_label_never_reaches_another_sample_of_its_name(tmp_path):
    table = tmp_path / "reviews.csv"
    table.write_text("text,label\ngood,yes\nbad,no\nfine,yes\nawful,no\n")
    dataset = data.open_dataset(table, text_column="text")
    names = {dataset.name(1): "yes"}
    file = tmp_path / "corrections.csv"
    digest = digest_of(dataset, 1)
    write_corrections(file, names, {dataset.name(1): digest})
    for text in (file.read_text(), f"path,label,digest\n{dataset.name(1)},yes,{digest}\n"):
        file.write_text(text)  # with the letter that keeps it a word in a spreadsheet, and without
        again = data.open_dataset(table, text_column="text", corrections=file)
        assert dict(again.corrections) == names
    table.write_text("text,label\nnew,no\ngood,yes\nbad,no\nfine,yes\nawful,no\n")
    with pytest.raises(DataError, match=r"1 sample of .* changed after .*: row"):
        data.open_dataset(table, text_column="text", corrections=file)


def test_the_split_has_the_digest_of_each_sample(tmp_path):
    parts = data.split(data.open_dataset("digits"))
    parts.write(tmp_path / "splits.parquet")
    rows = pq.read_table(tmp_path / "splits.parquet").to_pylist()
    dataset = parts.train.dataset
    assert all(row["digest"] == digest_of(dataset, row["id"]) for row in rows[::50])


def test_only_one_class_a_sample_can_be_corrected(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("text,score\na b,1.5\nc d,2.5\n")
    numbers = data.open_dataset(table, text_column="text", label_column="score", task="regression")
    with pytest.raises(OptionError, match="one class each"):
        corrected(numbers, {"1": "2"})
