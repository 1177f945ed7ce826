"""One call for every kind of data: what lies at a path decides how it is read."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convarium.data import arrays, folder, npz, table
from convarium.data.corrections import corrected
from convarium.data.dataset import Dataset
from convarium.data.grids import dataset as grids
from convarium.data.grids.options import FieldOptions
from convarium.data.kinds import KINDS, check_kind, file_samples
from convarium.data.labels import check_task
from convarium.data.names import Names, shown
from convarium.data.places import BUILT_IN
from convarium.data.series.gathering import is_series
from convarium.data.series.opening import open_cut
from convarium.data.series.reading import SeriesColumns
from convarium.data.shards.opening import open_shards
from convarium.data.skipping import SkipList
from convarium.data.texts.opening import open_texts
from convarium.errors import DataError, OptionError, did_you_mean

_KINDS = (
    "a folder of class folders, a CSV or Parquet table of path and label (of texts with --text, of "
    "series with --kind series), .ts files, IDX files, an .npz file, "
    "a folder of CIFAR's .bin files, tar or Parquet shards, a gridded .nc or Zarr file, or "
    "hf:OWNER/NAME"
)


def open_dataset(
    source: object,
    *,
    path_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    group_column: str | None = None,
    task: str | None = None,
    kind: str | None = None,
    text_column: str | Sequence[str] | None = None,
    separator: str | None = None,
    time_column: str | None = None,
    series_column: str | None = None,
    value_column: str | Sequence[str] | None = None,
    window: int | None = None,
    stride: int | None = None,
    horizon: int | None = None,
    fields: FieldOptions | Mapping[str, Any] | None = None,
    corrections: str | Path | Mapping[str, str] | None = None,
) -> Dataset:
    """Labelled data from a path or a built-in name; a path that exists goes first.

    Args:
        source: "digits"; a folder of class folders with images or volumes, also below train,
            validation and test; a CSV, TSV or Parquet table; a folder with IDX files or the file
            of their images; an .npz file; a folder with CIFAR-10 or CIFAR-100 in the binary layout.
            Or data in shards: `hf:OWNER/NAME[:CONFIG]`, a folder of `save_to_disk`, Parquet files
            with images or tar archives (one, a folder, a pattern), an object of `datasets`.
        path_column: the table's column of the files' paths, where its name is not a usual one; the
            images' column or ending in shards.
        label_column: the table's column of labels, likewise; several for several numbers, or for
            several labels as columns of 0 and 1.
        group_column: the table's column of groups (patients, sites) that a split keeps together.
        task: what the labels of a table are: "classification" (one class a sample), "multilabel"
            (several names, separated by `;` or `|`) or "regression" (numbers), or
            "forecast" (the next steps of the label columns of a table of series), or "downscale"
            (gridded fields); None is classification, unless most rows have decimal numbers of
            their own, which is an error.
        kind: what the samples are: "images", "volumes", "texts" or "series"; None means what most
            files are by their names (TIFFs: by whether they are stacks of pages; .wav and .ts are
            series), and arrays by their shape.
        text_column: the table's columns of texts, joined in their order; then the samples are texts
            and not files.
        separator: of several labels in one cell of a table of texts or series, instead of `;` and
            `|`.
        time_column: of a table of series with a row a time step, its time stamps.
        series_column: likewise, what tells series apart.
        value_column: likewise, the columns of values, which are the channels; without, all others.
        window: time steps of the windows that series are cut into; None leaves them whole.
        stride: time steps from one window to the next; None is the window, of a forecast 1.
        horizon: of a forecast, how many steps ahead; None is 1.
        fields: of a gridded file, what is made finer, and from what: `FieldOptions`, or a mapping
            of its options.
        corrections: other labels by the samples' names: a mapping, or a CSV file of path and label.

    Raises:
        DataError: nothing is there, or it cannot be used.
        OptionError: a column is named or another task asked for, and the source is not a table; or
            the task or kind is unknown.

    >>> dataset = open_dataset("digits")
    >>> len(dataset), dataset.image_size, dataset.classes[:3]
    (1797, (8, 8), ('0', '1', '2'))
    """
    check_task(task)
    check_kind(kind)
    labels, texts = _several(label_column), _several(text_column)
    own: dict[str, Any] = {"label_columns": labels, "group_column": group_column, "task": task}
    said = SeriesColumns(time_column, series_column, _several(value_column), labels, group_column)
    cut = {"horizon": horizon, "window": window, "stride": stride}
    try:
        if task == grids.TASK or fields is not None or (task is None and grids.is_grid(source)):
            grids.refuse_columns(kind, [path_column, group_column, *labels, *texts, *said.values])
            found = grids.open_grids(source, fields)
        elif _are_series(source, kind, path_column, task, said, cut):
            _refuse_others(kind, path_column, texts)
            found = open_cut(str(source), said=said, task=task, separator=separator, **cut)
        elif texts or kind == "texts" or separator is not None:
            _refuse_files(kind, path_column)
            found = open_texts(str(source), text_column=texts, separator=separator, **own)
        else:
            found = _open_others(source, path_column, kind, own)
        return found if corrections is None else corrected(found, corrections)
    except OSError as error:
        raise DataError(
            f"Cannot read {shown(str(source))}: {error.strerror or error}; check its name and who "
            "may read it."
        ) from error


def _are_series(
    source: object,
    kind: str | None,
    path_column: str | None,
    task: str | None,
    said: SeriesColumns,
    cut: Mapping[str, int | None],
) -> bool:
    """Whether series are asked for, or named; a table of files is one of paths."""
    if said.long or task == "forecast" or any(each is not None for each in cut.values()):
        return True
    return path_column is None and (kind == "series" or (kind is None and is_series(source)))


def _open_others(
    source: object, path_column: str | None, kind: str | None, own: Mapping[str, Any]
) -> Dataset:
    """Data in shards, tables of files, folders and arrays."""
    labels, group_column, task = (own[key] for key in ("label_columns", "group_column", "task"))
    found = open_shards(source, image=path_column, labels=labels, group=group_column, task=task)
    if found is not None:
        said = {"path_column": path_column, "label_column": list(labels)}
        said |= {"group_column": group_column}
        found.columns |= {name: value for name, value in said.items() if value}
        return _as_asked(found, kind)
    path = Path(str(source))
    if path.is_file() and path.suffix.lower() in table.SUFFIXES:
        return table.open_table(path, path_column=path_column, kind=kind, **own)
    named = next(filter(None, (path_column, *labels, group_column)), None)
    if named is not None:
        raise OptionError(f"A column ({named!r}) can be named for tables only, and {path} is not.")
    if task not in (None, "classification"):
        raise OptionError(
            f"task (={task!r}) takes its labels from a table, and {path} is not one; give a "
            "CSV or Parquet table of path and label."
        )
    return _as_asked(_open_path(path, kind), kind)


def open_inputs(
    inputs: Sequence[str | Path],
    *,
    kind: str | None = None,
    columns: Mapping[str, Any] | None = None,
) -> Dataset:
    """Unlabelled samples from files, folders (with all folders in them) and patterns.

    A file that is named is taken whatever its suffix; in folders, files are taken by their suffix.
    Names are kept as they were given, so results can be matched to them. What is named and is no
    regular file (a pipe) is unreadable when it is read; in folders and patterns it is left out.

    Args:
        inputs: what is to be read.
        kind: a name of `KINDS`, as a run's `preprocessing.kind` says it; None finds out between
            images and volumes.
        columns: of tables of texts, `text_column` and `id_column`.

    Raises:
        DataError: an input does not exist, or no sample is found.
        OptionError: another kind, or columns of what is no table.
    """
    check_kind(kind)
    found: Dataset = KINDS[kind or "images"].load("inputs")(inputs, kind, columns)
    return found


def file_inputs(
    inputs: Sequence[str | Path], kind: str | None, columns: Mapping[str, Any] | None = None
) -> Dataset:
    """`open_inputs` for samples that are files of their own."""
    named = next(iter(columns or ()), None)
    if named is not None:
        raise OptionError(f"{named} names columns of tables, and {kind} are files; leave it out.")
    names, skipped = listed_inputs(inputs, kind)
    source = ", ".join(map(str, inputs[:3])) + (", ..." if len(inputs) > 3 else "")
    samples = file_samples(os.getcwd(), names, kind)
    return Dataset(samples, source=source, skipped=skipped)


def listed_inputs(inputs: Sequence[str | Path], kind: str | None) -> tuple[Names, SkipList]:
    """Names of the files that inputs name, and what is left out.

    Raises:
        DataError: an input does not exist, or no file is found.
    """
    skipped = SkipList()
    names = Names.of(_input_names(inputs, skipped, kind))
    if not names:
        raise DataError(
            f"No {kind or 'images or volumes'} in {', '.join(map(str, inputs)) or 'no inputs'}; "
            "name files of them, folders, or a pattern such as 'new/*.jpg'."
        )
    return names, skipped


def _several(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _refuse_files(kind: str | None, path_column: str | None) -> None:
    """Texts are not files of another kind."""
    if kind not in (None, "texts"):
        raise OptionError(
            f"A column of texts holds texts, and {kind} are asked for; leave one out."
        )
    if path_column is not None:
        raise OptionError(
            f"path_column (={path_column!r}) names files, and texts stand in the table; leave it "
            "out."
        )


def _refuse_others(kind: str | None, path_column: str | None, texts: Sequence[str]) -> None:
    """Columns and windows of series are not for other kinds, nor theirs for series."""
    if kind not in (None, "series"):
        raise OptionError(
            f"Columns of time, series and values, and windows, are for series, and {kind} are "
            "asked for; leave one out."
        )
    named = path_column or next(iter(texts), None)
    if named is not None:
        raise OptionError(f"The column {named!r} is not one of series; leave it out.")


def _open_path(path: Path, kind: str | None) -> Dataset:
    """What lies at a path that is no table."""
    if path.is_dir():
        if arrays.idx_folder(path):
            return arrays.open_idx(path)
        if arrays.cifar_folder(path):
            return arrays.open_cifar(path)
        return folder.open_folder(path, kind)
    if path.is_file():
        if path.suffix.lower() == ".npz":
            return npz.open_npz(path, kind)
        if "idx3-ubyte" in path.name:
            return arrays.open_idx(path)
        raise DataError(f"{path} is not a kind of data that is known; give {_KINDS}.")
    if path.exists():
        raise DataError(f"{path} is neither a folder nor a regular file; save it as a file first.")
    if str(path) in BUILT_IN:
        return arrays.open_digits()
    raise DataError(_missing(path))


def _as_asked(dataset: Dataset, kind: str | None) -> Dataset:
    """The data set, if it has the kind that is asked for."""
    if kind not in (None, dataset.kind):
        raise DataError(f"{dataset.source} holds {dataset.kind}, and {kind} are asked for.")
    return dataset


def _missing(path: Path) -> str:
    beside = os.listdir(path.parent) if path.parent.is_dir() else []
    hint = did_you_mean(path.name, [*BUILT_IN, *beside])
    return (
        f"There is no file or folder {path}, and the built-in data is {', '.join(BUILT_IN)}; give "
        f"{_KINDS}.{hint}"
    )


def _input_names(
    inputs: Sequence[str | Path], skipped: SkipList, kind: str | None
) -> Iterator[str]:
    for item in map(str, inputs):
        if os.path.isdir(item):
            yield from (os.path.join(item, name) for name in folder.walk(item, "", skipped, kind))
        elif os.path.exists(item):
            yield item
        elif found := sorted(glob.glob(item, recursive=True)):
            yield from (name for name in found if os.path.isfile(name))
        else:
            raise DataError(
                f"There is no file or folder {item}, and no file fits it as a pattern; check the "
                "name."
            )
