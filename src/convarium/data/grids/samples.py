"""Pairs of coarse and fine fields as the samples of a data set, a sample a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import Values, pieces
from convarium.data.grids.pairs import FieldPairs
from convarium.data.samples import Facts, digest
from convarium.data.skipping import Skipped
from convarium.data.surveying import Survey
from convarium.errors import DataError
from convarium.progress import Progress


class FieldPair(NamedTuple):
    """What belongs to one time; missing cells are NaN.

    Args:
        coarse: the predictors, the targets first, (C, h, w).
        fine: the targets, (T, H, W).
        month: 1 to 12, or 0 where none is known.
    """

    coarse: Values
    fine: Values
    month: int


class GridSamples:
    """The times of pairs of fields.

    Args:
        pairs: coarse and fine fields, without what is fitted to training times.
    """

    kind: ClassVar[str] = "grids"

    def __init__(self, pairs: FieldPairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def in_memory(self) -> bool:
        """Whether the fields are arrays."""
        return all(isinstance(v, np.ndarray) for v in self.pairs.fine.source.values())

    def name(self, i: int) -> str:
        """The date, or the number of the time."""
        return time_name(self.pairs.fine.times[i])

    def read(self, i: int, at_least: tuple[int, int] | None = None) -> FieldPair:
        """The fields of one time; a DataError gives the reason alone."""
        x, y = self.pairs.read([i])
        if np.isnan(x[0, : len(y[0])]).all() or np.isnan(y).all():
            raise DataError("no cell is known")
        return FieldPair(x[0], y[0], int(self.pairs.fine.months[i]))

    def facts(self, i: int) -> Facts:
        """A digest of the fields, the size of the fine ones, and how many are read."""
        pair = self.read(i)
        return _facts(pair.coarse, pair.fine)

    @cached_property
    def told(self) -> tuple[list[Facts | None], NDArray[np.float32], bool]:
        """Of each time its facts, None where no cell is known, and the means of the fine fields.

        And whether a coarse cell is missing at any time. All fields are read once for it.
        """
        facts: list[Facts | None] = []
        means, gaps = [], False
        for ids in pieces(np.arange(len(self))):
            for x, y in zip(*self.pairs.read(ids), strict=True):
                known = ~np.isnan(y)
                empty = np.isnan(x[: len(y)]).all() or not known.any()
                facts.append(None if empty else _facts(x, y))
                counts = np.maximum(known.sum((1, 2)), 1)
                means.append(np.where(known, y, 0.0).sum((1, 2), dtype=np.float64) / counts)
                gaps = gaps or bool(np.isnan(x).any())
        return facts, np.array(means, np.float32), gaps


def survey_grids(samples: GridSamples, progress: Progress | None) -> tuple[Survey, list[Skipped]]:
    """Digests and sizes of all times, and those at which no cell is known."""
    found, n = samples.told[0], len(samples)
    broken = np.array([i for i, each in enumerate(found) if each is None], np.int64)
    skipped = [Skipped(samples.name(i), "no cell is known") for i in broken.tolist()]
    columns = [[0 if each is None else each[k] for each in found] for k in range(3)]
    channels = max((each.channels for each in found if each is not None), default=1)
    if progress is not None:
        progress.advance(n)
    digests, heights, widths = (
        np.array(column, kind)
        for column, kind in zip(columns, (np.uint64, np.int32, np.int32), strict=True)
    )
    return Survey(digests, heights, widths, broken, channels), skipped


def time_name(time: Any) -> str:
    """A time as it is printed: the date without what is zero behind it, or the number."""
    text = str(np.datetime_as_string(time, "s")) if isinstance(time, np.datetime64) else str(time)
    return text.replace("T", " ").removesuffix(" 00:00:00")


def grid_inputs(
    inputs: Sequence[str | Path], kind: str | None, columns: Mapping[str, Any] | None = None
) -> NoReturn:
    """Refused: fields are made finer by another verb.

    Raises:
        DataError: always.
    """
    raise DataError(
        "Fields are made finer by: convarium downscale RUN coarse.nc -o fine.nc; and measured by: "
        "convarium evaluate RUN FIELD"
    )


def _facts(x: Values, y: Values) -> Facts:
    both = np.concatenate([x.reshape(-1), y.reshape(-1)])
    return Facts(digest(both), y.shape[1], y.shape[2], len(x))
