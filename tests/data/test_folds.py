"""Folds: each sample tested once, by class, with copies and groups on one side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from convarium.data import Dataset, open_dataset
from convarium.data.folds import split_folds
from convarium.data.samples import ArraySamples
from convarium.errors import DataError, OptionError


def made(targets, kinds=None, groups=None, given=None) -> Dataset:
    """Pictures of which those of one kind are exact copies."""
    n = len(targets)
    kinds = np.arange(n) if kinds is None else np.asarray(kinds)
    images = np.zeros((n, 1, 4, 4), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = kinds % 256, kinds // 256
    classes = [str(k) for k in range(max(targets) + 1)]
    return Dataset(
        ArraySamples(images, [("made", n)]), source="made", classes=classes,
        targets=np.asarray(targets, np.int64), groups=groups, given=given,
    )  # fmt: skip


@given(st.integers(2, 6), st.integers(0, 999), st.integers(60, 120))
def test_each_sample_is_tested_once_and_copies_and_groups_stay_together(count, seed, n):
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 90, n)
    targets = kinds % 3  # copies have one class
    groups = random.integers(0, 2 * n, n)
    folds = split_folds(made(targets, kinds, groups), count, validation=0.1, seed=seed)
    tested = np.concatenate([parts.test.ids for parts in folds])
    assert sorted(tested.tolist()) == list(range(n))
    for parts in folds:
        sides = [part.ids for part in (parts.train, parts.validation, parts.test)]
        assert sorted(np.concatenate(sides).tolist()) == list(range(n))
        assert set(targets[parts.train.ids]) == {0, 1, 2}
        for one in range(3):
            for other in range(one):
                assert not set(kinds[sides[one]]) & set(kinds[sides[other]])
                assert not set(groups[sides[one]]) & set(groups[sides[other]])


@given(st.integers(2, 8), st.lists(st.integers(16, 40), min_size=2, max_size=4))
def test_free_samples_are_divided_by_class_as_scikit_learn_divides_them(count, sizes):
    targets = np.repeat(np.arange(len(sizes)), sizes)
    folds = split_folds(made(targets), count, validation=0.1)
    theirs = StratifiedKFold(count).split(np.zeros((len(targets), 1)), targets)
    for parts, (_, test) in zip(folds, theirs, strict=True):
        ours = np.bincount(targets[parts.test.ids], minlength=len(sizes))
        exact = np.array(sizes) / count
        assert (np.abs(ours - exact) < 1).all()
        assert abs(len(parts.test) - len(test)) <= len(sizes)


def test_a_given_test_part_and_its_copies_are_in_no_fold():
    kinds = np.arange(40)
    kinds[3] = kinds[39]
    given = np.full(40, -1, np.int8)
    given[30:] = 2
    folds = split_folds(made(np.arange(40) % 2, kinds, given=given), 3)
    tested = np.concatenate([parts.test.ids for parts in folds])
    assert sorted(tested.tolist()) == [i for i in range(30) if i != 3]
    for parts in folds:
        assert not set(parts.train.ids.tolist()) & {3, *range(30, 40)}


def test_folds_follow_from_the_seed_and_say_how_they_were_made():
    digits = open_dataset("digits")
    first, again, other = (split_folds(digits, 3, seed=seed) for seed in (1, 1, 2))
    assert [f.settings for f in first] == [
        {"folds": 3, "fold": k, "validation": 0.15, "seed": 1} for k in (1, 2, 3)
    ]
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.train.ids, two.train.ids)
    assert not np.array_equal(first[0].test.ids, other[0].test.ids)
    assert first[0].counts["validation"] == pytest.approx(0.15 * 1797, abs=10)


def test_what_cannot_be_divided_is_said():
    with pytest.raises(OptionError, match="2 folds or more"):
        split_folds(made([0, 1] * 8), 1)
    with pytest.raises(OptionError, match="validation"):
        split_folds(made([0, 1] * 8), 4, validation=0.8)
    with pytest.raises(DataError, match="without the classes '1'"):
        split_folds(made([0] * 20 + [1]), 3)
    with pytest.raises(DataError, match="two classes"):
        split_folds(made([0] * 20), 3)
    with pytest.raises(DataError, match="too few"):
        split_folds(made([0, 1] * 8, groups=np.arange(16) % 2), 3)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_labels_and_numbers_are_divided_too(task):
    random = np.random.default_rng(0)
    targets = (random.random((90, 4)) < (0.1, 0.2, 0.4, 0.6)).astype(np.float32)
    if task == "regression":
        targets = random.normal(size=(90, 4)).astype(np.float32)
    images = random.integers(0, 255, (90, 1, 4, 4), dtype=np.uint8)
    dataset = Dataset(
        ArraySamples(images, [("made", 90)]), source="made", classes=list("abcd"),
        targets=targets, task=task,
    )  # fmt: skip
    folds = split_folds(dataset, 3, validation=0.1)
    tested = np.concatenate([parts.test.ids for parts in folds])
    assert sorted(tested.tolist()) == list(range(90))
    for parts in folds:
        assert abs(len(parts.test) - 30) <= 4
        if task == "multilabel":
            share = targets[parts.test.ids].sum(0) / targets.sum(0)
            assert np.abs(share - 1 / 3).max() < 0.15


def test_many_folds_have_numbers_too():
    images = np.arange(300 * 64, dtype=np.uint32).view(np.uint8).reshape(300, 1, 16, 16)
    dataset = Dataset(
        ArraySamples(np.ascontiguousarray(images), [("image", 300)]),
        source="many",
        classes=("a", "b"),
        targets=np.arange(300) % 2,
    )
    folds = split_folds(dataset, 150, validation=0.1, seed=0)
    tested = np.concatenate([parts.test.ids for parts in folds])
    assert np.array_equal(np.sort(tested), np.arange(300))
