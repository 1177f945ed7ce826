"""A packed cache: pictures decoded and resized once, in one file that is mapped into memory.

    FOLDER/<key>/pixels.bin     uint8 (H, W, C) of each sample, one after the other
    FOLDER/<key>/index.npy      a row a sample: where it begins, height, width, channels, CRC-32
    FOLDER/<key>/pack.json      format, short side, number of samples, digest of the index

The key follows from the data's fingerprint, the samples and the short side. A pack is whole or
absent; of several processes that want one, the first writes it and the others wait. A picture is
checked when it is first read; one that is damaged is read from its own file again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.data.dataset import Dataset, Part
from convarium.data.parallel import ordered, processors
from convarium.data.samples import ArraySamples, Facts, Samples
from convarium.data.shrinking import packed_size, shrunk
from convarium.errors import ConvariumError, DataError, OptionError, RunError
from convarium.progress import Progress

FORMAT = 1
_INDEX = np.dtype(
    [("start", "<i8"), ("height", "<i4"), ("width", "<i4"), ("channels", "<i4"), ("crc", "<u4")]
)


class PackedSamples:
    """The samples of a pack; those that it lacks, and names and facts, come from the original ones.

    Args:
        samples: the original ones.
        ids: which of them are packed, in the pack's order, int64 `(n,)`.
        folder: the pack.
        short_side: to which pictures were resized, in pixels.

    Raises:
        RunError: the pack is not whole.
    """

    def __init__(
        self, samples: Samples, ids: NDArray[np.int64], folder: Path, short_side: int
    ) -> None:
        self.samples, self.folder, self.short_side = samples, folder, short_side
        self._index = _read_index(folder, len(ids))
        self._place = np.full(len(samples), -1, np.int64)
        self._place[ids] = np.arange(len(ids))
        self._checked = np.zeros(len(ids), np.bool_)
        self._pixels = self._mapped()

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the mapped file, which another process maps for itself."""
        return {**self.__dict__, "_pixels": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pixels = self._mapped()

    def name(self, i: int) -> str:
        """Name of sample `i`."""
        return self.samples.name(i)

    def facts(self, i: int) -> Facts:
        """Digest and size of the original sample `i`."""
        return self.samples.facts(i)

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Pixels `(H, W, C)`, read only; a DataError gives the reason alone."""
        place = int(self._place[i])
        if place < 0:
            original: NDArray[np.uint8] = self.samples.read(i, at_least)
            return original
        start, height, width, channels, crc = self._index[place].tolist()
        pixels = self._pixels[start : start + height * width * channels]
        if not self._checked[place]:
            if zlib.crc32(pixels.data) != crc:
                warnings.warn(
                    f"The cached picture of {self.name(i)} is damaged and is read from its own file"
                    f" instead; remove {self.folder} to have it made again.",
                    stacklevel=2,
                )
                return _read(self.samples, i, (height, width))
            self._checked[place] = True
        return pixels.reshape(height, width, channels)

    def _mapped(self) -> NDArray[np.uint8]:
        path = self.folder / "pixels.bin"
        if not self._index.size:
            return np.empty(0, np.uint8)
        return np.memmap(path, np.uint8, "r").view(np.ndarray)


def packed(
    part: Part,
    short_side: int,
    folder: str | Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    trial: bool = False,
) -> Part:
    """The part with its pictures from a pack, which is made where it is not there yet.

    Pictures whose short side is longer are resized to it, antialiased; others stay as they are. A
    part whose pictures are in memory already needs no pack and is given back.

    Args:
        part: what is packed; its data set's other samples are read as before.
        short_side: in pixels; for crops at random, some more than the crop's side.
        folder: where packs are kept.
        workers: threads that decode; None means one a processor.
        progress: is advanced by one for each picture that is packed.
        trial: leave what a survey put aside to the pack that is made afterwards.

    Raises:
        OptionError: short_side below 1, or samples that are no pictures.
        RunError: the folder cannot be written, or the disk is too small for the pack.
        DataError: a sample cannot be read any more.
    """
    import filelock

    if short_side < 1:
        raise OptionError(f"short_side (={short_side}) must be 1 pixel or more.")
    if not part.listed:
        raise OptionError("A cache keeps every picture, and a stream keeps none; leave one out.")
    if part.dataset.kind != "images":
        raise OptionError(f"A cache keeps pictures, and these are {part.dataset.kind}.")
    if isinstance(part.dataset.samples, ArraySamples):
        return part
    root = Path(folder)
    place = root / _key(part, short_side)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{place.name}.lock"):
            samples = _opened(part, place, short_side)
            if samples is None:
                _write(part, place, short_side, workers, progress)
                samples = PackedSamples(part.dataset.samples, part.ids, place, short_side)
    except OSError as error:
        raise files.not_written(root, error) from error
    if part.dataset.staged is not None and not trial:
        part.dataset.staged.drop()
    return Part(_with_samples(part.dataset, samples), part.ids)


def is_packed(part: Part, short_side: int, folder: str | Path) -> bool:
    """Whether `packed` would find a pack in the folder."""
    return (Path(folder) / _key(part, short_side)).exists()


def _read(samples: Samples, i: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Sample `i` as it is packed: decoded at a scale that is enough, resized to `size`."""
    return shrunk(samples.read(i, size), size)


def _key(part: Part, short_side: int) -> str:
    state = hashlib.blake2b(digest_size=10)
    state.update(f"{FORMAT} {short_side} {part.dataset.fingerprint()} ".encode())
    state.update(np.ascontiguousarray(part.ids, "<i8").data)
    return f"pack-{short_side}-{state.hexdigest()}"


def _opened(part: Part, place: Path, short_side: int) -> PackedSamples | None:
    """The pack that is there; None where there is none or it is damaged, and then it is removed."""
    if not place.exists():
        return None
    try:
        return PackedSamples(part.dataset.samples, part.ids, place, short_side)
    except (ConvariumError, OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"The cache {place} is damaged ({error}) and is made again.", stacklevel=3)
        shutil.rmtree(place)
        return None


def _write(
    part: Part, place: Path, short_side: int, workers: int | None, progress: Progress | None
) -> None:
    _check_room(part, place.parent, short_side)
    for leftover in place.parent.glob(f".{place.name}.*.tmp"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with files.atomic(place) as temporary:
        temporary.mkdir()
        pictures = _pictures(part, short_side, workers)
        index = _write_pixels(temporary / "pixels.bin", pictures, len(part), progress)
        np.save(temporary / "index.npy", index, allow_pickle=False)
        facts: dict[str, Any] = {"format": FORMAT, "short_side": short_side, "samples": len(part)}
        facts["source"] = part.dataset.source
        digest = files.sha256(temporary / "index.npy")
        files.write_json(temporary / "pack.json", {**facts, "index_sha256": digest})


def _write_pixels(
    path: Path, pictures: Iterator[NDArray[np.uint8]], count: int, progress: Progress | None
) -> NDArray[Any]:
    """All pictures in one file; gives the index."""
    index = np.zeros(count, _INDEX)
    with open(path, "wb") as file:
        for k, pixels in enumerate(pictures):
            data = np.ascontiguousarray(pixels)
            index[k] = (file.tell(), *data.shape, zlib.crc32(data.data))
            file.write(data.data)
            if progress is not None:
                progress.advance(1)
    return index


def _pictures(part: Part, short_side: int, workers: int | None) -> Iterator[NDArray[np.uint8]]:
    sizes, staged = _sizes(part, short_side), part.dataset.staged
    staged = staged if staged is not None and staged.short_side == short_side else None

    def read(k: int) -> NDArray[np.uint8]:
        i = int(part.ids[k])
        kept = None if staged is None else staged.read(i)
        if kept is not None:
            return kept
        try:
            return _read(part.dataset.samples, i, sizes[k])
        except DataError as error:
            raise DataError(f"Cannot read {part.dataset.name(i)} any more: {error}.") from error

    return ordered(read, range(len(part)), processors() if workers is None else workers)


def _sizes(part: Part, short_side: int) -> list[tuple[int, int]]:
    survey = part.dataset.survey()
    sides = zip(survey.heights[part.ids].tolist(), survey.widths[part.ids].tolist(), strict=True)
    return [packed_size(height, width, short_side) for height, width in sides]


def _check_room(part: Part, root: Path, short_side: int) -> None:
    pixels = sum(height * width for height, width in _sizes(part, short_side))
    need, free = pixels * part.dataset.survey().channels, _free(root)
    staged = part.dataset.staged
    if need > free and staged is not None:
        staged.drop()
        free = _free(root)
    if need > free:
        raise RunError(
            f"The cache in {root} needs {need / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; "
            "give another folder, or train without a cache."
        )


def _free(root: Path) -> int:
    facts = os.statvfs(root)
    return facts.f_bavail * facts.f_frsize


def _read_index(folder: Path, count: int) -> NDArray[Any]:
    """The index, once it is the one that was written and the pixels are all there."""
    facts = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
    if facts["format"] != FORMAT or facts["samples"] != count:
        raise RunError("it is of another format or other samples")
    if files.sha256(folder / "index.npy") != facts["index_sha256"]:
        raise RunError("its index was changed")
    index: NDArray[Any] = np.load(folder / "index.npy", allow_pickle=False)
    sizes = index["height"].astype(np.int64) * index["width"] * index["channels"]
    if (folder / "pixels.bin").stat().st_size != sizes.sum():
        raise RunError("its pixels are cut short")
    return index


def _with_samples(dataset: Dataset, samples: PackedSamples) -> Dataset:
    """The same data set, reading from elsewhere."""
    other = copy.copy(dataset)
    other.samples, other.pictures = samples, None
    return other
