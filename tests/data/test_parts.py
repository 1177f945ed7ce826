"""Splits: a partition, nothing on two sides, shares by class, given parts respected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from convarium import data
from convarium.data.samples import ArraySamples
from convarium.errors import DataError, OptionError


def dataset_of(
    targets: list[int],
    *,
    pixels: list[int] | None = None,
    groups: list[int] | None = None,
    parts: list[int] | None = None,
) -> data.Dataset:
    """One 2 x 2 picture a sample; its pixels are its number, or `pixels`."""
    numbers = np.array(range(len(targets)) if pixels is None else pixels, "<u4")
    images = numbers.view(np.uint8).reshape(-1, 1, 2, 2).copy()
    return data.Dataset(
        ArraySamples(images, [("image", len(images))]),
        source="made",
        classes=[f"c{k}" for k in range(max(targets) + 1)],
        targets=np.array(targets, np.int64),
        groups=None if groups is None else np.array(groups, np.int64),
        given=None if parts is None else np.array(parts, np.int8),
    )


def sides(parts: data.Parts) -> NDArray[np.int64]:
    """Part of each sample; -1 where none, an error where two."""
    found = np.full(len(parts.train.dataset), -1)
    for number, part in enumerate((parts.train, parts.validation, parts.test)):
        assert (found[part.ids] == -1).all()
        found[part.ids] = number
    return found


LABELS = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.integers(0, k - 1), min_size=12, max_size=120).map(
        lambda rest: [*range(k), *range(k), *rest]
    )
)
SHARES = st.sampled_from([(0.15, 0.15), (0.2, 0.1), (0.0, 0.25), (0.3, 0.0), (0.1, 0.45)])


@given(LABELS, SHARES, st.integers(0, 9))
def test_class_shares_are_within_one_sample_where_all_are_free(
    targets: list[int], shares: tuple[float, float], seed: int
) -> None:
    parts = data.split(dataset_of(targets), validation=shares[0], test=shares[1], seed=seed)
    side = sides(parts)
    assert (side >= 0).all()
    wanted = (1 - sum(shares), *shares)
    exact = True
    for label in range(max(targets) + 1):
        members = np.array(targets) == label
        for number, share in enumerate(wanted):
            difference = abs((side[members] == number).sum() - share * members.sum())
            exact &= bool(difference < 1 + 1e-9)
    assert exact
    for number, part in enumerate((parts.train, parts.validation, parts.test)):
        assert len(part) == 0 if wanted[number] == 0 else len(part) > 0


@given(LABELS, st.data())
def test_no_copy_and_no_group_is_on_two_sides(targets: list[int], draw: st.DataObject) -> None:
    n, k = len(targets), max(targets) + 1
    pixels = draw.draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    groups = draw.draw(st.lists(st.integers(0, n), min_size=n, max_size=n))
    # Four samples of each class that hang together with nothing: a split is always possible.
    targets = [*targets, *(list(range(k)) * 4)]
    for numbers in (pixels, groups):
        numbers += range(n + 1, n + 1 + 4 * k)
    parts = data.split(dataset_of(targets, pixels=pixels, groups=groups))
    assert sum(parts.counts.values()) == len(targets)
    assert min(parts.counts.values()) > 0
    side = sides(parts)
    for key in (pixels, groups):
        for value in set(key):
            assert len(set(side[np.array(key) == value].tolist())) == 1
    assert parts.crossing == 0
    assert set(np.array(targets)[side == 0]) == set(targets)


@given(LABELS, st.integers(0, 5))
def test_a_split_is_a_function_of_data_and_seed(targets: list[int], seed: int) -> None:
    one, two = (data.split(dataset_of(targets), seed=seed) for _ in range(2))
    assert (sides(one) == sides(two)).all()


def test_another_seed_gives_another_split() -> None:
    targets = [0, 1] * 50
    one, two = (sides(data.split(dataset_of(targets), seed=seed)) for seed in (0, 1))
    assert (one != two).any()


def test_errors_of_many_small_classes_do_not_add_up() -> None:
    parts = data.split(dataset_of([k // 3 for k in range(600)]))
    assert parts.counts["validation"] == pytest.approx(90, abs=2)
    assert parts.counts["test"] == pytest.approx(90, abs=2)
    assert len(np.unique(parts.train.targets)) == 200


def test_groups_of_equal_size_keep_class_shares() -> None:
    groups = [i // 5 for i in range(500)]
    targets = [(g % 2) for g in groups]
    parts = data.split(dataset_of(targets, groups=groups))
    for part, share in ((parts.train, 0.7), (parts.validation, 0.15), (parts.test, 0.15)):
        counts = np.bincount(part.targets, minlength=2)
        assert abs(counts - 250 * share).max() <= 5


def test_groups_keep_the_shares_of_the_whole() -> None:
    targets = [i // 40 for i in range(200)]
    parts = data.split(dataset_of(targets, groups=[i // 10 for i in range(200)]))
    assert parts.counts == {"train": 140, "validation": 30, "test": 30}


@given(
    st.lists(st.lists(st.integers(2, 9), min_size=5, max_size=12), min_size=2, max_size=6),
    SHARES,
    st.integers(0, 9),
)
def test_parts_come_as_near_to_their_shares_as_groups_allow(
    sizes: list[list[int]], shares: tuple[float, float], seed: int
) -> None:
    """No part is further from its share than the largest group."""
    targets = [label for label, groups in enumerate(sizes) for size in groups for _ in range(size)]
    flat = [size for groups in sizes for size in groups]
    groups = np.repeat(np.arange(len(flat)), flat).tolist()
    dataset = dataset_of(targets, groups=groups)
    parts = data.split(dataset, validation=shares[0], test=shares[1], seed=seed)
    wanted = np.array([1 - sum(shares), *shares]) * len(targets)
    assert np.abs(np.array(list(parts.counts.values())) - wanted).max() <= max(flat)


def test_groups_and_copies_hang_together_through_each_other() -> None:
    # 0-1 share a group, 1-2 are copies, 2-3 share a group: one unit of four.
    targets = [0, 0, 0, 0] + [0, 1] * 10
    pixels = [1, 2, 2, 3, *range(10, 30)]
    groups = [1, 1, 2, 2, *range(10, 30)]
    side = sides(data.split(dataset_of(targets, pixels=pixels, groups=groups)))
    assert len(set(side[:4].tolist())) == 1


def test_a_class_with_one_sample_is_for_training() -> None:
    targets = [0] * 20 + [1] * 20 + [2]
    for seed in range(5):
        assert sides(data.split(dataset_of(targets), seed=seed))[-1] == 0


def test_a_tiny_data_set_fills_all_parts() -> None:
    parts = data.split(dataset_of([0, 0, 0, 1, 1, 1]))
    assert min(parts.counts.values()) >= 1
    assert set(parts.train.targets) == {0, 1}


@pytest.mark.parametrize(
    ("given_to", "wanted"),
    [
        ([0] * 20 + [1] * 10 + [2] * 10, {"train": 20, "validation": 10, "test": 10}),
        ([0] * 30 + [2] * 10, {"train": 24, "validation": 6, "test": 10}),
        ([0] * 30 + [1] * 10, {"train": 24, "validation": 10, "test": 6}),
        ([-1] * 10 + [0] * 20 + [2] * 10, {"train": 24, "validation": 6, "test": 10}),
    ],
)
def test_given_parts_are_respected_and_missing_ones_carved_from_training(
    given_to: list[int], wanted: dict[str, int]
) -> None:
    dataset = dataset_of([0, 1] * 20, parts=given_to)
    parts = data.split(dataset, validation=0.2, test=0.2)
    assert parts.counts == wanted
    side = sides(parts)
    for number in (1, 2):
        if number in given_to:
            assert (side[np.array(given_to) == number] == number).all()


def test_free_copies_of_given_samples_do_not_land_in_training() -> None:
    # After 30 free samples of their own: two free copies of each given one, by pixels or by group.
    given_to = [0] * 6 + [1] * 6 + [2] * 6
    parts = [*([-1] * 30), *given_to, *([-1] * 36)]
    targets = [i % 2 for i in range(len(parts))]
    own = list(range(30))
    copies = [*own, *range(30, 48), *range(30, 48), *range(60, 78)]
    groups = [*own, *range(30, 48), *range(60, 78), *range(30, 48)]
    for seed in range(3):
        found = data.split(
            dataset_of(targets, pixels=copies, groups=groups, parts=parts), seed=seed
        )
        side = sides(found)
        assert side[30:].tolist() == given_to * 3
        assert found.crossing == 0


def test_free_copies_go_to_the_test_before_validation() -> None:
    parts = [0] * 8 + [1] * 4 + [2] * 4 + [-1] * 2
    pixels = [*range(8), 50, 51, 52, 53, 50, 61, 62, 63, 50, 51]
    found = sides(data.split(dataset_of([0, 1] * 9, pixels=pixels, parts=parts)))
    assert found[-2:].tolist() == [2, 1]


def test_given_parts_are_named() -> None:
    assert data.given_parts(dataset_of([0, 1])) == ()
    given = dataset_of([0, 1, 0], parts=[2, 0, -1])
    assert data.given_parts(given) == ("train", "test")


def test_copies_across_given_parts_are_counted() -> None:
    pixels = [*range(20), 0, *range(20, 29)]
    dataset = dataset_of([0, 1] * 15, pixels=pixels, parts=[0] * 20 + [2] * 10)
    assert data.split(dataset, validation=0).crossing == 2


def test_one_class_only_is_one_sentence() -> None:
    with pytest.raises(DataError, match="1 class: 'c0'; a classifier needs two or more"):
        data.split(dataset_of([0, 0, 0]))


def test_fewer_samples_than_classes_is_one_sentence() -> None:
    with pytest.raises(DataError, match="2 readable samples for 5 classes; give several"):
        data.split(dataset_of([0, 4]))


def test_a_class_without_samples_is_named() -> None:
    with pytest.raises(DataError, match="1 class has no readable sample: 'c1'"):
        data.split(dataset_of([0, 2] * 5))


def test_a_class_that_is_in_the_given_test_only_is_named() -> None:
    dataset = dataset_of([0, 1] * 5 + [2], parts=[0] * 10 + [2])
    with pytest.raises(DataError, match="1 class has no sample for training: 'c2'"):
        data.split(dataset)


def test_too_few_groups_for_the_parts_say_so() -> None:
    with pytest.raises(DataError, match=r"too few samples or groups .* any for"):
        data.split(dataset_of([0, 1] * 10, groups=[0] * 20))


def test_unlabelled_data_cannot_be_split() -> None:
    dataset = dataset_of([0, 1])
    dataset.targets = None
    with pytest.raises(DataError, match="has no labels"):
        data.split(dataset)


@pytest.mark.parametrize("shares", [(-0.1, 0.1), (0.5, 0.5), (0.1, 1.2), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match="together below 1"):
        data.split(dataset_of([0, 1] * 9), validation=shares[0], test=shares[1])


def test_broken_samples_are_in_no_part(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(30):
        file = tmp_path / "ab"[i % 2] / f"{i:02}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), i).save(file)
    (tmp_path / "a" / "04.png").write_bytes(b"broken")
    parts = data.split(data.open_dataset(tmp_path))
    assert sum(parts.counts.values()) == 29
    assert [item.name for item in parts.train.dataset.skipped] == ["a/04.png"]


def test_rows_go_to_parquet(tmp_path: Path) -> None:
    parts = data.split(dataset_of([0, 1] * 10))
    parts.write(tmp_path / "splits.parquet")
    rows = pq.read_table(tmp_path / "splits.parquet").to_pylist()
    assert len(rows) == 20
    assert {row["part"] for row in rows} == {"train", "validation", "test"}
    assert all(row["name"] == f"image/{row['id']}" for row in rows)
    assert all(row["label"] == f"c{row['id'] % 2}" for row in rows)
    assert list(tmp_path.iterdir()) == [tmp_path / "splits.parquet"]


def test_empty_parts_are_written_too(tmp_path: Path) -> None:
    parts = data.split(dataset_of([0, 1] * 10), validation=0, test=0)
    parts.write(tmp_path / "splits.parquet")
    assert pq.read_table(tmp_path / "splits.parquet").num_rows == 20
    assert parts.class_counts == {"train": [10, 10], "validation": [0, 0], "test": [0, 0]}
