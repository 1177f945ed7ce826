"""Names in one buffer: nothing is lost, and a million are cheap."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.data import Dataset
from convarium.data.dataset import Survey
from convarium.data.names import Names
from convarium.data.samples import FileSamples


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_names_come_back(words: list[str]) -> None:
    names = pickle.loads(pickle.dumps(Names.of(words)))
    assert [names[i] for i in range(len(names))] == words
    assert [names.path(i) for i in range(len(names))] == words


@pytest.mark.parametrize("i", [-1, 2, 99])
def test_an_index_outside_is_an_error(i: int) -> None:
    with pytest.raises(IndexError):
        Names.of(["a", "b"])[i]


def generated(n: int) -> Iterator[str]:
    for i in range(n):
        yield f"train/class_{i % 1000:04d}/image_with_a_longer_name_{i:08d}.jpeg"


def test_memory_of_a_million_files_stays_under_200_mb() -> None:
    """Measured on 20,000 names with all that a surveyed, labelled data set holds, times fifty."""
    n = 20_000
    tracemalloc.start()
    names = Names.of(generated(n))
    dataset = Dataset(
        FileSamples("/data", names),
        source="generated",
        classes=tuple(map(str, range(1000))),
        targets=np.arange(n) % 1000,
        groups=np.arange(n),
        given=np.zeros(n, np.int8),
    )
    sizes = np.zeros(n, np.int32), np.zeros(n, np.int32)
    dataset._survey = Survey(np.ones(n, np.uint64), *sizes, np.zeros(0, np.int64), 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert dataset.name(n - 1).endswith("00019999.jpeg")
    assert 50 * peak < 200e6
