"""`convarium embed RUN INPUT... -o FILE|FOLDER`: the vectors before the last linear layer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.cli.parsing import Parser, add_prediction_arguments, positive, write, write_json
from convarium.cli.reading import add_input_columns, input_columns
from convarium.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from convarium.data import Dataset, Skipped
    from convarium.predict import Run
    from convarium.processes import World
    from convarium.progress import Progress

    Pairs = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument("run", metavar="RUN", help="a run folder of 'convarium train'")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders or patterns")
    add_input_columns(parser)
    add_prediction_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="the .parquet file to write, or a folder of such files that can be gone on with",
    )
    parser.add_argument(
        "--shard", type=positive, help="of a folder: inputs in each of its files (100000)"
    )
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="of vectors (float32)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Embed, write as it goes, and list what could not be read; the first process talks."""
    from convarium import data, predict
    from convarium.processes import joined

    into_folder = Path(arguments.output).suffix == ""
    if not into_folder:
        predict.check_vectors_name(arguments.output)
        if arguments.shard is not None:
            raise OptionError("--shard is for a folder of files; give -o a name without .parquet.")
    with joined() as world:
        opened = predict.open_run(arguments.run)
        dataset = data.open_inputs(
            arguments.inputs,
            kind=opened.preprocessing.kind,
            columns=input_columns(arguments, opened),
        )
        embed = _into_folder if into_folder else _into_file
        count, length, skipped = embed(arguments, opened, dataset, world)
        if world.first:
            _tell(arguments, count, length, [*dataset.skipped, *skipped])
    return 0


def _into_file(
    arguments: argparse.Namespace, opened: Run, dataset: Dataset, world: World
) -> tuple[int, int, list[Skipped]]:
    """One file, written by the first process."""
    from convarium import predict
    from convarium.progress import Progress

    skipped: list[Skipped] = []
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
        return 0, 0, skipped
    with Progress(len(dataset), "embed", enabled=not arguments.json) as progress:
        count, length = predict.write_vectors(
            arguments.output, dataset, _told(pairs, progress), dtype=arguments.dtype
        )
    return count, length, skipped


def _into_folder(
    arguments: argparse.Namespace, opened: Run, dataset: Dataset, world: World
) -> tuple[int, int, list[Skipped]]:
    """A folder of files, each by one process."""
    from convarium import predict
    from convarium.progress import Progress

    quiet = arguments.json or not world.first
    with Progress(len(dataset), "embed", enabled=not quiet) as progress:
        return predict.write_shards(
            arguments.output,
            dataset,
            opened.predictor,
            opened.identity,
            shard=arguments.shard or 100_000,
            dtype=arguments.dtype,
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            progress=progress,
            world=world,
        )


def _tell(
    arguments: argparse.Namespace, count: int, length: int, skipped: Sequence[Skipped]
) -> None:
    """What was written, and what was left out."""
    if arguments.json:
        left_out = [{"name": item.name, "reason": item.reason} for item in skipped]
        said = {"n": count, "length": length, "dtype": arguments.dtype}
        write_json({**said, "output": arguments.output, "skipped": left_out})
        return
    write(f"{count} vectors of {length} {arguments.dtype}: {arguments.output}")
    for item in skipped:
        sys.stderr.write(f"skipped {item.name}: {item.reason}\n")


def _told(pairs: Pairs, progress: Progress) -> Pairs:
    """The same pairs, each told to the progress."""
    for ids, vectors in pairs:
        yield ids, vectors
        progress.advance(len(ids))
