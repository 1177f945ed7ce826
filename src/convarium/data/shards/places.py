"""Shards on disk: which files they are, in which order, and which parts their names give."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from convarium.data.given import TRAIN, part_number
from convarium.errors import DataError

TAR, PARQUET = (".tar",), (".parquet", ".pq")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def shard_files(source: str | Path) -> list[Path]:
    """The tar or Parquet files that a path or a pattern names, in order; none where it does not.

    A folder has shards where they lie in it, or in its folder `data`, and it has no other folder.
    A pattern has `*`, `?` or a range in braces.

    Raises:
        DataError: a pattern that no file fits, or files of both kinds.
    """
    path = Path(source)
    if path.is_dir():
        found = _in_folder(path)
    elif path.is_file():
        found = [path] if path.suffix.lower() in TAR + PARQUET else []
    elif _is_pattern(str(source)):
        found = [Path(name) for name in _matching(str(source))]
        if not found:
            raise DataError(f"No file fits the pattern {source}; check the folder and the numbers.")
    else:
        found = []
    if len({file.suffix.lower() in TAR for file in found}) > 1:
        raise DataError(
            f"{source} names tar archives and Parquet files; give those of one kind, as a pattern."
        )
    return found


def ranges(pattern: str) -> list[str]:
    """The texts that a range in braces stands for.

    >>> ranges("train-{08..10}.tar")
    ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [text for number in numbers for text in ranges(before + number + after)]


def any_fits(pattern: str) -> bool:
    """Whether there is a file that a path or a pattern names.

    >>> any_fits("nowhere/{00..09}.tar")
    False
    """
    return any(True for text in ranges(pattern) for _ in glob.iglob(text, recursive=True))


def part_of(*names: str) -> int | None:
    """The part that the first of some names gives in which a word is a part.

    >>> part_of("imagenet-val-0003", "train"), part_of("0003", "test"), part_of("photos")
    (1, 2, None)
    """
    for name in names:
        for word in re.split(r"[^A-Za-z]+", name):
            number = part_number(word)
            if number is not None:
                return number
    return None


def parts_of(files: Sequence[Path]) -> list[int] | None:
    """The part of each shard by its name, or by its folder's where they lie in several.

    -1 where that gives none; None where no shard is for training, so that nothing is given.
    """
    several = len({file.parent for file in files}) > 1
    names = [(file.stem, *([file.parent.name] if several else [])) for file in files]
    numbers = [part_of(*each) for each in names]
    if TRAIN not in numbers:
        return None
    return [-1 if number is None else number for number in numbers]


def _in_folder(path: Path) -> list[Path]:
    entries = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    inside = folders[0] if len(folders) == 1 and folders[0].name == "data" else None
    if folders and inside is None:
        return []
    some = [entry for entry in entries if entry.suffix.lower() in TAR + PARQUET]
    if inside is not None:
        some += [
            entry for entry in sorted(inside.iterdir()) if entry.suffix.lower() in PARQUET + TAR
        ]
    return [entry for entry in some if entry.is_file()]


def _is_pattern(text: str) -> bool:
    return glob.has_magic(text) or _RANGE.search(text) is not None


def _matching(pattern: str) -> list[str]:
    found: list[str] = []
    for text in ranges(pattern):
        some = sorted(glob.glob(text, recursive=True))
        if found and not some:
            raise DataError(f"No file fits {text} of {pattern}; fetch it, or give another range.")
        found += some
    return list(dict.fromkeys(found))
