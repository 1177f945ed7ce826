"""The list of what was skipped: it behaves like a list and stays small."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium.data import Skipped
from convarium.data.skipping import SkipList

ITEMS = st.lists(st.builds(Skipped, st.text(max_size=8), st.sampled_from(["hidden", "a", "b"])))


@given(ITEMS, ITEMS)
def test_it_behaves_like_a_list(first: list[Skipped], more: list[Skipped]) -> None:
    found = SkipList(first)
    kept = found.copy()
    found.extend(more)
    wanted = [*first, *more]
    assert kept == first
    assert found == wanted
    assert list(found) == wanted
    assert len(found) == len(wanted)
    assert (found == [*wanted, Skipped("x", "y")]) is False
    assert found[1:4] == wanted[1:4]
    assert [found[-k - 1] for k in range(len(found))] == wanted[::-1]
    assert pickle.loads(pickle.dumps(found)) == wanted


@pytest.mark.parametrize("place", [2, -3])
def test_a_place_outside_is_an_error(place: int) -> None:
    with pytest.raises(IndexError):
        SkipList([Skipped("a", "x"), Skipped("b", "x")])[place]


def test_texts_are_cleaned_where_they_are_made() -> None:
    item = Skipped("caf\udce9", "no \ud800")
    assert item == (r"caf\xe9", r"no \ud800")
    assert isinstance(pickle.loads(pickle.dumps(item)), Skipped)


def test_a_million_skipped_files_stay_under_80_mb() -> None:
    """Measured on 20,000 names of 54 letters, times fifty."""
    n = 20_000
    tracemalloc.start()
    skipped = SkipList(
        Skipped(f"train/class_{i % 1000:04d}/image_with_a_longer_name_{i:07d}.jpeg.txt", "hidden")
        for i in range(n)
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(skipped) == n
    assert skipped[n - 1].name.endswith("0019999.jpeg.txt")
    assert 50 * peak < 80e6
