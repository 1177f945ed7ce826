"""The packed cache: the pixels of the files, once; damage, death, a full disk, two writers."""

from __future__ import annotations

import os
import pickle
from multiprocessing import Queue
from pathlib import Path

import numpy as np
import pytest
from forked import CONTEXT
from PIL import Image

from convarium import data
from convarium.data import packing
from convarium.data.dataset import Part
from convarium.data.packing import PackedSamples, packed
from convarium.data.shrinking import packed_size
from convarium.errors import OptionError, RunError

SIDES = [(40, 30), (30, 40), (200, 90), (12, 50), (64, 64), (33, 97)]


@pytest.fixture
def part(tmp_path: Path) -> Part:
    """Photographs of many sizes, in JPEG and PNG, one of them grey."""
    for k, (width, height) in enumerate(SIDES):
        folder = tmp_path / "photos" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[:height, :width]
        planes = np.stack([x * 5 % 256, y * 3 % 256, (x + y) % 256], -1).astype(np.uint8)
        image = Image.fromarray(planes)
        image = image.convert("L") if k == 4 else image
        image.save(folder / f"{k}.{'png' if k % 3 else 'jpg'}")
    dataset = data.open_dataset(tmp_path / "photos")
    return Part(dataset, np.array([5, 0, 2, 3, 1]))


def only(folder: Path) -> Path:
    (found,) = folder.glob("pack-*")
    return found


def test_what_is_small_enough_is_the_file_and_the_rest_its_antialiased_resizing(part, tmp_path):
    found = packed(part, 32, tmp_path / "cache")
    assert found.ids is part.ids
    assert found.dataset.fingerprint() == part.dataset.fingerprint()
    for i in part.ids.tolist():
        whole = part.dataset.read(i)
        size = packed_size(*whole.shape[:2], 32)
        assert min(size) == min(32, *whole.shape[:2])
        pixels = found.dataset.read(i)
        assert pixels.shape == (*size, whole.shape[2])
        image = Image.fromarray(whole if whole.shape[2] == 3 else whole[:, :, 0])
        wanted = np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR))
        if part.dataset.name(i).endswith("png") or size == whole.shape[:2]:
            assert np.array_equal(pixels, wanted.reshape(pixels.shape))
        else:  # decoded at a reduced scale where that is enough
            assert np.abs(pixels.astype(int) - wanted.reshape(pixels.shape)).mean() < 12


def test_samples_that_are_not_packed_come_from_their_files(part, tmp_path):
    found = packed(part, 32, tmp_path / "cache")
    (left,) = set(range(len(SIDES))) - set(part.ids.tolist())
    assert np.array_equal(found.dataset.read(left), part.dataset.read(left))
    assert found.dataset.name(left) == part.dataset.name(left)


def test_a_pack_is_made_once_and_works_after_pickling(part, tmp_path, monkeypatch):
    first = packed(part, 32, tmp_path / "cache")
    monkeypatch.setattr(packing, "_write", None)  # whatever would write, would fail
    again = packed(part, 32, tmp_path / "cache")
    copied = pickle.loads(pickle.dumps(again.dataset))
    for i in part.ids.tolist():
        assert np.array_equal(first.dataset.read(i), again.dataset.read(i))
        assert np.array_equal(first.dataset.read(i), copied.read(i))


def test_other_data_other_samples_and_other_sides_have_packs_of_their_own(part, tmp_path):
    cache = tmp_path / "cache"
    packed(part, 32, cache)
    packed(part, 31, cache)
    packed(Part(part.dataset, part.ids[:3]), 32, cache)
    assert len([*cache.glob("pack-*")]) == 3


@pytest.mark.parametrize("damage", ["cut", "index", "json", "gone", "swapped"])
def test_a_damaged_pack_is_made_again(part, tmp_path, damage):
    first = packed(part, 32, tmp_path / "cache").dataset
    wanted = [first.read(i).copy() for i in part.ids.tolist()]  # not the mapped memory itself
    folder = only(tmp_path / "cache")
    if damage == "cut":
        os.truncate(folder / "pixels.bin", (folder / "pixels.bin").stat().st_size - 1)
    elif damage == "index":
        data_ = bytearray((folder / "index.npy").read_bytes())
        data_[-30] ^= 1
        (folder / "index.npy").write_bytes(data_)
    elif damage == "json":
        (folder / "pack.json").write_text("[]")
    elif damage == "gone":
        (folder / "index.npy").unlink()
    else:
        (folder / "pack.json").write_text("{not json")
    with pytest.warns(UserWarning, match="is damaged .* and is made again"):
        found = packed(part, 32, tmp_path / "cache")
    for i, pixels in zip(part.ids.tolist(), wanted, strict=True):
        assert np.array_equal(found.dataset.read(i), pixels)


def test_a_flipped_bit_is_found_and_the_file_is_read_instead(part, tmp_path):
    wanted = packed(part, 32, tmp_path / "cache").dataset.read(5).copy()
    with open(only(tmp_path / "cache") / "pixels.bin", "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 16]))
    found = packed(part, 32, tmp_path / "cache")
    with pytest.warns(UserWarning, match="is damaged and is read from its own file"):
        assert np.array_equal(found.dataset.read(5), wanted)


def test_what_a_killed_process_left_is_removed_and_never_taken(part, tmp_path):
    packed(part, 32, tmp_path / "cache")
    folder = only(tmp_path / "cache")
    half = folder.parent / f".{folder.name}.x1.tmp"
    folder.rename(half)  # as if the process had died before the last step
    packed(part, 32, tmp_path / "cache")
    assert not half.exists()
    assert only(tmp_path / "cache") == folder


def _pack(part: Part, folder: Path, results: Queue) -> None:
    found = packed(part, 32, folder)
    results.put(int(found.dataset.read(5).astype(np.int64).sum()))


def test_two_processes_at_once_end_with_one_pack(part, tmp_path):
    results = CONTEXT.Queue()
    workers = [
        CONTEXT.Process(target=_pack, args=(part, tmp_path / "cache", results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    sums = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sums[0] == sums[1]
    assert only(tmp_path / "cache").is_dir()


def test_a_disk_that_is_too_small_is_seen_before_anything_is_written(part, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_free", lambda root: 1000)
    with pytest.raises(RunError, match=r"needs \d+ MB and 0 MB are free; give another folder"):
        packed(part, 32, tmp_path / "cache")
    assert not [*(tmp_path / "cache").glob("pack-*")]


def test_a_place_that_cannot_be_and_a_side_of_nothing_are_refused(part, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot write"):
        packed(part, 32, tmp_path / "file" / "cache")
    with pytest.raises(OptionError, match=r"short_side \(=0\)"):
        packed(part, 0, tmp_path / "cache")


def test_an_empty_part_has_an_empty_pack(part, tmp_path):
    none = Part(part.dataset, np.array([], np.int64))
    assert isinstance(packed(none, 32, tmp_path / "cache").dataset.samples, PackedSamples)
