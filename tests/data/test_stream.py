"""Streams: the same batches whatever reads them, against the same samples read at will."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from sharded import picture, table, tar_members, write_parquets, write_tar, write_tars

from convarium import data
from convarium.data.augmentation import Augmentation
from convarium.data.shards.streaming import stream_batches
from convarium.errors import DataError, OptionError

COUNT = 120
KINDS = ("tar", "parquet", "saved", "iterable", "uncounted")


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    datasets.disable_progress_bars()
    write_tars(root / "tar", COUNT, 5)
    write_parquets(root / "parquet", COUNT, 5)
    table(range(COUNT)).save_to_disk(str(root / "saved"))
    return root


def opened(kind: str, root: Path) -> data.ShardStream:
    if kind in ("tar", "parquet", "saved"):
        return data.open_stream(root / kind)
    many = table(range(COUNT)).to_iterable_dataset(num_shards=5)
    if kind == "iterable":
        return data.open_stream(many)
    held = table(range(COUNT, COUNT + 12)).to_iterable_dataset(num_shards=2)
    return data.open_stream(
        datasets.IterableDatasetDict(train=many, validation=held, test=held), counted=False
    )


def parts_of(kind: str, root: Path, **options: Any) -> data.Parts:
    if kind == "uncounted":
        options = {"samples_per_epoch": 90, **options}
    return data.split_stream(opened(kind, root), seed=1, block=32, **options)


def batches(parts: data.Parts, **options: Any) -> list[data.Batch]:
    preprocessing = data.fit_preprocessing(parts.train, size=8)
    named = {"batch_size": 13, "seed": 3, "epoch": 0, **options}
    return list(data.training_batches(parts.train, preprocessing, **named))


def by_id(made: list[data.Batch]) -> list[dict[int, list[float]]]:
    """Of each batch the inputs of each sample; a sample that comes twice has equal ones."""
    return [dict(zip(b.index.tolist(), b.inputs[0].flatten(1).tolist(), strict=True)) for b in made]


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_the_same_for_any_processes_workers_and_start(kind, shards):
    parts = parts_of(kind, shards)
    change = Augmentation(flip=True, jitter=0.2, mixup=0.4, resized_crop=0.5)
    whole = batches(parts, augmentation=change)
    assert sum(map(len, whole)) in (len(parts.train), len(parts.train) - 1)
    later = batches(parts, augmentation=change, start=3, workers=2)
    assert by_id(later) == by_id(whole)[3:]
    for world in (2, 3, 4):
        shares = [batches(parts, augmentation=change, rank=r, world=world) for r in range(world)]
        for k, expected in enumerate(by_id(whole)):
            found = [by_id([share[k]])[0] for share in shares]
            together = {i: inputs for some in found for i, inputs in some.items()}
            assert together.keys() == expected.keys()
            for i, inputs in together.items():
                np.testing.assert_allclose(inputs, expected[i], rtol=1e-5, atol=1e-6)
            assert sum(len(share[k]) for share in shares) == len(whole[k])
    assert [b.index.tolist() for b in batches(parts, epoch=1)] != [b.index.tolist() for b in whole]


@pytest.mark.parametrize("kind", ["tar", "parquet", "saved", "iterable"])
def test_an_epoch_has_every_training_sample_once_as_reading_it_at_will_gives_it(kind, shards):
    stream = opened(kind, shards)
    parts = data.split_stream(stream, seed=1, block=32)
    whole = data.Part(stream.counted, np.arange(COUNT))
    preprocessing = data.fit_preprocessing(parts.train, size=8)
    change = Augmentation(flip=True, resized_crop=0.3)
    named = {"seed": 3, "epoch": 2, "augmentation": change}
    own = list(data.training_batches(parts.train, preprocessing, batch_size=13, **named))
    ids = sorted(i for batch in own for i in batch.index.tolist())
    assert len(set(ids)) == len(ids) >= len(parts.train) - 1
    (all_at_will,) = data.training_batches(whole, preprocessing, batch_size=COUNT, **named)
    expected = by_id([all_at_will])[0]
    labels = dict(zip(all_at_will.index.tolist(), all_at_will.target.tolist(), strict=True))
    for batch, inputs in zip(own, by_id(own), strict=True):
        assert all(inputs[i] == expected[i] for i in inputs)
        assert batch.target.tolist() == [labels[i] for i in batch.index.tolist()]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_batches_of_shards_that_are_sorted_by_class_are_mixed(kind, tmp_path):
    ids = sorted(range(288), key=lambda k: k % 3)
    for shard in range(2):  # each begins with the first class
        if kind == "tar":
            write_tar(tmp_path / f"{shard}.tar", tar_members(ids[shard::2]))
        else:
            rows = table(ids[shard::2]).with_format("arrow")[:]
            pq.write_table(rows, tmp_path / f"{shard}.parquet", row_group_size=8)
    parts = data.split_stream(data.open_stream(tmp_path), seed=1, block=64)
    classes = [set(batch.target.tolist()) for batch in batches(parts, batch_size=16)]
    assert classes.count({0, 1, 2}) >= 0.9 * len(classes)


def test_an_epoch_may_be_shorter_or_longer_than_the_data(shards):
    short = parts_of("tar", shards, samples_per_epoch=40)
    ids = [b.index.tolist() for b in batches(short)]
    assert [len(some) for some in ids] == [13, 13, 13]
    long = parts_of("tar", shards, samples_per_epoch=200)
    n = int(long.train.targets.size)
    counts = np.unique(np.concatenate([b.index for b in batches(long)]), return_counts=True)[1]
    assert counts.sum() == 200
    assert set(counts.tolist()) <= {200 // n, -(-200 // n)}
    change = Augmentation(jitter=0.5)
    seen = [by_id([batch])[0] for batch in batches(long, augmentation=change)]
    twice = [i for i in seen[0] if any(i in other for other in seen[5:])]
    assert twice
    assert all(seen[0][i] != other[i] for i in twice for other in seen[5:] if i in other)


def test_processes_that_divide_the_lanes_read_shards_of_their_own():
    many = table(range(COUNT)).to_iterable_dataset(num_shards=8)
    held = table(range(6)).to_iterable_dataset(num_shards=1)
    given = datasets.IterableDatasetDict(train=many, validation=held)
    parts = data.split_stream(data.open_stream(given, counted=False), samples_per_epoch=96)
    read = [
        {i >> 24 for b in batches(parts, rank=r, world=2) for i in b.index.tolist()}
        for r in range(2)
    ]
    assert not read[0] & read[1]
    assert read[0] | read[1] == set(range(8))


def test_a_hash_of_the_name_draws_the_parts_whatever_shards_come_later(shards, tmp_path):
    first = data.split_stream(opened("tar", shards), validation=0.25, test=0.25, seed=5)
    names = [{part.name(k) for k in range(len(part))} for part in (first.validation, first.test)]
    assert all(0.1 < len(some) / COUNT < 0.4 for some in names)
    assert not names[0] & names[1]
    for file in (shards / "tar").glob("*.tar"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_tar(tmp_path / "a-new.tar", tar_members(range(COUNT, COUNT + 40)))
    more = data.split_stream(data.open_stream(tmp_path), validation=0.25, test=0.25, seed=5)
    for part, before in ((more.validation, names[0]), (more.test, names[1])):
        after = {part.name(k) for k in range(len(part))}
        assert {name for name in after if not name.startswith("a-new")} == before
    other = data.split_stream(opened("tar", shards), validation=0.25, test=0.25, seed=6)
    assert {other.test.name(k) for k in range(len(other.test))} != names[1]


def test_given_parts_are_kept_and_what_is_missing_is_drawn_from_training(tmp_path):
    write_tars(tmp_path, 60, 3, "train")
    write_tars(tmp_path, 9, 1, "val")
    parts = data.split_stream(data.open_stream(tmp_path), test=0.2)
    assert parts.counts["validation"] == 9
    assert 0 < parts.counts["test"] < 30
    assert parts.counts["train"] + parts.counts["test"] == 60
    assert {row[3] for row in parts.rows()} == {"validation", "test"}
    with pytest.raises(OptionError, match="the data gives its own"):
        data.split_stream(data.open_stream(tmp_path), validation=0.2)


def test_what_stands_for_the_training_part_is_spread_over_it(shards):
    parts = parts_of("parquet", shards)
    probe = parts.train.probe
    assert len(probe) == len(parts.train.targets)
    assert sorted(probe.targets.tolist()) == sorted(parts.train.targets.tolist())
    assert data.build_card(parts, data.fit_preprocessing(parts.train, size=8))["data"][
        "counts"
    ] == (parts.counts)


def test_a_damaged_image_gives_its_place_to_its_neighbour_and_is_listed_once(tmp_path):
    members = tar_members(range(COUNT))
    for k in (20, 77):
        members[2 * k] = (f"{k:04d}.png", picture(k)[:70])
    write_tar(tmp_path / "a.tar", members)
    parts = data.split_stream(data.open_stream(tmp_path), validation=0.1, test=0.1, seed=2)
    train = dataclasses.replace(parts).train
    before = {item.name for item in train.dataset.skipped}
    for epoch in range(2):
        made = batches(parts, epoch=epoch, workers=epoch)
        found = [i for b in made for i in b.index.tolist()]
        assert not {20, 77} & set(found)
        assert len(parts.train) - 3 <= len(found) <= len(parts.train)
    named = [item.name for item in train.dataset.skipped]
    assert len(named) == len(set(named))
    assert before <= {"a.tar/0020", "a.tar/0077"} == set(named)


def test_too_many_damaged_images_stop_the_training(tmp_path):
    members = tar_members(range(300))
    for k in range(150, 300, 2):  # behind the rows that are looked at first
        members[2 * k] = (f"{k:04d}.png", b"no image")
    write_tar(tmp_path / "train.tar", members)
    write_tar(tmp_path / "val.tar", tar_members(range(300, 310)))
    stream = data.open_stream(tmp_path)
    with pytest.raises(DataError, match=r"images cannot be read, more than the allowed share"):
        batches(data.split_stream(stream, test=0.0))


def test_the_fingerprint_is_that_of_the_content(shards, tmp_path):
    again = tmp_path / "elsewhere"
    write_parquets(again, COUNT, 5)
    prints = [
        data.split_stream(stream, seed=1).train.dataset.fingerprint()
        for stream in (opened("parquet", shards), data.open_stream(again))
    ]
    assert prints[0] == prints[1] == opened("parquet", shards).fingerprint
    assert data.split_stream(opened("parquet", shards)).train.dataset.fingerprint() == prints[0]
    next(again.glob("*-00003-*")).unlink()
    fewer = data.split_stream(data.open_stream(again), seed=1).train.dataset.fingerprint()
    assert fewer != prints[0]


def test_a_shard_that_changed_since_stops_with_a_sentence(tmp_path):
    (file,) = write_parquets(tmp_path, 40, 1)
    stream = data.open_stream(tmp_path)
    parts = data.split_stream(stream)
    write_parquets(tmp_path / "less", 12, 1)[0].rename(file)
    with pytest.raises(DataError, match=r"fewer rows|Cannot read"):
        batches(parts)
    file.unlink()
    with pytest.raises(DataError, match="any more"):
        batches(parts)


def test_counted_rows_of_a_stream_can_be_read_in_any_order():
    stream = data.open_stream(table(range(30)).to_iterable_dataset(num_shards=3))
    samples = stream.counted.samples
    for i in (0, 1, 17, 16, 29, 2, 25):
        assert samples.encoded(i) == picture(i)
    assert samples.name(11) == "row/1/1"


def test_what_is_no_stream_or_lacks_something_is_one_sentence(shards, tmp_path, folder):
    with pytest.raises(DataError, match="not in shards"):
        data.open_stream(folder)
    with pytest.raises(OptionError, match="samples_per_epoch"):
        data.split_stream(opened("uncounted", shards))
    with pytest.raises(OptionError, match="block"):
        data.split_stream(opened("tar", shards), block=1)
    many = table(range(12)).to_iterable_dataset(num_shards=2)
    with pytest.raises(DataError, match="must be counted first, since it has no validation split"):
        data.open_stream(many, counted=False)
    node = split_dataset_by_node(many, rank=0, world_size=2)
    with pytest.raises(DataError, match="split by node already"):
        data.open_stream(node)
    bare = datasets.IterableDataset.from_generator(iter, gen_kwargs={"o": [{}]})
    with pytest.raises(DataError, match="give it features"):
        data.open_stream(bare)
    numbers = table(range(6)).add_column("tags", [["a"], ["b"]] * 3)
    with pytest.raises(OptionError, match="one class a sample"):
        data.open_stream(numbers, label_column="tags")
    parts = parts_of("tar", shards)
    with pytest.raises(OptionError, match="stream keeps none"):
        data.packed(parts.train, 8, tmp_path)
    whole = data.Part(opened("tar", shards).counted, np.arange(4))
    preprocessing = data.fit_preprocessing(parts.train, size=8)
    named = {"batch_size": 2, "seed": 0, "epoch": 0, "start": 0, "workers": 0, "rank": 0}
    with pytest.raises(OptionError, match="training part of a stream"):
        stream_batches(whole, preprocessing, Augmentation(), **named, world=1)


def test_mixtures_of_an_odd_batch_keep_partners_together(shards):
    parts = parts_of("tar", shards)
    change = Augmentation(mixup=0.5)
    for batch in batches(parts, augmentation=change):
        assert batch.mix is not None
        own, other = batch.target, batch.mix.target
        pairs = len(batch) // 2 * 2
        swapped = torch.arange(pairs).bitwise_xor(1)
        assert torch.equal(other[:pairs], own[swapped])
