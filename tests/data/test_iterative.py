"""Iterative stratification: shares of every label, units whole, nothing on two sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium import data
from convarium.data.iterative import assign_labels
from convarium.data.samples import ArraySamples
from convarium.errors import DataError

SHARES = np.array([0.7, 0.15, 0.15])


def dataset_of(targets: np.ndarray, groups: list[int] | None = None) -> data.Dataset:
    numbers = np.arange(len(targets), dtype="<u4")
    images = numbers.view(np.uint8).reshape(-1, 1, 2, 2).copy()
    return data.Dataset(
        ArraySamples(images, [("image", len(images))]),
        source="made",
        task="multilabel",
        classes=[f"c{k}" for k in range(targets.shape[1])],
        targets=targets.astype(np.float32),
        groups=None if groups is None else np.array(groups),
    )


def drawn(seed: int, n: int, rates: list[float]) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.random((n, len(rates))) < rates).astype(np.float32)


def test_labels_that_exclude_each_other_have_their_shares_to_one_sample():
    targets = np.eye(4, dtype=np.float32)[np.arange(400) % 4]
    part = assign_labels(targets, np.arange(400), SHARES, 0)
    for k in range(4):
        counts = np.bincount(part[targets[:, k] == 1], minlength=3)
        assert np.abs(counts - 100 * SHARES).max() <= 1


@given(st.integers(0, 50), st.integers(60, 200))
def test_no_label_is_further_from_its_share_than_under_a_random_split(seed, n):
    targets = drawn(seed, n, [0.4, 0.2, 0.1, 0.05])
    part = assign_labels(targets, np.arange(n), SHARES, seed)
    assert set(part.tolist()) == {0, 1, 2}
    wanted = targets.sum(0)[:, None] * SHARES
    found = np.stack([targets[part == k].sum(0) for k in range(3)], 1)
    rarest = int(np.argmin(np.where(targets.sum(0) > 0, targets.sum(0), np.inf)))
    assert np.abs(found - wanted)[rarest].max() <= 1
    generator = np.random.default_rng(seed)
    errors = []
    for _ in range(30):
        shuffled = generator.permutation(part)
        other = np.stack([targets[shuffled == k].sum(0) for k in range(3)], 1)
        errors.append(np.abs(other - wanted).sum())
    assert np.abs(found - wanted).sum() <= np.mean(errors)


@given(st.integers(0, 30), st.sampled_from([(0.0, 0.3), (0.3, 0.0), (0.2, 0.2)]))
def test_units_are_whole_and_parts_of_no_share_are_empty(seed, shares):
    targets = drawn(seed, 90, [0.4, 0.2, 0.1])
    unit = np.random.default_rng(seed).integers(0, 40, 90)
    unit = np.unique(unit, return_inverse=True)[1]
    part = assign_labels(targets, unit, np.array([1 - sum(shares), *shares]), seed)
    for k in range(unit.max() + 1):
        assert len(set(part[unit == k].tolist())) == 1
    for number, share in enumerate(shares, start=1):
        assert (part == number).any() == (share > 0)


def test_the_split_is_a_function_of_data_and_seed():
    targets = drawn(0, 150, [0.4, 0.2, 0.1])
    one, two, other = (data.split(dataset_of(targets), seed=seed) for seed in (3, 3, 4))
    assert one.train.ids.tolist() == two.train.ids.tolist()
    assert one.train.ids.tolist() != other.train.ids.tolist()


def test_a_split_of_labels_keeps_groups_together_and_counts_labels():
    targets = drawn(1, 200, [0.5, 0.3, 0.15])
    groups = (np.arange(200) // 4).tolist()
    parts = data.split(dataset_of(targets, groups))
    assert sum(parts.counts.values()) == 200
    ids = np.concatenate([part.ids for part in (parts.train, parts.validation, parts.test)])
    assert sorted(ids.tolist()) == list(range(200))
    seen = [set(part.ids // 4) for part in (parts.train, parts.validation, parts.test)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    total = np.sum(list(parts.class_counts.values()), axis=0)
    np.testing.assert_array_equal(total, targets.sum(0))
    rows = {row[0]: row[2] for row in parts.rows()}
    for i in (0, 17, 199):
        assert rows[i] == "; ".join(f"c{k}" for k in np.flatnonzero(targets[i]))


def test_a_label_with_one_sample_is_for_training():
    targets = drawn(2, 60, [0.5, 0.5, 0.0])
    targets[11, 2] = 1
    for seed in range(5):
        assert 11 in data.split(dataset_of(targets), seed=seed).train.ids


def test_a_label_without_samples_is_named():
    with pytest.raises(DataError, match="1 class has no readable sample: 'c2'"):
        data.split(dataset_of(drawn(0, 40, [0.5, 0.5, 0.0])))


def test_samples_without_any_label_fill_the_parts():
    targets = np.zeros((100, 2), np.float32)
    targets[:10, 0] = targets[10:20, 1] = 1
    parts = data.split(dataset_of(targets))
    assert list(parts.counts.values()) == [70, 15, 15]
