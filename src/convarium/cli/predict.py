"""`convarium predict RUN INPUT...`: names for images, as a table, JSON, CSV or Parquet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import (
    Parser,
    add_prediction_arguments,
    check_output,
    write,
    write_json,
)
from convarium.errors import DataError

if TYPE_CHECKING:
    from convarium.data import Dataset
    from convarium.tasks import Record


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders or patterns")
    add_prediction_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="write a .csv or .parquet file")


def run(arguments: argparse.Namespace) -> int:
    """Predict, print or write, and list what could not be read."""
    if arguments.output:
        check_output(arguments.output, (".csv", ".parquet"))
    from convarium import data, predict
    from convarium.progress import Progress

    opened = predict.open_run(arguments.run)
    dataset = data.open_inputs(arguments.inputs)
    skipped: list[data.Skipped] = list(dataset.skipped)
    quiet = arguments.json or not arguments.output
    with Progress(len(dataset), "predict", enabled=not quiet) as progress:
        records = opened.predictor.records(
            dataset,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            skipped=skipped,
            progress=progress,
        )
        count = _deliver(arguments, _rows(dataset, records), skipped)
    if count == 0:
        raise DataError(
            f"None of the {len(skipped)} inputs can be read; the first: {skipped[0].name} "
            f"({skipped[0].reason})."
        )
    return 0


def _deliver(arguments: argparse.Namespace, rows: Iterator[dict[str, Any]], skipped: Any) -> int:
    """To a file, as JSON, or as a table on the terminal; gives the number of predictions."""
    count = 0
    if arguments.output:
        from convarium import predict

        count = predict.write_table(arguments.output, rows)
    elif not arguments.json:
        for row in rows:
            write(f"{row['confidence']:7.1%}  {row['label']:<20}  {row['name']}")
            count += 1
    if arguments.json:
        listed = list(rows)
        count = count or len(listed)
        left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
        result: dict[str, Any] = {"n": count, "skipped": left_out}
        place = {"output": arguments.output} if arguments.output else {"predictions": listed}
        write_json({**result, **place})
        return count
    for item in skipped:
        sys.stderr.write(f"skipped {item.name}: {item.reason}\n")
    if arguments.output:
        write(f"{count} predictions: {arguments.output}")
    return count


def _rows(dataset: Dataset, records: Iterator[Record]) -> Iterator[dict[str, Any]]:
    for record in records:
        yield {"name": dataset.name(record.id), **record.columns()}
