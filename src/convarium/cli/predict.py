"""`convarium predict RUN INPUT...`: names for images, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.evaluate import add_reduced, add_tta
from convarium.cli.parsing import (
    Parser,
    add_prediction_arguments,
    positive,
    write,
    write_json,
)
from convarium.cli.reading import add_input_columns, input_columns
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Dataset, Skipped
    from convarium.predict import Predictor, Run
    from convarium.processes import World
    from convarium.tasks import Record


_OWN = "the network itself"
_BATCH = 256


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders or patterns")
    add_input_columns(parser)
    add_prediction_arguments(parser)
    parser.set_defaults(batch_size=None)  # as many as `tune` timed, or 256
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write a .csv or .parquet file, or a folder of such files that can be gone on with",
    )
    parser.add_argument(
        "--shard", type=positive, help="of a folder: inputs in each of its files (100000)"
    )
    parser.add_argument(
        "--untuned", action="store_true", help="run the network itself, not what tune chose"
    )
    add_tta(parser)
    add_reduced(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict, print or write, and list what could not be read; the first process talks."""
    from convarium.processes import joined

    with joined() as world:
        return _predict(arguments, world)


def _predict(arguments: argparse.Namespace, world: World) -> int:
    from convarium import data, predict
    from convarium.progress import Progress

    into_folder = bool(arguments.output) and Path(arguments.output).suffix == ""
    if arguments.output and not into_folder:
        predict.check_table_name(arguments.output)
    if arguments.shard is not None and not into_folder:
        raise OptionError("--shard is for a folder of files; give -o a name without an ending.")
    opened = predict.open_run(arguments.run)
    forward, form = (opened.model, _OWN) if arguments.untuned else _fastest(opened)
    predictor = predict.Predictor(forward, opened.card, tta=arguments.tta)
    dataset = data.open_inputs(
        arguments.inputs, kind=opened.preprocessing.kind, columns=input_columns(arguments, opened)
    )
    arguments = _settled(arguments, forward, dataset, world)
    if arguments.reduced:
        dataset = data.reduced(dataset, opened.preprocessing)
    if into_folder:
        return _into_folder(arguments, opened, predictor, dataset, form, world)
    skipped: list[data.Skipped] = list(dataset.skipped)
    quiet = arguments.json or not arguments.output or not world.first
    with Progress(len(dataset), "predict", enabled=not quiet) as progress:
        records = predictor.records(
            dataset,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            skipped=skipped,
            progress=progress,
            world=world,
        )
        if world.first:
            _deliver(arguments, _rows(dataset, records, skipped), skipped)
        for _ in records:  # the other processes only compute
            pass
    return 0


def _into_folder(
    arguments: argparse.Namespace,
    opened: Run,
    predictor: Predictor,
    dataset: Dataset,
    form: str,
    world: World,
) -> int:
    """A folder of files, each by one process; what is there already stays."""
    from convarium import predict
    from convarium.progress import Progress

    about = {**opened.identity, **_file_of(predictor.forward), "form": form}
    quiet = arguments.json or not world.first
    with Progress(len(dataset), "predict", enabled=not quiet) as progress:
        count, skipped = predict.write_records(
            arguments.output,
            dataset,
            predictor,
            {**about, "views": arguments.tta, "reduced": arguments.reduced},
            shard=arguments.shard or 100_000,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            progress=progress,
            world=world,
        )
    if world.first:
        _tell(arguments, count, [*dataset.skipped, *skipped], form)
    return 0


def _file_of(forward: Callable[..., Tensor]) -> dict[str, Any]:
    """Hashes of the file that a form runs, where it does."""
    path = getattr(forward, "path", None)
    if path is None:
        return {}
    from convarium import files
    from convarium.deploy.exporting import members

    return {"file": [files.sha256(member) for member in members(path)]}


def _tell(arguments: argparse.Namespace, count: int, skipped: list[Skipped], form: str) -> None:
    """What a folder holds now, and what was left out."""
    if arguments.json:
        written = {"n": count, "output": arguments.output, "form": form, **_views(arguments)}
        write_json({**written, "skipped": _listed(skipped)})
        return
    write(f"{count} predictions: {arguments.output}")
    _say(skipped)


def _fastest(opened: Run) -> tuple[Callable[..., Tensor], str]:
    """What `tune` chose for this machine, and its name; the network itself without a choice."""
    if not opened.tuned.is_dir():
        return opened.model, _OWN
    from convarium import deploy

    found = deploy.in_use(opened.model, opened.tuned)
    if found is None:
        sys.stderr.write(
            "convarium: what was tuned is for other weights, versions or another machine; "
            "convarium tune RUN tunes anew\n"
        )
        return opened.model, _OWN
    return found


def _settled(
    arguments: argparse.Namespace, forward: Callable[..., Tensor], dataset: Dataset, world: World
) -> argparse.Namespace:
    """The arguments with what `tune` chose: samples at once, and large JPEGs at a reduced scale.

    It judged files read so without views.
    """
    from convarium.data.samples import EncodedSamples

    timed = getattr(forward, "batch_size", 1)  # of one sample means that each counts, not all
    size = arguments.batch_size or (timed if timed > 1 else _BATCH)
    less = getattr(forward, "reduced", False) and arguments.tta == "none"
    less = less and isinstance(dataset.samples, EncodedSamples)
    if less and not arguments.reduced and world.first:
        sys.stderr.write(
            "convarium: large JPEGs are read at a reduced scale, as tune chose; --untuned reads "
            "them whole\n"
        )
    reduced = arguments.reduced or less
    return argparse.Namespace(**{**vars(arguments), "batch_size": size, "reduced": reduced})


def _deliver(
    arguments: argparse.Namespace,
    rows: Iterator[tuple[str, Record]],
    skipped: list[Skipped],
) -> None:
    """To a file, as JSON, or as a table on the terminal."""
    from convarium import predict

    columns = ({"name": name, **record.columns()} for name, record in rows)
    if arguments.output:
        count = predict.write_table(arguments.output, columns)
        if arguments.json:
            written = {"n": count, "output": arguments.output, **_views(arguments)}
            write_json({**written, "skipped": _listed(skipped)})
        else:
            views = "" if arguments.tta == "none" else f" (views: {arguments.tta})"
            write(f"{count} predictions{views}: {arguments.output}")
    elif arguments.json:
        predictions = list(columns)
        result = {"n": len(predictions), **_views(arguments), "predictions": predictions}
        write_json({**result, "skipped": _listed(skipped)})
    else:
        for name, record in rows:
            write(f"{record.sentence():<30}  {name}")
    if not arguments.json:
        _say(skipped)


def _say(skipped: list[Skipped]) -> None:
    for item in skipped:
        sys.stderr.write(f"skipped {item.name}: {item.reason}\n")


def _views(arguments: argparse.Namespace) -> dict[str, Any]:
    """The test-time augmentation and the reduced scale, where there is any."""
    views: dict[str, Any] = {} if arguments.tta == "none" else {"tta": arguments.tta}
    return views | ({"reduced": True} if arguments.reduced else {})


def _rows(
    dataset: Dataset, records: Iterator[Record], skipped: list[Skipped]
) -> Iterator[tuple[str, Record]]:
    """Names and records; nothing readable is an error, raised before anything is written."""
    count = 0
    for record in records:
        yield dataset.name(record.id), record
        count += 1
    if count == 0:
        raise DataError(
            f"None of the {len(skipped)} inputs can be read; the first: {skipped[0].name} "
            f"({skipped[0].reason})."
        )


def _listed(skipped: list[Skipped]) -> list[dict[str, str]]:
    return [{"name": item.name, "reason": item.reason} for item in skipped]
