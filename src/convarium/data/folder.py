"""Listing folders of pictures or volumes: classes from folder names, parts from given folders.

    root/cat/a.jpg, root/dog/b.jpg                    classes cat and dog
    root/train/cat/a.jpg, root/test/cat/c.jpg         the same, with parts that are respected

Folders inside a class folder belong to its class. Hidden files, `.ipynb_checkpoints`, empty class
folders, files that are neither images nor volumes, and what is no regular file (a pipe, a socket)
are skipped and listed. So are images by their names where most files are volumes, and the other way
round. Links are followed; a folder that links lead to twice is listed once in each class.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convarium.data.classes import may_be_mirrored, numbered
from convarium.data.dataset import Dataset
from convarium.data.given import PARTS, TRAIN, part_number
from convarium.data.kinds import all_may_be, file_samples, is_sample_name, kind_of
from convarium.data.names import Names, shown
from convarium.data.samples import cause
from convarium.data.skipping import SkipList, Skipped
from convarium.errors import DataError

NOT_BY_NAME = {
    None: "neither an image nor a volume by its name",
    "images": "not an image by its name",
    "volumes": "not a volume by its name",
}
_JUNK = ("__pycache__", "__MACOSX")


def open_folder(root: Path, kind: str | None = None) -> Dataset:
    """A data set from a folder of class folders, optionally below train, validation and test.

    The folder counts as given in parts when every folder in it is named as a part (train, val,
    valid, validation, test), train is among them, and train holds folders.

    Args:
        root: the folder.
        kind: "images" or "volumes"; None finds out.

    Raises:
        DataError: the folder is empty, has no class folders, or no image in them; or it has other
            folders beside train and another part that both hold folders.
    """
    skipped = SkipList()
    folders, files = _sorted_entries(str(root), "", skipped)
    if not folders:
        raise DataError(_without_classes(root, files))
    skipped.extend(Skipped(name, "not in a class folder") for name in files)
    given = _is_given(root, folders)
    classes = _class_folders(root, folders, given, skipped)
    return _list_classes(root, classes, given, skipped, kind)


def walk(root: str, start: str, skipped: SkipList, kind: str | None = None) -> Iterator[str]:
    """Names below `root` of the samples' files in its folder `start` and in all folders below that.

    Folders in the order of their names, each real folder once, files sorted within a folder.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            facts = os.stat(os.path.join(root, folder))
            if (facts.st_dev, facts.st_ino) in seen:
                skipped.append(Skipped(folder, "a link to a folder that is listed already"))
                continue
            folders, files = _sorted_entries(root, folder, skipped)
        except OSError as error:
            skipped.append(Skipped(folder, cause(error)))
            continue
        seen.add((facts.st_dev, facts.st_ino))
        waiting.extend(reversed(folders))
        for name in files:
            if is_sample_name(name, kind):
                yield name
            else:
                skipped.append(Skipped(name, NOT_BY_NAME.get(kind, f"not {kind} by its name")))


def _sorted_entries(root: str, folder: str, skipped: SkipList) -> tuple[list[str], list[str]]:
    """Folders and files in root/folder, named below root, sorted; hidden ones are skipped."""
    folders, files = [], []
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in _JUNK:
                skipped.append(Skipped(name, "hidden"))
            elif _is_folder(entry):
                folders.append(name)
            elif _is_file(entry):
                files.append(name)
            else:
                skipped.append(Skipped(name, "not a regular file"))
    folders.sort()
    files.sort()
    return folders, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file, or a link that leads nowhere, which reading will name."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link that leads to itself
        return True


def _is_given(root: Path, folders: list[str]) -> bool:
    """Whether the folders are parts; what looks like parts and more is an error."""
    parts = {name: part_number(name) for name in folders}
    if TRAIN not in parts.values():
        return False
    extra = [name for name, part in parts.items() if part is None]
    with_folders = [
        name
        for name, part in parts.items()
        if (part == TRAIN or (extra and part is not None)) and _has_folders(root, name)
    ]
    found = {parts[name] for name in with_folders}
    if extra and TRAIN in found and len(found) > 1:
        more = ", ..." if len(extra) > 5 else ""
        raise DataError(
            f"{shown(str(root))} holds the parts {' and '.join(with_folders)}, and beside them "
            f"{', '.join(repr(shown(name)) for name in extra[:5])}{more}; move what is no part "
            f"({', '.join(PARTS)}) out of the folder."
        )
    return not extra and TRAIN in found


def _has_folders(root: Path, name: str) -> bool:
    return bool(_sorted_entries(str(root), name, SkipList())[0])


def _class_folders(
    root: Path, folders: list[str], given: bool, skipped: SkipList
) -> list[tuple[str, str, int]]:
    """(class folder, class name, part) of each class folder."""
    if not given:
        return [(name, shown(name), TRAIN) for name in folders]
    classes = []
    for part in folders:
        inside, loose = _sorted_entries(str(root), part, skipped)
        skipped.extend(Skipped(name, "not in a class folder") for name in loose)
        number = part_number(part) or TRAIN
        classes += [(name, shown(name[len(part) + 1 :]), number) for name in inside]
    return classes


def _list_classes(
    root: Path,
    folders: list[tuple[str, str, int]],
    given: bool,
    skipped: SkipList,
    kind: str | None,
) -> Dataset:
    words: dict[str, int] = {}
    labels, parts = array("q"), array("b")
    skipped_before = skipped.copy()

    def names() -> Iterator[str]:
        for folder, label, part in folders:
            before = len(labels)
            for name in walk(str(root), folder, skipped, kind):
                labels.append(words.setdefault(label, len(words)))
                parts.append(part)
                yield name
            if before == len(labels):
                skipped.append(
                    Skipped(folder, f"a class folder without {kind or 'images or volumes'}")
                )

    listed = Names.of(names())
    if not listed:
        raise DataError(
            f"The folders in {root} hold no {kind or 'images or volumes'}; put images such as .jpg "
            "or .png in them, or volumes such as .nii.gz or .npy."
        )
    found = kind_of(str(root.resolve()), listed) if kind is None else kind
    if kind is None and not all_may_be(listed, found):
        return _list_classes(root, folders, given, skipped_before, found)
    classes, targets = numbered(np.frombuffer(labels, np.int64), words)
    return Dataset(
        file_samples(str(root.resolve()), listed, found),
        source=str(root),
        classes=classes,
        targets=targets,
        given=np.frombuffer(parts, np.int8) if given else None,
        skipped=skipped,
        mirrored=may_be_mirrored(classes),
    )


def _without_classes(root: Path, files: list[str]) -> str:
    found = sum(map(is_sample_name, files))
    if found:
        return (
            f"{root} holds {found} images or volumes but no class folders; put those of each class "
            "in a folder with the name of the class, or give a table of path and label."
        )
    return f"{root} is empty: it has no class folders; put a folder of images for each class in it."
