"""`convarium evaluate RUN DATA`: what a run is worth on labelled data."""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.parsing import (
    Parser,
    add_prediction_arguments,
    positive,
    write,
    write_json,
)
from convarium.cli.reading import add_data_arguments, given_reading
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convarium.data import Dataset, Part, Preprocessing, Skipped
    from convarium.data.grids.samples import GridSamples
    from convarium.predict import Run
    from convarium.processes import World
    from convarium.tasks import Evaluation


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="+",
        help="a run folder of 'convarium train'; several of fields are an ensemble",
    )
    add_data_arguments(parser, task=False)
    add_prediction_arguments(parser)
    parser.add_argument(
        "--part",
        choices=("all", "train", "validation", "test"),
        default="all",
        help="of the data that the run was trained on, as it was split (all)",
    )
    parser.add_argument(
        "--block",
        type=positive,
        metavar="N",
        help="fields: times that intervals keep together (a year of months, 30 days of days)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="predictions as .csv or .parquet")
    add_tta(parser)
    add_reduced(parser)


def add_reduced(parser: Parser) -> None:
    """Of the verbs that read pictures from files and may do so in less time."""
    parser.add_argument(
        "--reduced",
        action="store_true",
        help="decode JPEGs of four times the size that is needed and more at a reduced scale",
    )


def add_tta(parser: Parser) -> None:
    """Test-time augmentation, of the verbs that state probabilities."""
    parser.add_argument(
        "--tta",
        choices=("none", "flip", "five_crops", "flip_five_crops"),
        default="none",
        help="views of each image whose probabilities are averaged (none)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Match the classes by name, evaluate, and print the result with its interval.

    Of several processes, the first one talks and writes.
    """
    from convarium.processes import joined

    with joined() as world:
        return _evaluate(arguments, world)


def _evaluate(arguments: argparse.Namespace, world: World) -> int:
    from convarium import data, predict
    from convarium.progress import Progress

    if arguments.output:
        predict.check_table_name(arguments.output)
    runs = [predict.open_run(folder) for folder in arguments.run]
    opened = runs[0]
    if len(runs) > 1 and {run.preprocessing.kind for run in runs} != {"grids"}:
        raise OptionError("Several runs are evaluated together where they give fields; name one.")
    if arguments.block is not None and opened.preprocessing.kind != "grids":
        raise OptionError("--block is for times of gridded fields; leave it out.")
    dataset = opened_data(arguments, opened)
    skipped: list[data.Skipped] = []
    part, known = measured(arguments.part, opened, dataset, world)
    if arguments.reduced:
        dataset = data.reduced(dataset, opened.preprocessing)
        part = data.Part(dataset, part.ids) if isinstance(part, data.Part) else dataset
    total, shown = len(runs) * len(part), world.first and not arguments.json
    with Progress(total, "evaluate", enabled=shown) as progress:
        found = [
            predict.Predictor(run.model, run.card, tta=arguments.tta).evaluate(
                part,
                batch_size=arguments.batch_size,
                workers=arguments.workers,
                skipped=skipped,
                progress=progress,
                world=world,
            )
            for run in runs
        ]
    if not world.first:
        return 0
    evaluation = found[0] if len(found) == 1 else _ensemble(found, dataset)
    evaluation = beside_others(evaluation, part, opened.preprocessing, block=arguments.block)
    if arguments.output:
        predict.write_predictions(arguments.output, evaluation, dataset)
    _tell(arguments, evaluation, known, [*dict.fromkeys([*dataset.skipped, *skipped])])
    return 0


def _ensemble(found: Sequence[Evaluation], dataset: Dataset) -> Evaluation:
    """What runs of fields are worth together."""
    from convarium import tasks

    areas = cast("GridSamples", dataset.samples).pairs.areas
    own = None if areas is None else areas.reshape(-1, 1)
    return tasks.together(cast("Sequence[tasks.FieldEvaluation]", found), own)


def beside_others(
    evaluation: Evaluation,
    data: Dataset | Part,
    preprocessing: Preprocessing,
    *,
    block: int | None = None,
) -> Evaluation:
    """Of fields the evaluation with what needs no training beside it; others as they are."""
    from convarium import tasks
    from convarium.data import FieldPreprocessing, Part

    if not isinstance(evaluation, tasks.FieldEvaluation):
        return evaluation
    dataset = data.dataset if isinstance(data, Part) else data
    steps = cast("FieldPreprocessing", preprocessing)
    return tasks.beside_baselines(evaluation, dataset, steps, block=block)


def opened_data(arguments: argparse.Namespace, run: Run) -> Dataset:
    """The data, with the columns of the run's own where none are given and it has them."""
    from convarium import data

    own = run.columns
    given = {name: value for name, value in given_reading(arguments).items() if value is not None}
    open_with = functools.partial(
        data.open_dataset, arguments.data, task=run.card["task"], kind=run.preprocessing.kind
    )
    plain = ("group_column", "corrections")
    ungrouped = {name: value for name, value in own.items() if name not in plain}
    if own.get("fields") and given.get("fields"):  # what is said goes over what the run has
        given["fields"] = {**own["fields"], **given["fields"]}
    for columns in (own, ungrouped) if own else ():
        with contextlib.suppress(DataError, OptionError):
            return open_with(**{**columns, **given})
    return open_with(**given)


def measured(name: str, run: Run, dataset: Dataset, world: World) -> tuple[Dataset | Part, int]:
    """What is to be measured, and how much of the data was learnt; the first process finds out."""
    from convarium.data import Part

    told = None
    if world.first:
        ids = None if name == "all" else run.part(dataset, name).ids
        told = ids, run.trained_on(dataset)
    ids, known = cast("tuple[NDArray[np.int64] | None, int]", world.share(told))
    return (dataset, known) if ids is None else (Part(dataset, ids), 0)


def _tell(
    arguments: argparse.Namespace, evaluation: Evaluation, known: int, skipped: list[Skipped]
) -> None:
    """The result as JSON or in words; `known` samples are those that the network learnt from."""
    if arguments.json:
        left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
        views: dict[str, Any] = {} if arguments.tta == "none" else {"tta": arguments.tta}
        views |= {} if arguments.part == "all" else {"part": arguments.part}
        views |= {"reduced": True} if arguments.reduced else {}
        counts = {"trained_on": known} if known else {}
        write_json({**evaluation.to_json(), **views, **counts, "skipped": left_out})
        return
    write(evaluation.sentence())
    if known:
        write(
            f"  note: the network has learnt from {known} of these samples; --part test measures "
            "those that it has not seen"
        )
    if arguments.tta != "none":
        write(f"  test-time augmentation: {arguments.tta}")
    if arguments.reduced:
        write("  large JPEGs at a reduced scale")
    for line in evaluation.lines():
        write(line)
    if skipped:
        write(f"skipped {len(skipped)}, the first: {skipped[0].name} ({skipped[0].reason})")
