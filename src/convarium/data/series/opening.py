"""Series from files, folders and tables, as a data set; windows are cut from them here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convarium.data import folder, table
from convarium.data.dataset import Dataset
from convarium.data.series.cutting import cut_dataset
from convarium.data.series.forecasts import cut_forecasts, forecast_windows, last_windows
from convarium.data.series.gathering import from_arrays, from_ts, is_series, ts_files
from convarium.data.series.reading import Found, SeriesColumns, Windows
from convarium.data.series.samples import SeriesFiles
from convarium.data.series.series import Series
from convarium.data.series.tables import other_columns, part_column, read_table
from convarium.data.series.ts import read_ts
from convarium.data.skipping import Skipped
from convarium.data.surveying import check_broken
from convarium.errors import DataError, OptionError

_ARRAYS: Final = (".npy", ".npz")
_MOST_BROKEN: Final = 0.1
_KNOWN: Final = (
    ".ts files, a .csv, .tsv or .parquet table, .npy or .npz arrays, or a folder of class folders "
    "with .wav or .npy files"
)


def open_cut(
    source: str | Path,
    *,
    said: SeriesColumns,
    task: str | None,
    separator: str | None,
    horizon: int | None,
    window: int | None,
    stride: int | None,
) -> Dataset:
    """`open_forecasts` where forecasts are asked for, else `open_series`.

    Raises:
        OptionError: a horizon without forecasts, or windows that cannot be.
    """
    if task == "forecast":
        return open_forecasts(source, said=said, horizon=horizon, window=window, stride=stride)
    if horizon is not None:
        raise OptionError(f"horizon (={horizon}) belongs to task='forecast'; leave it out.")
    windows = Windows.of(window, stride)
    return open_series(source, said=said, windows=windows, task=task, separator=separator)


def open_series(
    source: str | Path,
    *,
    said: SeriesColumns,
    windows: Windows | None = None,
    task: str | None = None,
    separator: str | None = None,
) -> Dataset:
    """Labelled series.

    Args:
        source: a .ts file, of two files NAME_TRAIN.ts and NAME_TEST.ts either one or their folder,
            which gives the parts; a table, long or wide; .npy or .npz arrays; or a folder of class
            folders with .wav or .npy files.
        said: columns of a table.
        windows: to cut.
        task: what the labels are; None is what a .ts file says, else classification.
        separator: of several labels in one cell.

    Raises:
        DataError: it cannot be read or used.
        OptionError: columns of what is no table.
    """
    path = Path(source)
    if path.is_file() and path.suffix.lower() in table.SUFFIXES:
        return cut_dataset(
            path, read_table(path, said, task, labels=True), windows, task, separator
        )
    columns = (said.time, said.series, *said.values, *said.labels, said.group)
    named = next(filter(None, columns), None)
    if named is not None:
        raise OptionError(f"A column ({named!r}) belongs to a table, and {path} is none.")
    if is_series(path):
        return cut_dataset(path, from_ts(ts_files(path)), windows, task, separator)
    if path.is_file() and path.suffix.lower() in _ARRAYS:
        return cut_dataset(path, from_arrays(path), windows, task, separator)
    if path.is_dir():
        found = folder.open_folder(path, "series")
        return found if windows is None else _cut_files(path, found, windows)
    if path.exists():
        raise DataError(f"{path} is no kind of series that is known; give {_KNOWN}.")
    raise DataError(f"There is no file or folder {path}; give {_KNOWN}.")


def open_forecasts(
    source: str | Path,
    *,
    said: SeriesColumns,
    horizon: int | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> Dataset:
    """Windows of the series of a long table, with the steps of the label columns that follow.

    Args:
        source: a CSV, TSV or Parquet table with a row a time step.
        said: its columns; those of the labels are forecast, and are seen too.
        horizon: steps ahead.
        window: time steps that are seen.
        stride: from window to window.

    Raises:
        DataError: it is no such table, gives parts of its own, or no series is long enough.
        OptionError: a number below 1, or a group, which time has no use for.
    """
    path = Path(source)
    steps, windows = forecast_windows(horizon, window, stride)
    if not path.is_file() or path.suffix.lower() not in table.SUFFIXES:
        raise DataError(f"{path} is no table; a forecast takes one with a row a time step.")
    if said.group is not None:
        raise OptionError(
            "A forecast is split by time, so that groups have no effect; leave them out."
        )
    return cut_forecasts(path, _past(path, said), said.labels, steps, windows)


def _past(path: Path, said: SeriesColumns) -> Found:
    """The series of a long table, the targets among their channels."""
    given = part_column(path)
    if given is not None and given not in (*said.values, *said.labels):
        raise DataError(
            f"{path} gives parts in the column {given!r}, and forecasts are split by time alone; "
            "leave that column out, and give shares with --validation and --test."
        )
    values = said.values or other_columns(path, said)
    values += tuple(name for name in said.labels if name not in values)
    return read_table(path, said._replace(values=values, labels=()), None, labels=False)


def series_inputs(
    inputs: Sequence[str | Path], kind: str, columns: Mapping[str, Any] | None = None
) -> Dataset:
    """Series without labels, from .ts files, tables, arrays, .wav files, folders and patterns.

    Args:
        inputs: what is to be read: files that hold several series, or files of one each; of
            NAME_TRAIN.ts and NAME_TEST.ts only what is named.
        kind: "series".
        columns: the keywords of `open_dataset` that the run was trained with.

    Raises:
        DataError: nothing is there, or the two kinds of files are mixed.
    """
    given = dict(columns or {})
    said = SeriesColumns(
        given.get("time_column"),
        given.get("series_column"),
        tuple(given.get("value_column") or ()),
        tuple(given.get("label_column") or ()),
        given.get("group_column"),
    )
    horizon = given.get("horizon")
    windows = None if horizon else Windows.of(given.get("window"), given.get("stride"))
    paths = [Path(item) for item in inputs]
    several = [_holds_several(path) for path in paths]
    if not any(several):
        return _single_files(inputs, kind, windows)
    if not all(several):
        raise DataError(
            f"{paths[several.index(False)]} holds one series, and other inputs hold several; give "
            "either files of one series each, or tables, .ts files and .npz arrays."
        )
    found = [_past(path, said) if horizon else _unlabelled(path, said) for path in paths]
    first = found[0]
    for other in found[1:]:
        first.series += other.series
        first.names += other.names
        first.skipped.extend(other.skipped)
        first.notes += other.notes
    first.cells, first.label_columns = [], ()
    first.groups = first.given = None
    source = ", ".join(map(str, inputs[:3])) + (", ..." if len(inputs) > 3 else "")
    if horizon:
        return last_windows(Path(source), first, given["window"])
    return cut_dataset(Path(source), first, windows, None, None)


def _holds_several(path: Path) -> bool:
    several = (*table.SUFFIXES, ".ts", ".npz")
    return path.suffix.lower() in several or (path.is_dir() and is_series(path))


def _unlabelled(path: Path, said: SeriesColumns) -> Found:
    if path.suffix.lower() in table.SUFFIXES:
        return read_table(path, said, None, labels=False)
    if path.suffix.lower() == ".npz":
        return from_arrays(path)
    return from_ts({None: read_ts(path)} if path.is_file() else ts_files(path))


def _single_files(inputs: Sequence[str | Path], kind: str, windows: Windows | None) -> Dataset:
    from convarium.data.opening import listed_inputs

    names, skipped = listed_inputs(inputs, kind)
    source = ", ".join(map(str, inputs[:3])) + (", ..." if len(inputs) > 3 else "")
    found = Dataset(SeriesFiles(os.getcwd(), names), source=source, skipped=skipped)
    return found if windows is None else _cut_files(Path(source), found, windows)


def _cut_files(path: Path, dataset: Dataset, windows: Windows) -> Dataset:
    """Windows of files, which are then held in memory."""
    found = Found([], [], skipped=dataset.skipped)
    kept, rates, broken = [], set(), list[Skipped]()
    for i in range(len(dataset)):
        try:
            series: Series = dataset.samples.read(i)
        except DataError as error:
            broken.append(Skipped(dataset.name(i), str(error)))
            continue
        kept.append(i)
        rates.add(series.rate)
        found.series.append(series.values)
        found.names.append(dataset.name(i))
    check_broken(broken, len(dataset), _MOST_BROKEN, "series")
    found.skipped.extend(broken)
    if len(rates) > 1:
        told = ", ".join("none" if rate is None else f"{rate:g}" for rate in sorted(rates, key=str))
        raise DataError(
            f"The files of {path} have the rates {told}, and windows need one; resample the files, "
            "or leave --window out."
        )
    if dataset.targets is not None:
        found.cells = [[(dataset.classes[int(k)],)] for k in dataset.targets[kept]]
        found.label_columns = ("label",)
    if dataset.given is not None:
        found.given = dataset.given[kept].tolist()
    (rate,) = rates
    return cut_dataset(path, found, windows, None, None, rate=rate)
