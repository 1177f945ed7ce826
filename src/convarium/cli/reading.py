"""What the verbs read: the arguments of data, of its grid, and of its tokens."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.gridded import add_field_arguments, given_fields
from convarium.cli.parsing import Parser, positive, sides, spacing
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import SeriesOptions, TokenOptions
    from convarium.predict import Run

_READING = (
    *("path_column", "text_column", "label_column", "separator", "group_column", "task", "kind"),
    *("time_column", "series_column", "value_column", "window", "stride", "horizon"),
    "corrections",
)
# options of `data.SeriesOptions` and `data.TokenOptions` by the flags that say them
SERIES: Mapping[str, str] = {"normalise": "normalise", "missing": "missing"}
TOKENS: Mapping[str, str] = {
    "tokens": "level",
    "vocabulary": "vocabulary",
    "least": "least",
    "max_length": "longest",
    "lower": "lower",
    "form": "form",
}


def add_data_arguments(parser: Parser, *, task: bool = True) -> None:
    """DATA, the columns of a table, and what labels and samples are, where no run says it."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of class folders with images or volumes, a CSV or Parquet table, .ts, IDX, "
        ".npz or CIFAR files, tar or Parquet shards, hf:OWNER/NAME, a gridded .nc or Zarr file, "
        "or the built-in name digits",
    )
    parser.add_argument("--path-column", help="column of a table with the files' paths")
    add_text_column(parser)
    _add_series(parser)
    add_field_arguments(parser)
    parser.add_argument(
        "--label-column",
        "--label",
        "--target-column",
        action="append",
        help="column of a table with the labels; may be given several times",
    )
    parser.add_argument(
        "--labels",
        metavar="COLUMN",
        help="column of a table of texts or series with several labels a cell",
    )
    parser.add_argument("--separator", help="what stands between the labels of --labels (; or |)")
    parser.add_argument(
        "--group-column", "--group", help="column whose equal values stay in one part"
    )
    if task:
        parser.add_argument(
            "--task",
            choices=("classification", "multilabel", "regression", "forecast", "downscale"),
            help="what a table's labels are (classification); forecast: their next values; "
            "downscale: finer fields",
        )
        parser.add_argument(
            "--kind",
            choices=("images", "volumes", "texts", "series", "grids"),
            help="what the samples are (what most files are by their names or pages)",
        )


def given_reading(values: argparse.Namespace) -> dict[str, Any]:
    """Columns, task and kind by the keywords of `data.open_dataset`; None is what was not given.

    Raises:
        OptionError: `--labels` beside one label column or another task.
    """
    given = {name: value for name, value in vars(values).items() if name in _READING}
    given["fields"] = given_fields(values)
    several = getattr(values, "labels", None)
    if several is None:
        return given
    if given.get("label_column") or given.get("task") not in (None, "multilabel"):
        other = "--label-column" if given.get("label_column") else f"--task {given['task']}"
        raise OptionError(f"--labels names several labels a sample; leave it or {other} out.")
    return {**given, "label_column": [several], "task": "multilabel"}


def _add_series(parser: Parser) -> None:
    """How a table of time steps is read, and windows of series."""
    group = parser.add_argument_group("series", "tables with a row a time step, and windows")
    group.add_argument("--time-column", help="column of a table of series with time stamps")
    group.add_argument("--series-column", help="column that tells the series of a table apart")
    group.add_argument(
        "--value-column",
        action="append",
        help="column of values of a series, a channel each; may be given several times (all)",
    )
    group.add_argument("--window", type=positive, help="time steps of the windows to cut")
    group.add_argument(
        "--stride", type=positive, help="time steps from window to window (the window)"
    )
    group.add_argument(
        "--horizon", type=positive, help="of --task forecast, how many time steps ahead (1)"
    )


def add_text_column(parser: Parser) -> None:
    """The columns of a table's texts."""
    parser.add_argument(
        "--text",
        dest="text_column",
        action="append",
        metavar="COLUMN",
        help="column of a table with texts, which are learnt from; several are joined",
    )


def add_input_columns(parser: Parser) -> None:
    """The columns of tables that hold what a run is applied to."""
    add_text_column(parser)
    parser.add_argument(
        "--id", dest="id_column", metavar="COLUMN", help="column of a table with the texts' names"
    )


def input_columns(values: argparse.Namespace, run: Run) -> dict[str, Any]:
    """The columns of texts: as given, else as the run was trained; none where it takes files.

    Series are read as those that the run was trained on.

    Raises:
        OptionError: columns of texts, and the run has series.
    """
    given = {"text_column": values.text_column, "id_column": values.id_column}
    said = {name: value for name, value in given.items() if value}
    if run.preprocessing.kind == "series":
        if said:
            flag = "--text" if "text_column" in said else "--id"
            raise OptionError(f"{flag} is for texts, and {run.folder} reads series; leave it out.")
        return dict(run.columns)
    own = run.columns.get("text_column")
    return {"text_column": own, **said} if own else said


def add_token_arguments(parser: Any) -> None:
    """How texts become tokens: a flag for each option of `data.TokenOptions`."""
    group = parser.add_argument_group("texts", "how they become tokens")
    group.add_argument("--tokens", choices=("word", "bpe", "char"), help="what a token is (word)")
    group.add_argument("--vocabulary", type=positive, help="tokens that are known, at most (50000)")
    group.add_argument(
        "--least", type=positive, help="how often a known token stands in the training texts (2)"
    )
    group.add_argument(
        "--max-length", type=positive, help="tokens of a text at most (the longest, at most 512)"
    )
    group.add_argument(
        "--lower",
        action=argparse.BooleanOptionalAction,
        help="take upper case for lower case (yes)",
    )
    group.add_argument("--form", choices=("NFKC", "NFC"), help="Unicode's normal form (NFKC)")


def given_tokens(values: argparse.Namespace) -> TokenOptions | None:
    """What was said about tokens; None where nothing was."""
    given = {name: getattr(values, flag, None) for flag, name in TOKENS.items()}
    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        return None
    from convarium.data import TokenOptions

    return TokenOptions(**said)


def add_series_arguments(parser: Any) -> None:
    """How series are prepared: a flag for each option of `data.SeriesOptions`."""
    group = parser.add_argument_group("preparing series", "mean and deviation, and gaps")
    group.add_argument(
        "--normalise",
        choices=("training", "series", "none"),
        help="mean 0 and deviation 1 of each channel, over what (training)",
    )
    group.add_argument(
        "--missing",
        choices=("fill", "mark"),
        help="values that are missing: fill them in, or also mark them in channels (fill)",
    )


def given_series(values: argparse.Namespace) -> SeriesOptions | None:
    """What was said about preparing series; None where nothing was."""
    given = {name: getattr(values, name, None) for name in SERIES}
    said: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not said:
        return None
    from convarium.data import SeriesOptions

    return SeriesOptions(**said)


def add_grid_arguments(parser: Any) -> None:
    """Size, and spacing of volumes, that a network gets; to a parser or a group of one."""
    parser.add_argument(
        "--size", type=sides, help="side in pixels to resize to; of volumes also such as 16x32x32"
    )
    parser.add_argument(
        "--spacing",
        type=spacing,
        help="spacing to resample volumes to: median, a number, or such as 3x1x1",
    )


def reading_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Columns, task and kind as they are given; on resume, those that the run was started with."""
    from convarium import train
    from convarium.data.corrections import read_corrections

    given = given_reading(arguments)
    if not arguments.resume:
        return given
    if given.get("corrections") is not None:
        given["corrections"] = read_corrections(given["corrections"])
    folder = Path(arguments.out, "" if arguments.folds is None else "fold-1")
    stored = train.read_settings(folder)["data"]
    if "task" not in stored:  # of a run from before these were kept
        return given
    kind = train.read_preprocessing(folder).kind
    then = {"task": stored["task"], "kind": kind, **stored["columns"]}
    for name, value in given.items():
        if value not in (None, then.get(name)):
            raise OptionError(
                f"Cannot resume with another --{name.replace('_', '-')}: it was "
                f"{_listed(then.get(name))} and is {_listed(value)}; leave it out, or start a new "
                "run."
            )
    return {name: then.get(name) for name in given}


def _listed(value: str | int | list[str] | Mapping[str, str] | None) -> str:
    if isinstance(value, Mapping):
        return f"{len(value)} of them"
    values = value if isinstance(value, list) else [value]
    return ", ".join("none" if each is None else repr(each) for each in values)
