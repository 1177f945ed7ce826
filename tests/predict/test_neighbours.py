"""Neighbours against NumPy and scikit-learn, and what vectors are worth against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convarium.errors import DataError, OptionError
from convarium.predict import build_index, index_recall, nearest, vector_quality


def drawn(n, length=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, length)).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_they_are_scikit_learns(metric):
    from sklearn.metrics.pairwise import pairwise_kernels
    from sklearn.neighbors import NearestNeighbors

    vectors = drawn(70)
    found = nearest(vectors, np.array([3, 60]), k=5, metric=metric)
    if metric == "dot":
        scores = pairwise_kernels(vectors, metric="linear")
        np.fill_diagonal(scores, -np.inf)
        expected = np.argsort(-scores, axis=1)[[3, 60], :5]
    else:
        known = NearestNeighbors(n_neighbors=6, metric=metric).fit(vectors)
        distances, expected = known.kneighbors(vectors[[3, 60]])
        distances, expected = distances[:, 1:], expected[:, 1:]
        scores = 1 - distances if metric == "cosine" else -distances
        assert np.allclose(found.scores, scores, atol=1e-5)
    assert np.array_equal(found.places, expected)


def test_blocks_give_what_one_block_gives(monkeypatch):
    vectors = drawn(40)
    whole = nearest(vectors, k=7)
    monkeypatch.setattr("convarium.predict.neighbours._BLOCK", 6)
    monkeypatch.setattr("convarium.predict.neighbours._QUERIES", 9)
    in_blocks = nearest(vectors, k=7)
    assert np.array_equal(in_blocks.places, whole.places)
    assert np.allclose(in_blocks.scores, whole.scores, atol=1e-6)
    assert not (whole.places == np.arange(40)[:, None]).any()


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 12), k=st.integers(1, 20), copies=st.booleans())
def test_no_vector_is_its_own_neighbour_nor_twice_in_a_list(n, k, copies):
    vectors = np.ones((n, 3), np.float32) if copies else drawn(n, 3)
    found = nearest(vectors, k=k)
    assert found.places.shape == (n, min(k, n - 1))
    for row, places in enumerate(found.places):
        assert row not in places
        assert len(set(places.tolist())) == len(places)


def test_the_graph_finds_nearly_all_and_is_kept(tmp_path):
    pytest.importorskip("faiss")
    vectors = drawn(600, 8)
    path = tmp_path / "items.faiss"
    index = build_index(vectors, path=path)
    assert index_recall(vectors, index) > 0.95
    again = build_index(vectors, path=path)
    rows = np.arange(50)
    exact = nearest(vectors, rows, 5)
    found = nearest(vectors, rows, 5, index=again)
    same = exact.places == found.places
    assert same.mean() > 0.95
    assert np.allclose(found.scores[same], exact.scores[same], atol=1e-5)
    assert not (found.places == rows[:, None]).any()
    with pytest.raises(DataError, match="index of 600 vectors of 8"):
        build_index(vectors[:9], path=path)
    with pytest.raises(DataError, match="600 other vectors"):
        nearest(vectors[:9], k=1, index=again)
    changed = vectors.copy()
    changed[3] += 1
    with pytest.raises(DataError, match="is an index of other vectors; remove it"):
        build_index(changed, path=path)
    with pytest.raises(DataError, match="is an index of other metric"):
        build_index(vectors, metric="euclidean", path=path)
    (tmp_path / "items.faiss.json").unlink()
    with pytest.raises(DataError, match="of unknown vectors"):
        build_index(vectors, path=path)
    path.write_bytes(b"no index")
    with pytest.raises(DataError, match="is no index"):
        build_index(vectors, path=path)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_any_of_equal_vectors_is_right(metric):
    pytest.importorskip("faiss")
    vectors = np.repeat(drawn(20, 8), 20, axis=0)
    index = build_index(vectors, metric=metric)
    assert index_recall(vectors, index, 5, metric=metric) > 0.99
    others = build_index(drawn(400, 8, seed=1), metric=metric)
    assert index_recall(vectors, others, 5, metric=metric) < 0.5


def test_where_equal_vectors_cut_the_graph_all_are_compared():
    pytest.importorskip("faiss")
    vectors = np.repeat(np.eye(4, 8, dtype=np.float32), 100, axis=0)
    rows = np.arange(0, 400, 40)
    index = build_index(vectors)
    assert (index.search(vectors[rows], 151)[1] < 0).any()
    found = nearest(vectors, rows, 150, index=index)
    assert found.places.min() >= 0
    assert np.array_equal(found.scores, nearest(vectors, rows, 150).scores)


def test_what_cannot_be_is_refused():
    with pytest.raises(OptionError, match="metric"):
        nearest(drawn(3), metric="angle")
    with pytest.raises(OptionError, match=r"k \(=0\)"):
        nearest(drawn(3), k=0)
    with pytest.raises(DataError, match="2 or more"):
        nearest(drawn(1))
    with pytest.raises(DataError, match="finite"):
        nearest(np.full((3, 2), np.nan, np.float32))
    with pytest.raises(OptionError, match="cosine or euclidean"):
        build_index(drawn(3), metric="dot")


def test_classes_far_apart_are_perfect_and_noise_is_chance():
    labels = np.arange(120) % 3
    apart = drawn(120) * 0.01 + np.eye(6, dtype=np.float32)[labels]
    names = [f"c{k}" for k in labels]
    perfect = vector_quality(apart, names, nearest(apart, k=10).places)
    assert (perfect.recall, perfect.probe) == (1.0, 1.0)
    assert perfect.chance == pytest.approx(39 / 119)
    assert perfect.cold == 0
    assert math.isnan(perfect.cold_coverage)
    assert perfect.to_json()["cold_coverage"] is None
    noise = drawn(120, seed=1)
    worse = vector_quality(noise, names, nearest(noise, k=10).places)
    assert worse.recall == pytest.approx(worse.chance, abs=0.06)
    assert worse.recall_interval.low <= worse.recall <= worse.recall_interval.high


def test_recall_and_coverage_by_hand():
    vectors = np.array([[0.0], [1.0], [2.5], [10.0], [11.0], [40.0]], np.float32)
    labels = ["a", "a", "a", "b", "b", "a"]
    places = nearest(vectors, k=1, metric="euclidean").places
    assert places.ravel().tolist() == [1, 0, 1, 4, 3, 4]
    cold = np.array([False, False, True, True, False, True])
    found = vector_quality(vectors, labels, places, cold=cold)
    assert found.recall == pytest.approx(5 / 6)  # all but the last one's neighbour
    assert found.coverage == pytest.approx(4 / 6)
    assert (found.cold, found.cold_coverage) == (3, pytest.approx(1 / 3))  # 3 is met from 4
    assert any("of 3 cold items" in sentence for sentence in found.sentences())


def test_labels_that_do_not_fit_are_refused():
    vectors = drawn(6)
    places = nearest(vectors, k=2).places
    with pytest.raises(DataError, match="5 labels do not fit 6 vectors"):
        vector_quality(vectors, list("aabbb"), places)
    with pytest.raises(DataError, match="fewer than two classes"):
        vector_quality(vectors, list("aaaaaa"), places)
