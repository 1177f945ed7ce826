"""Files that hold several series: .ts files with their parts, and arrays of NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.given import PARTS, TEST, TRAIN
from convarium.data.series.arrays import arrays_of, blocks_of
from convarium.data.series.reading import Found
from convarium.data.series.ts import TsFile, read_ts
from convarium.errors import DataError

_TRAIN: Final = "_TRAIN"
_TEST: Final = "_TEST"


def is_series(source: object) -> bool:
    """Whether a path is one of series by its name: a .ts file, or a folder with one in it."""
    path = Path(str(source))
    if path.is_dir():
        return any(each.suffix.lower() == ".ts" for each in path.iterdir() if each.is_file())
    return path.suffix.lower() == ".ts"


def ts_files(path: Path) -> dict[str | None, TsFile]:
    """The files of a path by the parts that they are; one alone is no part.

    Raises:
        DataError: there is none, or a folder has those of several data sets.
    """
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.suffix.lower() == ".ts")
        starts = [each for each in files if each.stem.endswith(_TRAIN) and _beside(each).is_file()]
        if len(starts) == 1 or len(files) == 1:
            return ts_files((starts or files)[0])
        names = ", ".join(each.name for each in files[:6])
        raise DataError(f"{path} holds several data sets ({names}); name one of its files.")
    other = _beside(path)
    if not path.is_file():
        raise DataError(f"There is no file {path}; check its name.")
    if other == path or not other.is_file():
        return {None: read_ts(path)}
    train, test = (path, other) if path.stem.endswith(_TRAIN) else (other, path)
    return {PARTS[TRAIN]: read_ts(train), PARTS[TEST]: read_ts(test)}


def _beside(path: Path) -> Path:
    """The file of the other part: NAME_TEST.ts of NAME_TRAIN.ts, and the other way round."""
    for own, other in ((_TRAIN, _TEST), (_TEST, _TRAIN)):
        if path.stem.endswith(own):
            return path.with_name(path.stem.removesuffix(own) + other + path.suffix)
    return path


def from_ts(files: Mapping[str | None, TsFile]) -> Found:
    """All series of the files, named by part and number."""
    some = next(iter(files.values()))
    found = Found([], [], label_columns=("target" if some.numbers else "label",))
    numbers = {part: number for number, part in enumerate(PARTS)}
    given: list[int] = []
    for part, file in files.items():
        word = part or file.name
        found.series += file.series
        found.names += [f"{word}/{k}" for k in range(len(file.series))]
        found.cells += [[(label,)] for label in file.labels]
        given += [numbers[part] if part else -1] * len(file.series)
        if file.unsorted:
            found.notes.append(
                f"{file.unsorted} series had time stamps that were not in order, and were sorted"
            )
    found.task = "regression" if some.numbers else None
    if len(found.cells) < len(found.series):
        found.cells, found.label_columns = [], ()
    found.given = given if None not in files else None
    return found


def from_arrays(path: Path) -> Found:
    """All series of the blocks of a NumPy file, named by part and number.

    Raises:
        DataError: it cannot be read, or holds no series.
    """
    try:
        arrays = arrays_of(str(path))
        blocks = blocks_of(arrays)
    except DataError as error:
        raise DataError(f"{path} holds {error}.") from error
    found = Found([], [])
    given: list[int] = []
    labels: list[NDArray[Any]] = []
    for series, own, part in blocks:
        word = "series" if part is None else PARTS[part]
        found.names += [f"{word}/{k}" for k in range(len(series))]
        found.series += series
        given += [-1 if part is None else part] * len(series)
        labels += [] if own is None else [_by_name(own, arrays.get("classes"))]
    if len(labels) == len(blocks):
        whole = np.concatenate([each.reshape(len(each), -1) for each in labels])
        found.cells = [[tuple(str(value) for value in row)] for row in whole.tolist()]
        found.label_columns = tuple(
            ["label"] if whole.shape[1] == 1 else [f"label {k}" for k in range(whole.shape[1])]
        )
    found.given = given if min(given) >= 0 else None
    return found


def _by_name(labels: NDArray[Any], classes: NDArray[Any] | None) -> NDArray[Any]:
    """Labels that are places among the names of classes, as those names."""
    if classes is None or labels.dtype.kind not in "iu" or not labels.size:
        return labels
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"labels up to {labels.max()} and the names of {len(classes)} classes")
    found: NDArray[Any] = classes.astype(str)[labels]
    return found
