"""Coarse fields of xarray to fine ones of xarray: at once, or when dask asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from convarium.data import FieldOptions
from convarium.data.grids.writing import axes_as_dataset
from convarium.errors import import_extra
from convarium.predict.downscaling import (
    PIECE,
    checked_network,
    drawn_names,
    made,
    names_of,
    opened_alike,
)
from convarium.predict.fine_files import described
from convarium.predict.run import Run
from convarium.predict.scatter import drawing
from convarium.predict.tiles import Tiling
from convarium.progress import Progress

if TYPE_CHECKING:
    import xarray

_EXTRA: Final = "dask"
_DIMS: Final = ("time", "latitude", "longitude")


def fine_dataset(
    runs: Sequence[Run],
    source: Any,
    *,
    tiling: Tiling | None = None,
    fields: FieldOptions | None = None,
    history: str = "",
    draws: int = 0,
    seed: int = 0,
) -> xarray.Dataset:
    """The fine fields of a coarse data set as a data set, with what `downscale` writes into files.

    Where the coarse fields are in chunks of dask, so are the fine ones, some times each: a chunk is
    made when it is asked for, and whoever writes them needs the memory of a few.

    Args:
        runs: opened runs of the same variables and factor; of several it is their mean.
        source: a data set or an array of xarray, or what else `open_fields` takes.
        tiling: how fields are divided; None takes them as a whole.
        fields: axes and further axes of the coarse fields, where they are not as in training.
        history: a line for the attribute history, behind the date.
        draws: fields that are drawn beside the mean, as rough as the truth; of one run.
        seed: of the draws.

    Raises:
        OptionError: runs that do not go together.
        DataError: the coarse fields do not fit the runs.
        RunError: there is nothing to draw with.
        MissingExtraError: xarray is not installed.
    """
    networks = [checked_network(run) for run in runs]
    opened = opened_alike(runs, source, fields)
    coarse, names = opened[0], names_of(runs) | drawn_names(runs, draws)
    with_draws = drawing(runs[0].folder, coarse, draws, seed)
    tiles = (tiling or Tiling()).fitted(math.prod(coarse.grid.shape))

    def values(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        quiet = Progress(len(ids), "downscale", enabled=False)
        return with_draws(made(networks, opened, ids, tiles, quiet), ids)

    every = np.arange(len(coarse))
    shape = (len(names), *coarse.written.shape)
    fine: Any = values(every) if not _chunked(source) else _when_asked(values, every, shape)
    about = described(runs[0], coarse, names, history)
    found: xarray.Dataset = axes_as_dataset(
        about["times"], about["axis"], about["grid"], about["attributes"]
    )
    for k, (name, attributes) in enumerate(about["variables"].items()):
        found[name] = (_DIMS, fine[:, k], attributes)
    return found


def _chunked(source: Any) -> bool:
    """Whether it is in chunks of dask."""
    variables = source.data_vars.values() if hasattr(source, "data_vars") else (source,)
    return any(getattr(variable, "chunks", None) for variable in variables)


def _when_asked(
    values: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    every: NDArray[np.int64],
    shape: tuple[int, ...],
) -> Any:
    """An array of dask (n, V, H, W) whose chunks have some times each."""
    delayed = import_extra("dask", _EXTRA).delayed
    array = import_extra("dask.array", _EXTRA)
    size = max(1, PIECE // math.prod(shape))
    some = [every[start : start + size] for start in range(0, len(every), size)]
    made_later = delayed(values, pure=True)
    return array.concatenate(
        [array.from_delayed(made_later(ids), (len(ids), *shape), np.float32) for ids in some]
    )
