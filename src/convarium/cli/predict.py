"""`convarium predict RUN INPUT...`: names for images, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from convarium.cli.evaluate import add_tta
from convarium.cli.parsing import (
    Parser,
    add_prediction_arguments,
    write,
    write_json,
)
from convarium.cli.reading import add_input_columns, input_columns
from convarium.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.data import Dataset, Skipped
    from convarium.predict import Run
    from convarium.processes import World
    from convarium.tasks import Record


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders or patterns")
    add_input_columns(parser)
    add_prediction_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write a .csv or .parquet file")
    parser.add_argument(
        "--untuned", action="store_true", help="run the network itself, not what tune chose"
    )
    add_tta(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict, print or write, and list what could not be read; the first process talks."""
    from convarium.processes import joined

    with joined() as world:
        return _predict(arguments, world)


def _predict(arguments: argparse.Namespace, world: World) -> int:
    from convarium import data, predict
    from convarium.progress import Progress

    if arguments.output:
        predict.check_table_name(arguments.output)
    opened = predict.open_run(arguments.run)
    forward = opened.model if arguments.untuned else _fastest(opened)
    predictor = predict.Predictor(forward, opened.card, tta=arguments.tta)
    dataset = data.open_inputs(
        arguments.inputs, kind=opened.preprocessing.kind, columns=input_columns(arguments, opened)
    )
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


def _fastest(opened: Run) -> Callable[..., Tensor]:
    """What `tune` chose for this machine; the network itself where nothing was chosen."""
    if not opened.tuned.is_dir():
        return opened.model
    from convarium import deploy

    found = deploy.in_use(opened.model, opened.tuned)
    if found is None:
        sys.stderr.write(
            "convarium: what was tuned is for other weights, versions or another machine; "
            "convarium tune RUN tunes anew\n"
        )
        return opened.model
    return found[0]


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
        for item in skipped:
            sys.stderr.write(f"skipped {item.name}: {item.reason}\n")


def _views(arguments: argparse.Namespace) -> dict[str, str]:
    """The test-time augmentation, where there is any."""
    return {} if arguments.tta == "none" else {"tta": arguments.tta}


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
