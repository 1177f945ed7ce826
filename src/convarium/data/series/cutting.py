"""From series as they were read to a data set: labels, groups, and windows where they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.labels import cells_of
from convarium.data.series.reading import Found, Windows
from convarium.data.series.samples import SeriesArrays
from convarium.data.series.windows import window_spans
from convarium.data.skipping import Skipped
from convarium.errors import DataError

_MOST_REFUSED = 0.1


@dataclass(frozen=True, eq=False)
class _Pieces:
    """What becomes a sample: whole series, or windows of them.

    Args:
        whose: number of the series of each.
        spans: start and end in it, int64 `(N, 2)`.
    """

    whose: NDArray[np.int64]
    spans: NDArray[np.int64]


def cut_dataset(
    path: Path,
    found: Found,
    windows: Windows | None,
    task: str | None,
    separator: str | None,
    *,
    rate: float | None = None,
) -> Dataset:
    """The data set of some series.

    Windows of one series are in one group, or in the group that the series has; those of a single
    series have their places in time, by which `split` divides them. A window has the label of its
    last step.

    Args:
        path: named in errors and in the card.
        found: the series.
        windows: to cut; None takes series as they are.
        task: what the labels are; None is what the file says, else classification.
        separator: of several labels in one cell.
        rate: time steps a second.

    Raises:
        DataError: a label changes within a series that is not cut, no series is as long as a
            window, or more than a tenth have no usable label.
    """
    task = task or found.task
    lengths = np.array([each.shape[1] for each in found.series], np.int64)
    pieces = _whole(lengths) if windows is None else _cut(path, found, lengths, windows)
    names = _names(found, pieces, windows)
    cells = cells_of(task, list(found.label_columns), separator)
    kept = np.arange(len(names))
    if found.label_columns:
        own = [_label(path, found, pieces, k) for k in range(len(names))]
        problems = [cells.add(list(each)) for each in own]
        for name, problem in zip(names, problems, strict=True):
            if problem:
                reason = problem.replace("the row", "the series")
                found.skipped.append(Skipped(name, reason))
        kept = np.flatnonzero([problem is None for problem in problems])
        _check_kept(path, len(kept), cells.refused, found)
    labels = cells.labels()
    whose = pieces.whose[kept]
    arrays = SeriesArrays.of(found.series, channels=found.channels, rate=rate)
    own_spans = pieces.spans[kept] + arrays.spans[whose, :1]
    alone = windows is not None and len(found.series) == 1
    return Dataset(
        SeriesArrays(
            arrays.values,
            own_spans,
            [names[k] for k in kept],
            channels=found.channels,
            rate=rate,
        ),
        source=str(path),
        task=task or "classification",
        classes=labels.classes,
        targets=labels.targets if found.label_columns else None,
        units=labels.units,
        groups=_groups(found, whose, windows),
        given=None if found.given is None else np.array(found.given, np.int8)[whose],
        times=pieces.spans[kept] if alone else None,
        skipped=found.skipped,
        mirrored=False,
        columns=_columns(found, windows, separator),
        notes=found.notes,
    )


def _whole(lengths: NDArray[np.int64]) -> _Pieces:
    spans = np.stack([np.zeros_like(lengths), lengths], axis=1)
    return _Pieces(np.arange(len(lengths)), spans)


def _cut(path: Path, found: Found, lengths: NDArray[np.int64], windows: Windows) -> _Pieces:
    spans = [window_spans(length, windows) for length in lengths.tolist()]
    for name, own in zip(found.names, spans, strict=True):
        if not len(own):
            reason = f"the series is shorter than the window of {windows.length} time steps"
            found.skipped.append(Skipped(name, reason))
    if not sum(map(len, spans)):
        raise DataError(
            f"No series of {path} has the {windows.length} time steps of a window; the longest has "
            f"{lengths.max(initial=0)}, so give a smaller --window."
        )
    counts = [len(own) for own in spans]
    return _Pieces(np.repeat(np.arange(len(spans)), counts), np.concatenate(spans))


def _names(found: Found, pieces: _Pieces, windows: Windows | None) -> list[str]:
    if windows is None:
        return found.names
    pairs = zip(pieces.whose.tolist(), pieces.spans.tolist(), strict=True)
    return [f"{found.names[k]} {start}-{end}" for k, (start, end) in pairs]


def _label(path: Path, found: Found, pieces: _Pieces, place: int) -> Sequence[str]:
    """The label cells of a piece: those of its last step where they change."""
    series = int(pieces.whose[place])
    own: list[Sequence[str]] = found.cells[series]
    if len(own) == 1:
        return own[0]
    if pieces.spans[place, 1] - pieces.spans[place, 0] == len(own):
        words = list(dict.fromkeys("; ".join(each) for each in own))[:3]
        raise DataError(
            f"The label of {found.names[series]!r} in {path} changes along the series "
            f"({', '.join(map(repr, words))}); cut windows with --window, each of which has the "
            "label of its last step, or name another column."
        )
    return own[int(pieces.spans[place, 1]) - 1]


def _groups(
    found: Found, whose: NDArray[np.int64], windows: Windows | None
) -> NDArray[np.int64] | None:
    """Numbers of the groups: as they are given, else a series a group where it was cut."""
    if found.groups is None:
        return whose.copy() if windows is not None and len(found.series) > 1 else None
    known: dict[str, int] = {}
    words = [word or f"\0{k}" for k, word in enumerate(found.groups)]
    numbers = np.array([known.setdefault(word, len(known)) for word in words], np.int64)
    return numbers[whose]


def _columns(
    found: Found, windows: Windows | None, separator: str | None
) -> dict[str, str | int | list[str]]:
    said = dict(found.columns)
    if windows is not None:
        said |= {"window": windows.length, "stride": windows.stride}
    return said if separator is None else {**said, "separator": separator}


def _check_kept(path: Path, kept: int, refused: int, found: Found) -> None:
    """Refuse data of which nothing, or too little, has a label of the task."""
    if refused > _MOST_REFUSED * (refused + kept) or not kept:
        first = found.skipped[len(found.skipped) - 1]
        raise DataError(
            f"{refused or len(found.names)} of {refused + kept or len(found.names)} series of "
            f"{path} have no usable label (such as {first.name}: {first.reason}); correct them, or "
            "name another column or --task."
        )
