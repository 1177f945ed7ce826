"""Label columns of other tasks: several labels, 0 and 1 columns, numbers with units."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convarium import data
from convarium.data.labels import SetCells
from convarium.errors import DataError, OptionError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(60):
        Image.new("L", (4, 4), 4 * i).save(tmp_path / f"{i}.png")
    return tmp_path


def table(folder: Path, header: str, cells: list[str], name: str = "t.csv") -> Path:
    lines = [f"path,{header}", *(f"{i}.png,{cell}" for i, cell in enumerate(cells))]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def test_several_labels_in_a_cell_and_an_empty_cell_is_none(folder: Path) -> None:
    path = table(folder, "label", ["sky; sea", "sea", "", "sea|tree", "sky;;sky ;"])
    dataset = data.open_dataset(path, task="multilabel")
    assert dataset.task == "multilabel"
    assert dataset.classes == ("sea", "sky", "tree")
    expected = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert dataset.targets.tolist() == expected
    assert dataset.targets.dtype == np.float32
    assert not dataset.skipped


NAMES = st.lists(st.sampled_from(["a", "b", "c 1", "10", "9", "\u00e4"]), max_size=6)


@given(st.lists(NAMES, min_size=1, max_size=12), st.sampled_from([";", "|", " ; "]))
def test_sets_of_names_come_back_as_they_were_written(rows, separator) -> None:
    cells = SetCells("tags")
    for row in [*rows, ["a"]]:
        assert cells.add([separator.join(row)]) is None
    found = cells.labels()
    for row, target in zip(rows, found.targets, strict=False):
        assert {found.classes[k] for k in np.flatnonzero(target)} == set(row)


def test_columns_of_0_and_1_are_labels(folder: Path) -> None:
    path = table(folder, "sky,sea", ["1,0", "0,1", "true,FALSE", "1.0,0", *["0,0"] * 30, ",1"])
    dataset = data.open_dataset(path, task="multilabel", label_column=["sea", "sky"])
    assert dataset.classes == ("sea", "sky")
    assert dataset.targets[:4].tolist() == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert len(dataset) == 34
    assert dataset.skipped[0].reason == "'' in the column 'sky' is neither 0 nor 1"
    one = data.open_dataset(path, task="multilabel", label_column="sea")
    assert one.classes == ("sea",)
    assert one.targets[:3].tolist() == [[0], [1], [0]]


def test_numbers_have_names_and_units_from_their_columns(folder: Path) -> None:
    path = table(folder, "width [mm],age", ["1.5,3", "-2e-3,4", "7,5"])
    dataset = data.open_dataset(path, task="regression", label_column=["width [mm]", "age"])
    assert (dataset.classes, dataset.units) == (("width", "age"), ("mm", ""))
    np.testing.assert_array_equal(dataset.targets, np.float32([[1.5, 3], [-2e-3, 4], [7, 5]]))
    assert not dataset.mirrored
    assert "numbers" in repr(dataset)


def test_numbers_of_parquet_are_the_columns(folder: Path) -> None:
    values = np.random.default_rng(0).normal(size=20)
    columns = {"file": [f"{i}.png" for i in range(20)], "value": values}
    pq.write_table(pa.table(columns), folder / "t.parquet")
    dataset = data.open_dataset(folder / "t.parquet", task="regression")
    np.testing.assert_array_equal(dataset.targets[:, 0], values.astype(np.float32))


def test_rows_without_a_number_are_listed_and_too_many_are_an_error(folder: Path) -> None:
    good = [str(i / 7) for i in range(30)]
    dataset = data.open_dataset(table(folder, "label", [*good, "n/a", "inf"]), task="regression")
    assert len(dataset) == 30
    assert [item.name for item in dataset.skipped] == ["30.png", "31.png"]
    assert dataset.skipped[0].reason == "'n/a' in the column 'label' is no number"
    bad = table(folder, "label", [*good, *["n/a"] * 4])
    with pytest.raises(DataError, match=r"4 of 34 rows .*30\.png: 'n/a' in the column"):
        data.open_dataset(bad, task="regression")


def test_decimal_numbers_are_not_silently_taken_for_classes(folder: Path) -> None:
    decimals = table(folder, "label", [f"{i}.5" for i in range(12)])
    with pytest.raises(DataError, match="12 different decimal numbers in 12 rows; say --task"):
        data.open_dataset(decimals)
    assert len(data.open_dataset(decimals, task="classification").classes) == 12
    assert len(data.open_dataset(decimals, task="regression").classes) == 1
    few = table(folder, "label", ["0.5", "1.5"] * 6)
    assert data.open_dataset(few).classes == ("0.5", "1.5")
    whole = table(folder, "label", [str(i) for i in range(12)])
    assert len(data.open_dataset(whole).classes) == 12


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"task": "regresion"}, OptionError, "Did you mean 'regression'"),
        ({"label_column": ["a", "b"]}, DataError, "--task multilabel .* or --task regression"),
        ({"label_column": ["a", "a"], "task": "regression"}, DataError, "'a' is named twice"),
        ({"label_column": ["a", "c"], "task": "regression"}, DataError, "no column 'c'"),
        ({"label_column": "none", "task": "multilabel"}, DataError, "no label in any row"),
        ({"label_column": ["x [m]", "x [s]"], "task": "regression"}, DataError, "share a name"),
    ],
)
def test_what_cannot_be_labels_is_one_sentence(folder: Path, options, error, words) -> None:
    path = table(folder, "a,b,none,x [m],x [s]", ["1,0,,1,2", "0,1,,3,4"])
    with pytest.raises(error, match=words):
        data.open_dataset(path, **options)


def test_only_tables_have_labels_of_other_tasks() -> None:
    with pytest.raises(OptionError, match="takes its labels from a table, and digits is not one"):
        data.open_dataset("digits", task="multilabel")
    assert data.open_dataset("digits", task="classification").task == "classification"


def test_the_card_has_the_moments_of_the_training_samples_only(folder: Path) -> None:
    values = np.random.default_rng(1).normal(5, 3, 60)
    path = table(folder, "label [m]", [f"{value:.6f}" for value in values])
    dataset = data.open_dataset(path, task="regression", label_column="label [m]")
    parts = data.split(dataset)
    assert parts.counts == {"train": 42, "validation": 9, "test": 9}
    card = data.build_card(parts, data.fit_preprocessing(parts.train))
    assert json.loads(json.dumps(card)) == card
    exact = parts.train.targets.astype(np.float64)
    assert card["targets"]["units"] == ["m"]
    assert card["targets"]["mean"] == pytest.approx(exact.mean(0).tolist())
    assert card["targets"]["std"] == pytest.approx(exact.std(0).tolist())
    assert card["classes"] == ["label"]
    assert parts.class_counts == {}
    row = next(parts.rows())
    assert float(row[2]) == pytest.approx(float(dataset.targets[row[0], 0]), rel=1e-6)


def test_a_number_that_never_changes_cannot_be_learnt(folder: Path) -> None:
    dataset = data.open_dataset(table(folder, "label", ["3"] * 20), task="regression")
    with pytest.raises(DataError, match="'label' is 3 in every row"):
        data.split(dataset)


def test_labels_are_matched_by_name(folder: Path) -> None:
    path = table(folder, "label", ["b;a", "b", ""])
    dataset = data.open_dataset(path, task="multilabel")
    matched = data.match_classes(dataset, ("c", "b", "a"), task="multilabel")
    assert matched.targets.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(DataError, match="1 label that the model was not trained on: 'a'"):
        data.match_classes(dataset, ("b",))
    with pytest.raises(DataError, match="read for multilabel and the model is for regression"):
        data.match_classes(dataset, ("b", "a"), task="regression")


def test_numbers_are_matched_by_name_and_unit(folder: Path) -> None:
    path = table(folder, "w [mm],h", ["1,2", "3,4"])
    dataset = data.open_dataset(path, task="regression", label_column=["w [mm]", "h"])
    matched = data.match_classes(dataset, ("h", "w"), task="regression", units=("", "mm"))
    assert matched.targets.tolist() == [[2, 1], [4, 3]]
    with pytest.raises(DataError, match=r"'w' is in mm in .* and in cm in the card"):
        data.match_classes(dataset, ("h", "w"), units=("", "cm"))
    with pytest.raises(DataError, match="lacks numbers that the model gives: 'd'"):
        data.match_classes(dataset, ("h", "w", "d"), units=("", "mm", ""))


def test_targets_that_do_not_fit_the_names_are_refused(folder: Path) -> None:
    samples = data.open_dataset("digits").samples
    with pytest.raises(DataError, match="2 columns do not fit 3 names"):
        data.Dataset(
            samples,
            source="made",
            classes=("a", "b", "c"),
            targets=np.zeros((len(samples), 2), np.float32),
            task="multilabel",
        )


def test_fingerprints_see_every_label(folder: Path) -> None:
    one = data.open_dataset(table(folder, "label", ["a;b", "b"]), task="multilabel")
    two = data.open_dataset(table(folder, "label", ["a", "b;a"]), task="multilabel")
    assert one.fingerprint() != two.fingerprint()
