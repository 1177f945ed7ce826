"""`convarium embed RUN INPUT... -o FILE`: the vectors before the last linear layer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from convarium.cli.parsing import Parser, add_prediction_arguments, write, write_json
from convarium.cli.reading import add_input_columns, input_columns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convarium.progress import Progress

    Pairs = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders or patterns")
    add_input_columns(parser)
    add_prediction_arguments(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the .parquet file to write"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="of vectors (float32)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Embed, write as it goes, and list what could not be read; the first process writes."""
    from convarium import data, predict
    from convarium.processes import joined
    from convarium.progress import Progress

    predict.check_vectors_name(arguments.output)
    with joined() as world:
        opened = predict.open_run(arguments.run)
        dataset = data.open_inputs(
            arguments.inputs,
            kind=opened.preprocessing.kind,
            columns=input_columns(arguments, opened),
        )
        skipped: list[data.Skipped] = list(dataset.skipped)
        pairs = opened.predictor.embedded(
            dataset,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            skipped=skipped,
            world=world,
        )
        if not world.first:
            for _ in pairs:  # the other processes only compute
                pass
            return 0
        with Progress(len(dataset), "embed", enabled=not arguments.json) as progress:
            count, length = predict.write_vectors(
                arguments.output, dataset, _told(pairs, progress), dtype=arguments.dtype
            )
    left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
    if arguments.json:
        said = {"n": count, "length": length, "dtype": arguments.dtype}
        write_json({**said, "output": arguments.output, "skipped": left_out})
        return 0
    write(f"{count} vectors of {length} {arguments.dtype}: {arguments.output}")
    for item in skipped:
        sys.stderr.write(f"skipped {item.name}: {item.reason}\n")
    return 0


def _told(pairs: Pairs, progress: Progress) -> Pairs:
    """The same pairs, each told to the progress."""
    for ids, vectors in pairs:
        yield ids, vectors
        progress.advance(len(ids))
