"""How tables of series are read, and what one reading gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convarium.data.series.series import Floats
from convarium.data.series.times import Stamps
from convarium.data.skipping import SkipList
from convarium.errors import OptionError


class SeriesColumns(NamedTuple):
    """What the user named of a table of series.

    Args:
        time: the column of time stamps.
        series: the column that tells series apart.
        values: columns of the channels.
        labels: columns of the labels.
        group: the column of groups that a split keeps together.
    """

    time: str | None = None
    series: str | None = None
    values: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    group: str | None = None

    @property
    def long(self) -> bool:
        """Whether what is named says that a row is a time step."""
        return bool(self.time or self.series or self.values)


class Windows(NamedTuple):
    """Windows to cut: steps of each, and from one to the next."""

    length: int
    stride: int

    @classmethod
    def of(cls, window: int | None, stride: int | None) -> Windows | None:
        """From the options; a stride that is not given is the window's length.

        Raises:
            OptionError: no whole number of 1 or more, or a stride without a window.
        """
        if window is None:
            if stride is not None:
                raise OptionError(f"stride (={stride}) is from window to window; give window too.")
            return None
        for name, value in (("window", window), ("stride", stride)):
            if value is not None and (value < 1 or value % 1):
                raise OptionError(f"{name} (={value}) must be 1 time step or more, a whole number.")
        return cls(int(window), int(window if stride is None else stride))


@dataclass
class Found:
    """Series as they were read, before anything is cut.

    Args:
        series: float32 `(C, T)` each.
        names: one each.
        channels: names of the channels; none where they have none.
        cells: the label cells of each series; of one whose labels change, of each of its steps.
        label_columns: names of the label columns; none without labels.
        groups: words, one a series; None without.
        given: part numbers, one a series, -1 for none; None without.
        skipped: what was left out.
        notes: sentences for the user.
        columns: what was used, by the keywords of `open_dataset`.
        task: what the file says that its labels are; None where it says nothing.
        times: time stamps of each series as numbers; empty where there are none.
    """

    series: list[Floats]
    names: list[str]
    channels: tuple[str, ...] = ()
    cells: list[Any] = field(default_factory=list)
    label_columns: tuple[str, ...] = ()
    groups: list[str] | None = None
    given: list[int] | None = None
    skipped: SkipList = field(default_factory=SkipList)
    notes: list[str] = field(default_factory=list)
    columns: dict[str, str | int | list[str]] = field(default_factory=dict)
    task: str | None = None
    times: list[Stamps] = field(default_factory=list)
