"""Vectors as Parquet: types, names, pieces, and what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from convarium import data, predict
from convarium.data.texts.samples import Texts
from convarium.errors import DataError, OptionError


@pytest.fixture
def dataset():
    return data.Dataset(Texts(["one", "two", "three"]).called("abc"), source="made")


def pieces(vectors):
    yield np.array([0, 1]), vectors[:2]
    yield np.array([2]), vectors[2:]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_the_vectors_with_their_names(tmp_path, dataset, dtype):
    vectors = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    path = tmp_path / "v.parquet"
    assert predict.write_vectors(path, dataset, pieces(vectors), dtype=dtype) == (3, 5)
    table = pq.read_table(path)
    kind = pa.float32() if dtype == "float32" else pa.float16()
    assert table.schema.field("vector").type == pa.list_(kind, 5)
    assert table["id"].to_pylist() == ["a", "b", "c"]
    found = np.stack(table["vector"].to_numpy()).astype(dtype)
    assert np.array_equal(found, vectors.astype(dtype))


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, dataset):
    vectors = np.full((3, 2), 1e6, np.float32)
    with pytest.raises(OptionError, match="too large for float16"):
        predict.write_vectors(tmp_path / "v.parquet", dataset, pieces(vectors), dtype="float16")
    with pytest.raises(OptionError, match=r"must end in \.parquet"):
        predict.check_vectors_name(tmp_path / "v.csv")
    with pytest.raises(OptionError, match="dtype"):
        predict.write_vectors(tmp_path / "v.parquet", dataset, pieces(vectors), dtype="int8")
    with pytest.raises(DataError, match="None of the inputs"):
        predict.write_vectors(tmp_path / "v.parquet", dataset, iter(()))
    assert list(tmp_path.iterdir()) == []
