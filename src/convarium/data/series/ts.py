"""The format .ts of the UCR and UEA archives: a header of `@` lines, and a line a series.

    @problemName Walks          name of the data
    @timeStamps false           whether values are pairs (time,value)
    @univariate false           whether there is one dimension; @dimensions says how many
    @equalLength true           whether all are @seriesLength steps long
    @missing true               whether values may be ? or NaN
    @classLabel true walk run   names of the classes; or @targetLabel true: numbers
    @data
    0.1,0.4,?:1.2,1.1,1.5:walk  dimensions and the label, with colons between them

Whatever the header says of lengths, dimensions and missing values, the lines decide. `#` and `%`
begin a comment. Keywords may be in any case of letters.

References:
    Bagnall et al. 2018, "The UEA multivariate time series classification archive, 2018",
    arXiv:1811.00075; the format as sktime and aeon document it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.series.series import Floats, floats_of
from convarium.data.series.times import in_time, times_of
from convarium.errors import DataError

_KNOWN: Final = (
    *("problemname", "timestamps", "missing", "univariate", "dimension", "dimensions"),
    *("equallength", "serieslength", "classlabel", "targetlabel"),
)
_PAIR: Final = re.compile(r"\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)")
_COMMENTS: Final = "#%"
_BETWEEN_PAIRS: Final = re.compile(r"\)\s*:")


@dataclass(frozen=True)
class TsFile:
    """What a .ts file holds.

    Args:
        name: of the problem.
        series: float32 `(C, T)` each; what is missing is NaN.
        labels: the cell of each; empty where the file has none.
        numbers: whether labels are numbers to learn.
        unsorted: series whose time stamps were not in order.
    """

    name: str
    series: list[Floats]
    labels: list[str]
    numbers: bool
    unsorted: int


def read_ts(file: Path) -> TsFile:
    """A .ts file.

    Raises:
        DataError: it cannot be read, has no line of data, or a line that is not as the header has
            it; the sentence names the line.
    """
    try:
        with open(file, encoding="utf-8-sig") as lines:
            numbered = enumerate(lines, start=1)
            header = _header(file, numbered)
            labelled = header.get("classlabel") or header.get("targetlabel") or False
            stamps = bool(header.get("timestamps"))
            rows = [
                _row(line, f"Line {number} of {file}", bool(labelled), stamps)
                for number, line in numbered
                if line.strip() and line[0] not in _COMMENTS
            ]
    except (OSError, UnicodeError) as error:
        raise DataError(f"Cannot read {file} as .ts in UTF-8: {error}.") from error
    if not rows:
        raise DataError(f"{file} has no series behind @data; give one line for each.")
    counts = {len(values) for values, _, _ in rows}
    if len(counts) > 1:
        raise DataError(
            f"{file} has series of {' and '.join(map(str, sorted(counts)))} dimensions; give all "
            "of them the same ones."
        )
    return TsFile(
        name=str(header.get("problemname", file.stem)),
        series=[values for values, _, _ in rows],
        labels=[label for _, label, _ in rows] if labelled else [],
        numbers=bool(header.get("targetlabel")),
        unsorted=sum(moved for _, _, moved in rows),
    )


def _header(file: Path, lines: Iterator[tuple[int, str]]) -> dict[str, str | bool]:
    """The keywords up to @data."""
    found: dict[str, str | bool] = {}
    for number, line in lines:
        words = line.strip().split(None, 2)
        if not words or words[0][0] in _COMMENTS:
            continue
        key = words[0].lower().removeprefix("@")
        if key == "data" and words[0].startswith("@"):
            return found
        if not words[0].startswith("@") or key not in _KNOWN:
            raise DataError(
                f"Line {number} of {file} is {words[0][:40]!r} in the header; known are @data and "
                f"{', '.join('@' + word for word in _KNOWN)}."
            )
        value = words[1] if len(words) > 1 else ""
        flag = {"true": True, "false": False}.get(value.lower())
        found[key] = value if flag is None or key == "problemname" else flag
    raise DataError(f"{file} has no line @data; the series stand behind one.")


def _row(line: str, where: str, labelled: bool, stamps: bool) -> tuple[Floats, str, bool]:
    """Values, label, and whether time stamps were not in order."""
    line = line.strip()
    label = ""
    if labelled:
        line, _, label = line.rpartition(":")
        label = label.strip()
    moved = False
    if stamps:
        dimensions = []
        for text in _BETWEEN_PAIRS.split(line):
            values, late = _timed(text + ")", where)
            dimensions.append(values)
            moved = moved or late
    else:
        dimensions = [_numbers(text.split(","), where) for text in line.split(":")]
    longest = max(len(each) for each in dimensions)
    if longest == 0 or any(len(each) not in (longest, 1) for each in dimensions):
        lengths = ", ".join(str(len(each)) for each in dimensions)
        raise DataError(
            f"{where} has dimensions of {lengths} values; give each the same number (? where one "
            "is missing)."
        )
    whole = [_whole(each, longest, where) for each in dimensions]
    return floats_of(np.stack(whole)), label, moved


def _whole(values: NDArray[np.float64], length: int, where: str) -> NDArray[np.float64]:
    """The values; a single one that is missing stands for a dimension without any."""
    if len(values) == length:
        return values
    if np.isfinite(values).any():
        raise DataError(f"{where} has a dimension of one value beside one of {length}.")
    return np.full(length, np.nan)


def _numbers(cells: list[str], where: str) -> NDArray[np.float64]:
    try:
        return np.array([np.nan if cell.strip() in ("?", "") else float(cell) for cell in cells])
    except ValueError as error:
        raise DataError(f"{where} holds a value that is no number: {error}.") from error


def _timed(text: str, where: str) -> tuple[NDArray[np.float64], bool]:
    """Values of pairs (time,value), in the order of their times."""
    pairs = _PAIR.findall(text)
    if not pairs:
        raise DataError(f"{where} has no pair (time,value), and @timeStamps says so.")
    times = times_of([time for time, _ in pairs], where)
    order, moved = in_time(times, np.zeros(len(times), np.int64), [where], where)
    return _numbers([value for _, value in pairs], where)[order], moved > 0
