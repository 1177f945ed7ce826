"""Coarse files to fine ones by runs of fields: in pieces of time, in tiles of space.

coarse file -> some times -> tiles -> networks -> mean and spread -> pieces -> fine file
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data import FieldOptions
from convarium.data.grids.coarse import CoarseFields, open_coarse
from convarium.data.grids.grid import Grid
from convarium.data.grids.reading import is_xarray, paths_of
from convarium.data.grids.writing import Pieces, held
from convarium.errors import OptionError
from convarium.models import FieldToField
from convarium.predict.fine_files import about_job, fine_file, steps_of
from convarium.predict.run import Run
from convarium.predict.scatter import drawing
from convarium.predict.tiles import Tiling, fine_fields
from convarium.progress import Progress

PIECE: Final = 2**23  # numbers of a piece, about
AT_ONCE: Final = 2**17  # fine cells that go through a network together; more leave the caches


@dataclass(frozen=True)
class Downscaled:
    """What was written.

    Args:
        path: of the file.
        times: how many.
        shape: rows and columns of the fine fields.
        tile: coarse cells of a tile; None where fields were taken as a whole.
        variables: names in the file.
        made: pieces that were made now, and were not there from a job that was stopped.
        pieces: all of them.
        notes: what was found on the way, a sentence each.
    """

    path: Path
    times: int
    shape: tuple[int, int]
    tile: int | None
    variables: tuple[str, ...]
    made: int
    pieces: int
    notes: tuple[str, ...]


def downscale(
    runs: Sequence[Run],
    source: str | Path,
    path: str | Path,
    *,
    tiling: Tiling | None = None,
    fields: FieldOptions | None = None,
    history: str = "",
    draws: int = 0,
    seed: int = 0,
    quiet: bool = True,
) -> Downscaled:
    """Make the fields of a coarse file finer, and write them.

    Of several runs it is the mean of what they give, with the deviation between them as a spread.
    A job that was stopped goes on where it was.

    Args:
        runs: opened runs of the same variables and factor.
        source: the coarse file.
        path: of the fine file, .nc or .zarr.
        tiling: how fields are divided; None takes them as a whole.
        fields: axes and further axes of the coarse file, where they are not as in training.
        history: a line for the file's history, behind the date.
        draws: fields that are drawn beside the mean, as rough as the truth; of one run.
        seed: of the draws; with the same one a date has the same draws in every file.
        quiet: whether no progress is shown.

    Raises:
        OptionError: runs that do not go together, or no such kind of file.
        DataError: the coarse file does not fit the runs, or is below 0 where they cannot be.
        RunError: the file cannot be written, or there is nothing to draw with.
    """
    path = Path(path)
    if is_xarray(source):
        raise OptionError("source is data of xarray; use fine_dataset, whose result has to_netcdf.")
    if path.resolve() in [each.resolve() for each in paths_of(source)]:
        raise OptionError(f"{path} is the coarse file itself; write the fine fields elsewhere.")
    networks = [checked_network(run) for run in runs]
    opened = opened_alike(runs, source, fields)
    coarse = opened[0]
    cells = math.prod(coarse.grid.shape)
    tiling = (tiling or Tiling()).fitted(cells)
    names = names_of(runs) | drawn_names(runs, draws)
    with_draws = drawing(runs[0].folder, coarse, draws, seed)
    size = max(1, PIECE // (cells * len(names)))
    starts = range(0, len(coarse), size)
    fine = fine_file(path, runs[0], coarse, names, history)
    with held(path), Progress(len(coarse), "downscale", enabled=not quiet) as progress:
        about = about_job(runs, source, fields, tiling.size, size) | {"draws": [draws, seed]}
        pieces = Pieces(path, about, starts)
        missing = pieces.missing()
        there = sorted({*range(len(starts))} - {*missing})
        progress.advance(sum(min(size, len(coarse) - starts[k]) for k in there))
        for k in missing:
            ids = np.arange(starts[k], min(starts[k] + size, len(coarse)))
            pieces.keep(k, with_draws(made(networks, opened, ids, tiling, progress), ids))
        fine.write(iter(pieces))
        pieces.remove()
    return Downscaled(
        path,
        times=len(coarse),
        shape=fine.grid.shape,
        tile=tiling.size,
        variables=tuple(names),
        made=len(missing),
        pieces=len(starts),
        notes=coarse.notes,
    )


def fine_values(
    run: Run, coarse: CoarseFields, ids: Sequence[int]
) -> dict[str, NDArray[np.float32]]:
    """The fine fields of some times by their names, `(n, H, W)`, as `downscale` writes them.

    Args:
        run, coarse, ids: a run of fields, what `open_coarse` gives for it, numbers of times.

    Raises:
        OptionError: the run gives no fields.
        DataError: cells are missing, and the network was trained on fields without gaps.
    """
    network = checked_network(run)
    tiling = Tiling().fitted(math.prod(coarse.grid.shape))
    quiet = Progress(len(ids), "downscale", enabled=False)
    values = made([network], [coarse], np.asarray(ids, np.int64), tiling, quiet)
    return {name: values[:, k] for k, name in enumerate(names_of([run]))}


def checked_network(run: Run) -> FieldToField:
    """The network of a run of fields, in evaluation mode.

    Raises:
        OptionError: it gives no fields.
    """
    if not isinstance(run.model, FieldToField):
        raise OptionError(
            f"{run.folder} is a run of {run.preprocessing.kind}; downscale takes runs that were "
            "trained with --task downscale."
        )
    run.model.eval()
    return run.model


def opened_alike(
    runs: Sequence[Run], source: Any, fields: FieldOptions | None
) -> list[CoarseFields]:
    """Coarse fields as each run takes them, of the same cells.

    Raises:
        OptionError: the runs do not go together.
        DataError: the fields do not fit one of them.
    """
    _check_alike(runs)
    found = []
    for run in runs:
        own = FieldOptions.of(cast("Mapping[str, Any]", run.columns.get("fields")))
        found.append(open_coarse(source, steps_of(run), fields, own))
    first = found[0].written
    for run, each in zip(runs, found, strict=True):
        if not each.written.same(first):
            raise OptionError(
                f"{run.folder} makes {_cells(each.written)} finer, and {runs[0].folder} "
                f"{_cells(first)}; give runs of one domain."
            )
    return found


def _cells(grid: Grid) -> str:
    """A domain in words, by the middles of its outermost cells."""
    ends = (f"{axis[0]:g} to {axis[-1]:g}" for axis in (grid.latitude, grid.longitude))
    return " north, ".join(ends) + " east"


def _check_alike(runs: Sequence[Run]) -> None:
    """Refuse runs that give different things."""
    first = steps_of(runs[0])
    for run in runs[1:]:
        own = steps_of(run)
        for what in ("classes", "factor", "parts", "predictors"):
            if getattr(own, what) != getattr(first, what):
                raise OptionError(
                    f"{run.folder} and {runs[0].folder} have different {what} "
                    f"({getattr(own, what)} and {getattr(first, what)}); give runs that go "
                    "together."
                )


def names_of(runs: Sequence[Run]) -> dict[str, tuple[int, str]]:
    """Names in the file, each with its variable and its part."""
    steps = steps_of(runs[0])
    found = {}
    for k, name in enumerate(steps.classes):
        for part in steps.parts:
            if part in ("value", "mean"):
                found[name] = (k, part)
            elif part != "spread":
                found[f"{name}_p{100 * float(part[1:]):g}"] = (k, part)
        if "spread" in steps.parts or len(runs) > 1:
            found[f"{name}_spread"] = (k, "spread")
    return found


def drawn_names(runs: Sequence[Run], draws: int) -> dict[str, tuple[int, str]]:
    """Names of draws, as `names_of` has those of other fields.

    Raises:
        OptionError: draws of several runs, or fewer than none.
    """
    if draws < 0 or (draws and len(runs) > 1):
        raise OptionError(
            f"draws (={draws}) must be 0 or more, and of one run: several have a spread already."
        )
    classes = steps_of(runs[0]).classes
    return {
        f"{name}_draw{m + 1}": (k, "draw") for m in range(draws) for k, name in enumerate(classes)
    }


def made(
    networks: Sequence[FieldToField],
    opened: Sequence[CoarseFields],
    ids: NDArray[np.int64],
    tiling: Tiling,
    progress: Progress,
) -> NDArray[np.float32]:
    """The fine fields of some times, (n, V, H, W), in the direction of the coarse file."""
    coarse = opened[0]
    rows, columns = coarse.grid.shape
    most = max(1, AT_ONCE // (rows * columns))
    found = []
    for start in range(0, len(ids), most):
        some = ids[start : start + most]
        pairs = zip(networks, opened, strict=True)
        members = [_one(network, each, some, tiling) for network, each in pairs]
        found.append(_together(networks[0], members).numpy())
        progress.advance(len(some))
    return np.concatenate(found)


def _one(
    network: FieldToField, coarse: CoarseFields, ids: NDArray[np.int64], tiling: Tiling
) -> Tensor:
    """What one network gives; NaN where the training times never had a value."""
    std = network.writer.std.tolist() if network.writer.non_negative else None
    y = fine_fields(network, coarse.batch(ids, std), tiling, wraps=coarse.fields.grid.wraps)
    empty = coarse.never_known()
    if empty is not None:
        y[:, torch.from_numpy(np.tile(empty, (len(network.parts), 1, 1)))] = math.nan
    y = y[..., coarse.rows, :]
    return y.flip(-2) if coarse.turned else y


def _together(network: FieldToField, members: Sequence[Tensor]) -> Tensor:
    """The fields of each variable in the order of the file's names.

    Of several networks means of the parts, and the spread: of normal distributions that of their
    mixture (the mean of the variances and the variance of the means), of values the deviation
    between them, divided by one less than there are.

    Shape:
        (n, P T, H, W) each -> (n, V, H, W)
    """
    all_of = torch.stack(list(members))
    size = (len(network.parts), network.out_channels)
    parts = all_of.reshape(*all_of.shape[:2], *size, *all_of.shape[3:])  # (M, n, P, T, H, W)
    normal = network.parts[-1] == "spread"
    mean = parts.mean(0)
    plain = mean[:, :1] if normal else mean
    if not normal and len(members) == 1:
        return plain.transpose(1, 2).flatten(1, 2)
    middle = parts[:, :, network.writer.middle]
    variance = middle.var(0, correction=0 if normal else 1)
    if normal:
        variance = variance + parts[:, :, 1].square().mean(0)
    together = torch.cat([plain, variance.sqrt().unsqueeze(1)], 1)
    found: Tensor = together.transpose(1, 2).flatten(1, 2)
    return found
