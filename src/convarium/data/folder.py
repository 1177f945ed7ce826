"""Listing folders of pictures: classes from folder names, parts from given folders.

    root/cat/a.jpg, root/dog/b.jpg                    classes cat and dog
    root/train/cat/a.jpg, root/test/cat/c.jpg         the same, with parts that are respected

Folders inside a class folder belong to its class. Hidden files, `.ipynb_checkpoints`, empty class
folders and files that are no images are skipped and listed. Links are followed; a folder that
links lead to twice is listed once in each class.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from convarium.data.dataset import Dataset, Skipped
from convarium.data.decode import is_image_name
from convarium.data.names import Names
from convarium.data.samples import FileSamples
from convarium.errors import DataError

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = {"train": TRAIN, "val": VALIDATION, "valid": VALIDATION, "validation": VALIDATION}
PARTS |= {"training": TRAIN, "test": TEST, "testing": TEST}
_JUNK = ("__pycache__", "__MACOSX")


def open_folder(root: Path) -> Dataset:
    """A data set from a folder of class folders, optionally below train, validation and test.

    Where three or more classes all have names of one character, they are taken for digits or
    letters, which must not be mirrored.

    The folder counts as given in parts when every folder in it is named as a part (train, val,
    valid, validation, test), train is among them, and train holds folders.

    Raises:
        DataError: the folder is empty, has no class folders, or no image in them.
    """
    skipped: list[Skipped] = []
    folders, files = _sorted_entries(str(root), "", skipped)
    if not folders:
        raise DataError(_without_classes(root, files))
    skipped += [Skipped(name, "not in a class folder") for name in files]
    given = _is_given(root, folders)
    classes = _class_folders(root, folders, given, skipped)
    return _list_classes(root, classes, given, skipped)


def walk(root: str, start: str, skipped: list[Skipped]) -> Iterator[str]:
    """Names below `root` of the image files in its folder `start` and in all folders below that.

    Folders in the order of their names, each real folder once, files sorted within a folder.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            facts = os.stat(os.path.join(root, folder))
            if (facts.st_dev, facts.st_ino) in seen:
                skipped.append(Skipped(_shown(folder), "a link to a folder that is listed already"))
                continue
            folders, files = _sorted_entries(root, folder, skipped)
        except OSError as error:
            skipped.append(Skipped(_shown(folder), _cause(error)))
            continue
        seen.add((facts.st_dev, facts.st_ino))
        waiting.extend(reversed(folders))
        for name in files:
            if is_image_name(name):
                yield name
            else:
                skipped.append(Skipped(_shown(name), "not an image file by its name"))


def _sorted_entries(root: str, folder: str, skipped: list[Skipped]) -> tuple[list[str], list[str]]:
    """Folders and files in root/folder, named below root, sorted; hidden ones are skipped."""
    folders, files = [], []
    with os.scandir(os.path.join(root, folder)) as entries:
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in _JUNK:
                skipped.append(Skipped(_shown(name), "hidden"))
            elif _is_folder(entry):
                folders.append(name)
            else:
                files.append(name)
    folders.sort()
    files.sort()
    return folders, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_given(root: Path, folders: list[str]) -> bool:
    parts = {PARTS.get(name.lower()) for name in folders}
    if None in parts or TRAIN not in parts:
        return False
    train = [name for name in folders if PARTS[name.lower()] == TRAIN]
    return any(_sorted_entries(str(root), name, [])[0] for name in train)


def _class_folders(
    root: Path, folders: list[str], given: bool, skipped: list[Skipped]
) -> list[tuple[str, str, int]]:
    """(class folder, class name, part) of each class folder."""
    if not given:
        return [(name, _shown(name), TRAIN) for name in folders]
    classes = []
    for part in folders:
        inside, loose = _sorted_entries(str(root), part, skipped)
        skipped += [Skipped(_shown(name), "not in a class folder") for name in loose]
        number = PARTS[part.lower()]
        classes += [(name, _shown(name[len(part) + 1 :]), number) for name in inside]
    return classes


def _list_classes(
    root: Path, folders: list[tuple[str, str, int]], given: bool, skipped: list[Skipped]
) -> Dataset:
    table = sorted({name for _, name, _ in folders})
    labels, parts = array("q"), array("b")

    def names() -> Iterator[str]:
        for folder, label, part in folders:
            before = len(labels)
            for name in walk(str(root), folder, skipped):
                labels.append(table.index(label) if before == len(labels) else labels[-1])
                parts.append(part)
                yield name
            if before == len(labels):
                skipped.append(Skipped(_shown(folder), "a class folder without images"))

    listed = Names.of(names())
    if not listed:
        raise DataError(
            f"The folders in {root} hold no image files; put images such as .jpg or .png in them."
        )
    present, targets = np.unique(np.frombuffer(labels, np.int64), return_inverse=True)
    classes = [table[number] for number in present]
    return Dataset(
        FileSamples(str(root.resolve()), listed),
        source=str(root),
        classes=classes,
        targets=targets.astype(np.int64),
        given=np.frombuffer(parts, np.int8) if given else None,
        skipped=skipped,
        mirrored=len(classes) < 3 or any(len(name) > 1 for name in classes),
    )


def _without_classes(root: Path, files: list[str]) -> str:
    images = sum(map(is_image_name, files))
    if images:
        return (
            f"{root} holds {images} images but no class folders; put the images of each class in "
            "a folder with the name of the class, or give a table of path and label."
        )
    return f"{root} is empty: it has no class folders; put a folder of images for each class in it."


def _shown(name: str) -> str:
    r"""A file name as text that can be stored: bytes that are not UTF-8 as `\xff`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _cause(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
