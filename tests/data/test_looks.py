"""Pictures that look alike: copies by Pillow are found, other pictures are not, as numpy says."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from convarium import data
from convarium.data.looks import alike_pairs, differing_bits, linked, looks, thumbnail
from convarium.data.samples import ArraySamples
from convarium.errors import OptionError

Pixels = np.ndarray


def scene(k: int, width: int = 96, height: int = 72) -> Image.Image:
    """A smooth random picture in colour, no two alike."""
    generator = np.random.Generator(np.random.PCG64(k))
    coarse = generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return large.filter(ImageFilter.GaussianBlur(1))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue()))


def brighter(image: Image.Image, by: int) -> Image.Image:
    return image.point([min(255, max(0, value + by)) for value in range(256)] * 3)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 85": lambda image: as_jpeg(image, 85),
    "JPEG, quality 30": lambda image: as_jpeg(image, 30),
    "half the size": lambda image: image.resize((48, 36), Image.Resampling.LANCZOS),
    "twice the size": lambda image: image.resize((192, 144), Image.Resampling.BILINEAR),
    "another shape": lambda image: image.resize((96, 64), Image.Resampling.BICUBIC),
    "brighter by 8": lambda image: brighter(image, 8),
    "darker by 8": lambda image: brighter(image, -8),
}


def hashes_of(images: list[Image.Image]) -> np.ndarray:
    tiny = [thumbnail(np.asarray(image.convert("RGB"))) for image in images]
    return looks(np.stack([each for each in tiny if each is not None]))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(change):
    scenes = [scene(k) for k in range(200)]
    copies = [CHANGES[change](image) for image in scenes]
    pairs = alike_pairs(hashes_of([*scenes, *copies]))
    found = {(i, j) for i, j in pairs.tolist()}
    assert len(found & {(k, k + 200) for k in range(200)}) >= 199
    assert not found - {(k, k + 200) for k in range(200)}


@pytest.mark.parametrize("change", ["mirrored", "negative", "in other colours", "turned"])
def test_what_looks_different_is_not_alike(change):
    scenes = [scene(k) for k in range(100)]
    others = {
        "mirrored": [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in scenes],
        "negative": [image.point([255 - value for value in range(256)] * 3) for image in scenes],
        "in other colours": [Image.merge("RGB", image.split()[::-1]) for image in scenes],
        "turned": [image.transpose(Image.Transpose.ROTATE_180) for image in scenes],
    }[change]
    assert not len(alike_pairs(hashes_of([*scenes, *others])))


def test_the_bits_that_differ_estimate_the_angle_between_tiny_pictures():
    scenes = [scene(k) for k in range(60)]
    mixed = [Image.blend(one, scene(k + 500), k / 60) for k, one in enumerate(scenes)]
    bits = differing_bits(hashes_of(scenes), hashes_of(mixed))
    tiny = [
        np.stack([thumbnail(np.asarray(image)) for image in some]).reshape(60, 256, 3)
        for some in (scenes, mixed)
    ]
    one, other = (each - each.mean(axis=1, keepdims=True) for each in tiny)
    norms = np.sqrt((one**2).sum((1, 2)) * (other**2).sum((1, 2)))
    angle = np.arccos(np.clip((one * other).sum((1, 2)) / norms, -1, 1))
    assert np.abs(bits / 256 - angle / np.pi).max() < 0.12
    assert np.abs(bits / 256 - angle / np.pi).mean() < 0.03


@given(st.integers(0, 2**32 - 1), st.integers(0, 14))
def test_near_hashes_are_found_as_comparing_all_with_all_finds_them(seed, distance):
    generator = np.random.Generator(np.random.PCG64(seed))
    hashes = generator.integers(0, 2**64, (60, 4), dtype=np.uint64)
    for k in range(30):  # of each of the first thirty a neighbour, a few bits away
        hashes[30 + k] = hashes[k % 7 if k % 5 == 0 else k]
        for bit in generator.integers(0, 256, generator.integers(0, 20)):
            hashes[30 + k, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    every = np.argwhere(np.triu(apart <= distance, 1))
    found = alike_pairs(hashes, distance)
    assert {*map(tuple, found.tolist())} <= {*map(tuple, every.tolist())}
    assert np.array_equal(linked(60, found), linked(60, every))


@pytest.mark.parametrize("many", [20_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_many_are_searched_in_seconds_and_large_sets_stay_whole(many):
    generator = np.random.Generator(np.random.PCG64(1))
    hashes = generator.integers(0, 2**64, (many, 4), dtype=np.uint64)
    some = many // 100
    hashes[2 * some : 3 * some] = hashes[:some] ^ np.uint64(0b11)
    hashes[3 * some : 6 * some] = hashes[3 * some]  # equal
    hashes[7 * some : 8 * some] = hashes[7 * some]
    bits = generator.integers(0, 256, (some, 5))
    for k in range(1, some):  # nearly equal
        for bit in bits[k].tolist():
            hashes[7 * some + k, bit // 64] ^= np.uint64(1 << bit % 64)
    started = time.process_time()
    pairs = alike_pairs(hashes)
    assert time.process_time() - started < many / 10_000
    sizes = np.bincount(linked(len(hashes), pairs))
    assert sorted(sizes[sizes > 1].tolist()) == [2] * some + [some, 3 * some]


def test_small_and_flat_pictures_are_not_compared():
    assert thumbnail(np.zeros((31, 40, 3), np.uint8)) is None
    flat = np.full((5, 16, 16, 3), 200, np.uint8)
    assert not looks(flat).any()
    assert not len(alike_pairs(looks(flat)))
    with pytest.raises(OptionError, match="0 to 32 bits"):
        alike_pairs(np.ones((1, 4), np.uint64), 33)


def written(root: Path, count: int = 40) -> Path:
    """Class folders in which every picture has a copy of half the size, in the same class."""
    for k in range(count):
        (root / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        image = scene(k)
        image.save(root / "ab"[k % 2] / f"{k:03}.png")
        image.resize((48, 36), Image.Resampling.LANCZOS).save(root / "ab"[k % 2] / f"{k:03}-s.png")
    return root


def test_a_split_tells_of_lookalikes_across_its_parts_and_keeps_them_together_on_request(tmp_path):
    dataset = data.open_dataset(written(tmp_path))
    names = [dataset.name(i) for i in range(len(dataset))]
    assert len(dataset.alike()) == 40
    torn = data.split(dataset)
    found = data.lookalikes(torn)
    inside = {names[i].replace("-s", "") for i in torn.train.ids}
    for word in ("validation", "test"):
        part = getattr(torn, word)
        expected = [i for i in part.ids.tolist() if names[i].replace("-s", "") in inside]
        assert sorted(getattr(found, word)[:, 0].tolist()) == expected
    rows = list(found.rows())
    assert all(row["name"].replace("-s", "") == row["train_name"].replace("-s", "") for row in rows)
    assert len(rows) == sum(found.counts.values()) > 0
    assert data.build_card(torn, data.fit_preprocessing(torn.train, size=16))["data"]["alike"] == (
        found.counts
    )
    whole = data.split(dataset, group_alike=True)
    assert data.lookalikes(whole).counts == {"validation": 0, "test": 0}
    assert whole.settings["group_alike"] is True
    for parts in data.split_folds(dataset, 3, group_alike=True):
        assert data.lookalikes(parts).counts == {"validation": 0, "test": 0}


def test_equal_pictures_in_given_parts_are_each_counted():
    image = np.asarray(scene(3)).transpose(2, 0, 1)
    images = np.stack([image] * 6 + [np.asarray(scene(9)).transpose(2, 0, 1)])
    dataset = data.Dataset(
        ArraySamples(images, [("image", 7)]),
        source="made",
        classes=("a", "b"),
        targets=np.array([0, 1, 0, 1, 0, 1, 0]),
        given=np.array([2, 2, 0, 0, 1, 2, 0], np.int8),
    )
    found = data.lookalikes(data.split(dataset))
    assert sorted(found.test[:, 0].tolist()) == [0, 1, 5]
    assert found.validation[:, 0].tolist() == [4]
    assert set(found.test[:, 1].tolist()) <= {2, 3}


def test_an_overview_lists_sets_that_look_alike_besides_equal_ones(tmp_path):
    root = written(tmp_path, 6)
    (root / "b" / "moved.png").write_bytes((root / "a" / "000-s.png").read_bytes())
    (root / "b" / "equal.png").write_bytes((root / "b" / "001.png").read_bytes())
    (root / "b" / "001-s.png").unlink()
    told = data.overview(data.open_dataset(root))
    assert len(told.alike) == 5  # the sixth set is of equal pictures only
    assert ("a/000-s.png", "a/000.png", "b/moved.png") in told.alike
    assert told.alike_contradicting == 1
    assert dataclasses.asdict(told)["copies"] == (
        ("a/000-s.png", "b/moved.png"), ("b/001.png", "b/equal.png"),
    )  # fmt: skip
