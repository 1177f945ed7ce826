"""Batches: order, remainders, resuming, workers, unreadable files."""

from __future__ import annotations

import multiprocessing
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made import arrays, plain, whole

from convarium import data, seeds
from convarium.data.samples import ArraySamples
from convarium.errors import DataError, OptionError

AUGMENTATION = data.Augmentation(flip=True, pad_crop=2)


def training(part: data.Part, steps: data.Preprocessing, **changed: int) -> list[data.Batch]:
    options = {"batch_size": 4, "seed": 3, "epoch": 5, **changed}
    return list(data.training_batches(part, steps, augmentation=AUGMENTATION, **options))


def same(one: list[data.Batch], two: list[data.Batch]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a.inputs[0], b.inputs[0])
        and torch.equal(a.index, b.index)
        and a.target is not None
        and b.target is not None
        and torch.equal(a.target, b.target)
        for a, b in zip(one, two, strict=True)
    )


@given(st.integers(2, 60), st.integers(1, 20))
def test_a_remainder_of_exactly_one_is_dropped_and_only_then(n: int, batch_size: int) -> None:
    part = whole(arrays(n))
    found = training(part, plain(), batch_size=batch_size)
    sizes = [len(batch) for batch in found]
    whole_batches, rest = divmod(n, batch_size)
    assert sizes == [batch_size] * whole_batches + [rest] * (rest > 1)
    assert len(found) == data.steps_per_epoch(part, batch_size)
    index = torch.cat([batch.index for batch in found]) if found else torch.zeros(0)
    assert len(index.unique()) == len(index)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    part = data.Part(arrays(40), np.arange(5, 35))
    order = torch.cat([batch.index for batch in training(part, plain(), batch_size=10)])
    assert order.tolist() == part.ids[seeds.permutation(30, 3, "order", 5)].tolist()
    for change in ({"seed": 4}, {"epoch": 6}):
        other = training(part, plain(), batch_size=10, **change)
        assert order.tolist() != torch.cat([batch.index for batch in other]).tolist()


@pytest.mark.parametrize("start", range(7))
def test_starting_late_equals_leaving_out_the_first_batches(start: int) -> None:
    part = whole(arrays(23))
    assert same(training(part, plain(), start=start), training(part, plain())[start:])


def test_the_number_of_workers_changes_nothing(folder: Path) -> None:
    runs = []
    for workers in (0, 1, 2):
        part = whole(data.open_dataset(folder))
        steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
        first = training(part, steps, workers=workers)
        assert same(first, training(part, steps, workers=workers))
        runs.append(first)
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


def test_what_happens_to_a_sample_does_not_depend_on_its_batch() -> None:
    part = whole(arrays(30, (3, 6, 5)))
    seen = []
    for batch_size in (1, 4, 30):
        found = {}
        for batch in training(part, plain((3, 6, 5)), batch_size=batch_size):
            found |= dict(zip(batch.index.tolist(), batch.inputs[0], strict=True))
        seen.append(found)
    for one, two in pairwise(seen):
        assert all(torch.equal(one[i], two[i]) for i in one.keys() & two.keys())


def test_epochs_do_not_repeat_their_random_numbers() -> None:
    part = whole(arrays(64, (1, 8, 8)))
    images = []
    for epoch in (0, 1):
        found = {}
        for batch in training(part, plain((1, 8, 8)), epoch=epoch):
            found |= dict(zip(batch.index.tolist(), batch.inputs[0], strict=True))
        images.append(found)
    changed = sum(not torch.equal(images[0][i], images[1][i]) for i in range(64))
    assert changed > 48


def test_kept_pictures_equal_those_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    kept = whole(data.open_dataset(folder))
    first, second = training(kept, steps), training(kept, steps)
    monkeypatch.setattr("convarium.data.pictures.MEMORY_BUDGET", 0)
    assert same(first, second)
    assert same(first, training(whole(data.open_dataset(folder)), steps))


def test_pictures_that_fit_are_read_once(folder: Path) -> None:
    dataset = data.open_dataset(folder)
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    first = training(whole(dataset), steps, batch_size=7)
    for file in folder.rglob("*.png"):
        file.unlink()
    assert same(first, training(whole(dataset), steps, batch_size=7))


def test_the_data_itself_is_never_changed() -> None:
    dataset = arrays(20)
    assert isinstance(dataset.samples, ArraySamples)
    before = dataset.samples.images.copy()
    for batch in training(whole(dataset), plain()):
        batch.inputs[0].zero_()
    for batch in data.batches(dataset, plain()):
        batch.inputs[0].zero_()
    assert (dataset.samples.images == before).all()


@pytest.mark.parametrize("batch_size", [1, 4, 9, 256])
def test_evaluation_keeps_the_order_and_every_sample(batch_size: int) -> None:
    dataset = arrays(9)
    part = data.Part(dataset, np.array([8, 1, 3]))
    for source, wanted in ((dataset, list(range(9))), (part, [8, 1, 3])):
        found = list(data.batches(source, plain(), batch_size=batch_size))
        assert [i for batch in found for i in batch.index.tolist()] == wanted
        targets = [t for batch in found for t in batch.target.tolist()]
        assert targets == [i % 2 for i in wanted]
        assert found[0].mask is None
        assert found[0].weight is None


def test_unlabelled_batches_have_no_target() -> None:
    dataset = arrays(4)
    dataset.targets = None
    assert next(data.batches(dataset, plain())).target is None


def test_evaluation_takes_no_augmentation() -> None:
    with pytest.raises(TypeError, match="augmentation"):
        data.batches(arrays(4), plain(), augmentation=AUGMENTATION)  # type: ignore[call-arg]


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_are_listed_or_stop_the_evaluation(folder: Path, workers: int) -> None:
    (folder / "a" / "04.png").write_bytes(b"broken")
    dataset = data.open_inputs([folder])
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    skipped: list[data.Skipped] = []
    found = list(data.batches(dataset, steps, batch_size=2, skipped=skipped, workers=workers))
    name = str(folder / "a" / "04.png")
    assert skipped == [data.Skipped(name, "not an image of a known format")]
    seen = [dataset.name(i) for batch in found for i in batch.index.tolist()]
    assert len(seen) == 20
    assert name not in seen
    with pytest.raises(DataError, match=r"Cannot read .*04\.png: not an image"):
        list(data.batches(dataset, steps, workers=workers))


def test_a_batch_without_any_readable_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"broken")
    skipped: list[data.Skipped] = []
    assert list(data.batches(data.open_inputs([tmp_path]), plain(), skipped=skipped)) == []
    assert len(skipped) == 1


def test_a_file_that_vanishes_stops_the_training_by_name(folder: Path) -> None:
    part = whole(data.open_dataset(folder))
    (folder / "b" / "03.png").unlink()
    with pytest.raises(DataError, match=r"Cannot read b/03\.png any more: no such file"):
        training(part, data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": -1}, {"start": -1}])
def test_settings_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        training(whole(arrays(4)), plain(), **options)


def test_a_batch_moves_as_one() -> None:
    batch = next(data.batches(arrays(4), plain()))
    moved = batch.to("meta")
    assert moved.inputs[0].device.type == "meta"
    assert moved.index.device.type == "cpu"
    assert len(moved) == 4


def test_pickled_data_is_the_same_without_its_kept_pictures(folder: Path) -> None:
    part = whole(data.open_dataset(folder))
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    first = training(part, steps)
    content = pickle.dumps(part)
    assert len(content) < 5_000
    assert same(first, training(pickle.loads(content), steps))


def _digest_in_another_process(part: data.Part) -> tuple[int, list[int], str]:
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    batch = training(part, steps)[1]
    total = int(batch.inputs[0].mul(1000).round().sum())
    return total, batch.index.tolist(), part.dataset.fingerprint()


def test_data_works_under_the_spawn_start_method(folder: Path) -> None:
    part = whole(data.open_dataset(folder))
    here = _digest_in_another_process(part)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_digest_in_another_process, (part,)) == here
