"""`convarium downscale RUN... coarse.nc -o fine.nc`: fine fields from coarse ones."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from convarium.cli.gridded import add_axis_arguments, given_fields
from convarium.cli.parsing import Parser, natural, positive, write, write_json
from convarium.train.allocator import keep_freed_memory

if TYPE_CHECKING:
    from convarium.data import FieldOptions


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="+",
        help="a run folder of 'convarium train --task downscale'; of several the mean is taken, "
        "and what lies between them is a spread",
    )
    parser.add_argument(
        "coarse",
        metavar="COARSE",
        help="coarse fields: NetCDF, a Zarr folder, or a pattern of files such as 'coarse_*.nc'",
    )
    parser.add_argument(
        "-o", "--output", metavar="FINE", required=True, help="the file to write, .nc or .zarr"
    )
    parser.add_argument(
        "--tile",
        type=positive,
        metavar="N",
        help="coarse cells of a tile along each axis (64 where fields are large, else no tiles)",
    )
    parser.add_argument(
        "--draws",
        type=natural,
        default=0,
        metavar="N",
        help="fields that are drawn beside the mean, as rough as the truth (0)",
    )
    parser.add_argument("--seed", type=natural, default=0, help="of the draws (0)")
    add_axis_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Open the runs, make the fields finer, and say what was written."""
    from convarium import predict
    from convarium.measure.field_reach import tiling_of

    keep_freed_memory()
    started = time.monotonic()
    runs = [predict.open_run(folder) for folder in arguments.run]
    found = predict.downscale(
        runs,
        arguments.coarse,
        arguments.output,
        tiling=tiling_of(runs, arguments.tile),
        fields=_axes(arguments),
        history=" ".join(["convarium downscale", *arguments.run, arguments.coarse]),
        draws=arguments.draws,
        seed=arguments.seed,
        quiet=arguments.json,
    )
    seconds = round(time.monotonic() - started, 1)
    rows, columns = found.shape
    if arguments.json:
        told: dict[str, Any] = {
            "times": found.times,
            "rows": rows,
            "columns": columns,
            "tile": found.tile,
        }
        told |= {"variables": list(found.variables), "notes": list(found.notes)}
        write_json({"output": str(found.path), **told, "seconds": seconds})
        return 0
    for note in found.notes:
        write(f"note: {note}")
    if found.made < found.pieces:
        write(f"went on after {found.pieces - found.made} of {found.pieces} pieces")
    names = ", ".join(found.variables)
    write(f"{found.times} fields of {rows} x {columns} cells ({names}): {found.path}, {seconds} s")
    return 0


def _axes(arguments: argparse.Namespace) -> FieldOptions | None:
    """The axes of the coarse file, where they are told."""
    from convarium.data import FieldOptions

    given = given_fields(arguments)
    return None if given is None else FieldOptions.of(given)
