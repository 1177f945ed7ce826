"""`convarium evaluate RUN DATA`: what a run is worth on labelled data."""

from __future__ import annotations

import argparse

from convarium.cli.parsing import (
    Parser,
    add_data_arguments,
    add_prediction_arguments,
    write,
    write_json,
)


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    add_data_arguments(parser)
    add_prediction_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="predictions as .csv or .parquet")
    add_tta(parser)


def add_tta(parser: Parser) -> None:
    """Test-time augmentation, of the verbs that state probabilities."""
    parser.add_argument(
        "--tta",
        choices=("none", "flip", "five_crops", "flip_five_crops"),
        default="none",
        help="views of each image whose probabilities are averaged (none)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Match the classes by name, evaluate, and print the result with its interval."""
    from convarium import data, predict
    from convarium.progress import Progress

    if arguments.output:
        predict.check_table_name(arguments.output)
    opened = predict.open_run(arguments.run)
    dataset = data.open_dataset(
        arguments.data,
        path_column=arguments.path_column,
        label_column=arguments.label_column,
        task=opened.card["task"],
    )
    predictor = predict.Predictor(opened.model, opened.card, tta=arguments.tta)
    skipped: list[data.Skipped] = []
    with Progress(len(dataset), "evaluate", enabled=not arguments.json) as progress:
        evaluation = predictor.evaluate(
            dataset,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            skipped=skipped,
            progress=progress,
        )
    skipped = [*dataset.skipped, *skipped]
    if arguments.output:
        predict.write_predictions(arguments.output, evaluation, dataset)
    if arguments.json:
        left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
        views = {} if arguments.tta == "none" else {"tta": arguments.tta}
        write_json({**evaluation.to_json(), **views, "skipped": left_out})
        return 0
    write(evaluation.sentence())
    if arguments.tta != "none":
        write(f"  test-time augmentation: {arguments.tta}")
    for line in evaluation.lines():
        write(line)
    if skipped:
        write(f"skipped {len(skipped)}, the first: {skipped[0].name} ({skipped[0].reason})")
    return 0
