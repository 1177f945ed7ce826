"""Tar archives as WebDataset has them: files with one name and several endings are one sample.

    train-0000.tar: a/0001.jpg  a/0001.cls  a/0002.jpg  a/0002.cls ...

An index of where each image lies gives random access without unpacking anything.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.classes import may_be_mirrored
from convarium.data.dataset import Dataset
from convarium.data.decode import is_image_name
from convarium.data.labels import cells_of
from convarium.data.names import Names
from convarium.data.samples import EncodedSamples, cause
from convarium.data.shards.members import ArchiveSample, archive_samples
from convarium.data.shards.places import parts_of
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError, did_you_mean

_ENTRY = ("label", "class", "target", "category", "class_name")
_MOST_REFUSED = 0.1


class TarSamples(EncodedSamples):
    """Images inside of tar archives.

    Args:
        files: the archives.
        names: of the samples, with the archive's in front.
        shard: in which archive each lies, int32 `(N,)`.
        starts: at which byte of it, int64 `(N,)`.
        sizes: in bytes, int64 `(N,)`.
    """

    def __init__(
        self,
        files: Sequence[str],
        names: Names,
        shard: NDArray[np.int32],
        starts: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> None:
        self.files, self.names = tuple(files), names
        self.shard, self.starts, self.sizes = shard, starts, sizes

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """The archive's name and the sample's in it."""
        return self.names[i]

    def encoded(self, i: int) -> bytes:
        """The image's bytes."""
        size = int(self.sizes[i])
        try:
            with open(self.files[self.shard[i]], "rb") as file:
                file.seek(int(self.starts[i]))
                content = file.read(size)
        except OSError as error:
            raise DataError(cause(error)) from error
        if len(content) < size:
            raise DataError("the archive is cut short")
        return content

    def file_facts(self) -> bytes:
        """Digest of where each image lies."""
        state = hashlib.blake2b(digest_size=16)
        for values in (self.shard, self.starts, self.sizes):
            state.update(np.ascontiguousarray(values).data)
        return state.digest()


def open_tar(
    files: Sequence[Path],
    source: str,
    *,
    image: str | None = None,
    labels: Sequence[str] = (),
    task: str | None = None,
) -> Dataset:
    """A data set from tar archives; names with train, val or test give the parts.

    A sample's label is its file `.cls`, or an entry of its `.json`. Samples without an image or a
    label are skipped and listed, and so is what follows where an archive is cut short.

    Args:
        files: the archives, in order.
        source: what the user named.
        image: ending of the images; None takes whatever is an image by its name.
        labels: endings, or entries of `.json`; none means `cls`, or an entry with a usual name.
        task: as `open_dataset` has it.

    Raises:
        DataError: no sample has an image and a label, or the labels cannot be used.
    """
    skipped = SkipList()
    index = _Index(image, labels, task)
    parts = parts_of(files)
    given = array("b")
    for number, file in enumerate(files):
        before = len(index.starts)
        index.read(file, number, skipped)
        part = -1 if parts is None else parts[number]
        given.extend([part] * (len(index.starts) - before))
    refused, taken = index.cells.refused, len(index.starts)
    if not taken or refused > _MOST_REFUSED * (refused + taken):
        raise DataError(_without(source, index, skipped, refused, taken))
    found = index.cells.labels()
    samples = TarSamples(
        [str(file.resolve()) for file in files],
        Names(index.names, np.frombuffer(index.ends, np.int64)),
        np.frombuffer(index.shard, np.int32),
        np.frombuffer(index.starts, np.int64),
        np.frombuffer(index.sizes, np.int64),
    )
    return Dataset(
        samples,
        source=source,
        task=task or "classification",
        classes=found.classes,
        targets=found.targets,
        units=found.units,
        given=None if parts is None else np.frombuffer(given, np.int8),
        skipped=skipped,
        columns=_named(image, labels),
        mirrored=task != "regression" and may_be_mirrored(found.classes),
    )


def _named(image: str | None, labels: Sequence[str]) -> dict[str, str | list[str]]:
    """What was named, by the keywords of `open_dataset`."""
    named: dict[str, str | list[str]] = {} if image is None else {"path_column": image}
    return {**named, "label_column": list(labels)} if labels else named


class _Index:
    """Where each image lies and what its label says, from the headers of one archive at a time."""

    def __init__(self, image: str | None, labels: Sequence[str], task: str | None) -> None:
        self.image, self.wanted = image, tuple(labels)
        self.cells = cells_of(task, self.wanted or ("cls",))
        self.shard, self.starts, self.sizes = array("i"), array("q"), array("q")
        self.names, self.ends = bytearray(), array("q")
        self.endings: dict[str, None] = {}
        self.entries: dict[str, None] = {}

    def read(self, file: Path, number: int, skipped: SkipList) -> None:
        """Take in one archive."""
        end = file.stat().st_size
        for sample in archive_samples(file, skipped):
            self.endings.update(dict.fromkeys(sample.files))
            name = f"{file.name}/{sample.key}"
            place = self._image(sample)
            if place is None:
                problem: str | None = "no image of that name"
            elif sum(place) > end:
                problem = "the archive is cut short"
            else:
                problem = self._label(sample)
            if problem is not None or place is None:
                skipped.append(Skipped(name, problem or ""))
                continue
            self.shard.append(number)
            self.starts.append(place[0])
            self.sizes.append(place[1])
            self.names += name.encode("utf-8", "surrogateescape")
            self.ends.append(len(self.names))

    def _image(self, sample: ArchiveSample) -> tuple[int, int] | None:
        if self.image is not None:
            return sample.files.get(self.image)
        return next((p for end, p in sample.files.items() if is_image_name(f"a.{end}")), None)

    def _label(self, sample: ArchiveSample) -> str | None:
        """Take in the sample's label; else the reason why it has none."""
        entries = {}
        if "json" in sample.texts:
            try:
                entries = json.loads(sample.texts["json"])
            except (ValueError, RecursionError):
                return "its .json cannot be read"
            entries = entries if isinstance(entries, dict) else {}
            self.entries.update(dict.fromkeys(entries))
        names = self.wanted or (_usual(sample, entries),)
        cells = [_cell(sample, entries, name) for name in names]
        return "no label" if None in cells else self.cells.add([str(cell) for cell in cells])


def _usual(sample: ArchiveSample, entries: Mapping[str, Any]) -> str:
    """Where the label of a sample is, when nobody says."""
    if "cls" in sample.texts:
        return "cls"
    return next((name for name in _ENTRY if name in entries), "cls")


def _cell(sample: ArchiveSample, entries: Mapping[str, Any], name: str) -> str | None:
    """One cell of a sample: a small file, or an entry of its JSON; lists with semicolons."""
    if name in sample.texts:
        return sample.texts[name].decode("utf-8", "backslashreplace").strip()
    value = entries.get(name)
    if isinstance(value, list):
        return ";".join(map(str, value))
    return None if value is None else str(value).strip()


def _without(source: str, index: _Index, skipped: SkipList, refused: int, taken: int) -> str:
    """Why an archive cannot be used."""
    if taken:
        return (
            f"{refused} of {refused + taken} samples of {source} have no usable label "
            f"({skipped[-1].name}: {skipped[-1].reason}); correct them, or say --task."
        )
    first = f" ({skipped[0].name}: {skipped[0].reason})" if skipped else ""
    wanted = index.image or (index.wanted[0] if index.wanted else "cls")
    known = [*index.endings, *index.entries]
    entries = f", and the entries {', '.join(index.entries)} in .json" if index.entries else ""
    return (
        f"{source} has no sample with an image and a label{first}. Its files end in: "
        f"{', '.join(index.endings) or 'nothing'}{entries}; name them with --path-column and "
        f"--label-column.{did_you_mean(wanted, [each for each in known if each != wanted])}"
    )
