"""A cache from the reading that looked at the data: the same bytes, and no file read twice."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convarium import data
from convarium.cli import main
from convarium.data.packing import packed
from convarium.data.staging import Staging, is_staged_before
from convarium.errors import RunError


@pytest.fixture
def photos(tmp_path) -> Path:
    """JPEGs that are decoded at a reduced scale, others, PNGs, turned ones, and a damaged one."""
    root = tmp_path / "photos"
    for k in range(24):
        folder = root / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[: 40 + 7 * k, : 60 + 5 * k]
        plane = (x if k % 2 else y) * (3 + k) % 256
        image = Image.fromarray(np.stack([plane, plane // 2, 255 - plane], -1).astype(np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 1 + k % 8
        if k % 3:
            image.save(folder / f"{k:02}.jpg", quality=90, exif=exif)
        else:
            image.save(folder / f"{k:02}.png")
    (root / "a" / "cut.jpg").write_bytes((root / "a" / "04.jpg").read_bytes()[:300])
    return root


def part_of(root: Path, staging: Staging | None = None) -> data.Part:
    dataset = data.open_dataset(root)
    dataset.survey(staging=staging)
    return data.split(dataset, seed=0).train


def pixels(folder: Path) -> bytes:
    (pack,) = folder.glob("pack-*")
    return (pack / "pixels.bin").read_bytes() + (pack / "index.npy").read_bytes()


@pytest.mark.parametrize("side", [24, 64])
def test_the_pack_has_the_bytes_of_one_made_by_reading_again(photos, tmp_path, side):
    packed(part_of(photos), side, tmp_path / "again")
    part = part_of(photos, Staging(tmp_path / "once", side))
    plain = data.open_dataset(photos)
    assert part.dataset.fingerprint() == plain.fingerprint()
    assert list(part.dataset.skipped) == list(plain.skipped)
    for file in photos.rglob("*.*g"):
        file.unlink()  # nothing is read from here on
    packed(part, side, tmp_path / "once")
    assert pixels(tmp_path / "once") == pixels(tmp_path / "again")
    assert [path.name[:4] for path in (tmp_path / "once").iterdir() if path.is_dir()] == ["pack"]


def test_another_side_or_a_full_disk_reads_again(photos, tmp_path, monkeypatch):
    packed(part_of(photos), 24, tmp_path / "again")
    packed(part_of(photos, Staging(tmp_path / "other", 30)), 24, tmp_path / "other")
    assert pixels(tmp_path / "other") == pixels(tmp_path / "again")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    write = os.pwrite
    for name, instead in (
        ("full", full),
        ("half", lambda f, d, at: write(f, d[: len(d) // 2], at)),
    ):
        monkeypatch.setattr("os.pwrite", instead)
        packed(part_of(photos, Staging(tmp_path / name, 24)), 24, tmp_path / name)
        assert pixels(tmp_path / name) == pixels(tmp_path / "again")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="Cannot write"):
        Staging(tmp_path / "file", 24)


def test_the_command_fills_the_cache_from_its_first_reading_and_only_once(
    photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ["train", "photos", "--size", "21", "--resized-crop", "0.5", "--cache", "cache"]
    words += ["--model", "convnet", "--epochs", "1", "--json"]
    assert main([*words, "--out", "first"]) == 0
    assert is_staged_before("cache", 24, "photos")
    assert not is_staged_before("cache", 25, "photos")
    before = pixels(tmp_path / "cache")
    opened: list[Path] = []
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        opened.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert main([*words, "--out", "again"]) == 0
    assert pixels(tmp_path / "cache") == before
    assert not [path for path in opened if path.suffix == ".jpg"]  # nothing is put aside again
