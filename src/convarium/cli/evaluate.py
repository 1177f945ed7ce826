"""`convarium evaluate RUN DATA`: what a run is worth on labelled data."""

from __future__ import annotations

import argparse
import contextlib
import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.evaluating_fields import check_draws, ensemble, field_evaluation, inside
from convarium.cli.gridded import add_held_out
from convarium.cli.parsing import (
    Parser,
    add_prediction_arguments,
    natural,
    positive,
    write,
    write_json,
)
from convarium.cli.reading import add_data_arguments, given_reading
from convarium.errors import DataError, OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convarium.data import Dataset, Part, Skipped
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
    add_held_out(
        parser, "fields: degrees of the cells that count (with --part, those that the run held out)"
    )
    parser.add_argument(
        "--draws",
        type=natural,
        default=0,
        metavar="N",
        help="fields: draws of each time whose CRPS, ranks and extremes are measured too (0)",
    )
    parser.add_argument("--seed", type=natural, help="of the draws (0)")
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
    check_draws(runs, arguments.draws, arguments.seed)
    if arguments.held_out is not None and opened.preprocessing.kind != "grids":
        raise OptionError("--held-out is a region of gridded fields; leave it out.")
    dataset = opened_data(arguments, opened)
    skipped: list[data.Skipped] = []
    part, known = measured(arguments.part, runs, dataset, world)
    if arguments.held_out is not None:
        part = inside(part, arguments.held_out)
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
    evaluation = found[0] if len(found) == 1 else ensemble(found, dataset)
    if opened.preprocessing.kind == "grids":
        evaluation = field_evaluation(evaluation, part, opened, arguments)
    if arguments.output:
        predict.write_predictions(arguments.output, evaluation, dataset)
    _tell(arguments, evaluation, known, [*dict.fromkeys([*dataset.skipped, *skipped])])
    return 0


def opened_data(arguments: argparse.Namespace, run: Run) -> Dataset:
    """The data, with the columns of the run's own where none are given and it has them."""
    from convarium import data

    own = dict(run.columns)
    labels = own.pop("corrections", None)
    given = {name: value for name, value in given_reading(arguments).items() if value is not None}
    open_with = functools.partial(
        data.open_dataset, arguments.data, task=run.card["task"], kind=run.preprocessing.kind
    )
    ungrouped = {name: value for name, value in own.items() if name != "group_column"}
    if own.get("fields") and given.get("fields"):  # what is said goes over what the run has
        given["fields"] = {**own["fields"], **given["fields"]}
    found = None
    for columns in (own, ungrouped) if own else ():
        with contextlib.suppress(DataError, OptionError):
            found = open_with(**{**columns, **given})
            break
    return _corrected(found or open_with(**given), run, labels)


def _corrected(dataset: Dataset, run: Run, labels: Mapping[str, str] | None) -> Dataset:
    """The data with the labels that were corrected for the run, where it is that of the run."""
    from convarium.data.corrections import corrected

    if not labels:
        return dataset
    targets = dataset.targets
    with contextlib.suppress(DataError, OptionError):
        if run.trained_on(corrected(dataset, labels)):
            return dataset
    dataset.targets, dataset.corrections = targets, {}
    warnings.warn(
        f"{dataset.source} is not the data that {run.folder} was trained on: the {len(labels)} "
        "labels that were corrected for its training stay as the data has them.",
        stacklevel=2,
    )
    return dataset


def measured(
    name: str, runs: Sequence[Run], dataset: Dataset, world: World
) -> tuple[Dataset | Part, int]:
    """What is to be measured, and how much of the data was learnt; the first process finds out.

    Of several runs a part is what all of them have in it.
    """
    from convarium.data import Part

    told = None
    if world.first:
        ids = None if name == "all" else _in_all(name, runs, dataset)
        told = ids, max(run.trained_on(dataset) for run in runs)
    ids, known = cast("tuple[NDArray[np.int64] | None, int]", world.share(told))
    if ids is None:
        return dataset, known
    return Part(runs[0].counting(dataset, name, ids), ids), 0


def _in_all(name: str, runs: Sequence[Run], dataset: Dataset) -> NDArray[np.int64]:
    """The samples that each run has in a part."""
    import numpy as np

    if len({str(run.card.get("split", {}).get("held_out")) for run in runs}) > 1:
        raise OptionError(
            "The runs hold out other regions, of which a part counts one; evaluate each by itself."
        )
    ids = [run.part(dataset, name).ids for run in runs]
    found = functools.reduce(lambda one, other: one[np.isin(one, other)], ids)
    if not len(found):
        folders = " and ".join(str(run.folder) for run in runs)
        raise OptionError(
            f"No sample is in the part {name!r} of {folders}; evaluate each by itself."
        )
    return found


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
