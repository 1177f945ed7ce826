"""Preprocessing of fields from training times: climatology, static fields, means and deviations."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Part
from convarium.data.grids.climatology import Climatology, filled
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import Values, pieces
from convarium.data.grids.moments import CellMeans
from convarium.data.grids.opening import open_fields
from convarium.data.grids.options import GridOptions
from convarium.data.grids.pairs import FieldPairs
from convarium.data.grids.samples import GridSamples
from convarium.data.grids.signs import never_negative
from convarium.data.grids.static import static_fields
from convarium.data.grids.steps import FieldPreprocessing
from convarium.errors import DataError, OptionError


def fit_grids(
    part: Part, ids: NDArray[np.int64], *, grids: GridOptions | None = None
) -> FieldPreprocessing:
    """`fit_preprocessing` for fields; `ids` are the training times that are counted.

    Months are read where every time has one. Where the training times lack a month that other
    times have, all of them share one climatology.

    Raises:
        DataError: there is no time, a field has no known cell, or static fields do not cover it.
        OptionError: a region is held out, and the network would know its cells.
    """
    samples = cast("GridSamples", part.dataset.samples)
    pairs = dataclasses.replace(samples.pairs, gaps=samples.told[2])
    given = GridOptions() if grids is None else grids
    if pairs.held is not None and given.start == "delta":
        raise _known_cells()
    dated = bool((pairs.fine.months > 0).all())
    options = dataclasses.replace(given, season=given.season and dated)
    static = _static(pairs, ids, options)
    source = pairs.fine if pairs.coarse is None else pairs.coarse
    sizes = [n // r for n, r in zip(pairs.fine.grid.shape, pairs.factor, strict=True)]
    plain = FieldPreprocessing(
        (len(source.names) + 2 * options.season, *sizes),
        classes=part.classes,
        options=options,
        predictors=source.names,
        units=dict(source.units),
        calendar=pairs.fine.calendar,
        factor=pairs.factor,
        grid=pairs.fine.grid,
        weighted=pairs.weighted,
        paired=pairs.coarse is not None,
        masked=pairs.masked,
        climatology=None if pairs.held is not None else climatology_of(pairs, ids),
        static=static,
    )
    if pairs.held is not None and (options.means or options.cells or plain.places):
        raise _known_cells()
    read = plain.pairs_of(pairs)
    statistics = read.statistics(ids)
    if options.start != "none":
        statistics["residual"] = read.residual(ids)
    return dataclasses.replace(plain, statistics=statistics)


def _known_cells() -> OptionError:
    return OptionError(
        "held_out keeps cells from the training, and the network would know each cell; train with "
        "--start coarse, --no-means and --places 0, and without --cells."
    )


def _static(pairs: FieldPairs, ids: NDArray[np.int64], options: GridOptions) -> Values | None:
    """The fine fields that never change: those of a file, means of training times, latitudes."""
    layers: list[Values] = []
    if options.static is not None:
        names = list(options.static_variables) or None
        layers.append(static_fields(open_fields(options.static, names), pairs.fine.grid))
    if options.means:
        latitude = np.sin(np.deg2rad(pairs.fine.grid.latitude))
        height, width = pairs.fine.grid.shape
        means = CellMeans()
        for some in pieces(ids):
            means.add(pairs.fine.read(some))
        layers.append(filled(means.result()))
        rows = np.broadcast_to(latitude[None, :, None], (1, height, width))
        layers.append(rows.astype(np.float32))
    return np.concatenate(layers) if layers else None


def climatology_of(pairs: FieldPairs, ids: NDArray[np.int64]) -> Climatology:
    """The mean fine fields of the months of some times, and the coarse ones.

    Of a model's coarse fields the climatology is its own, so that its bias is no anomaly.

    Args:
        pairs: coarse and fine fields.
        ids: of the training times, and of no others.

    Raises:
        DataError: there is no time.
    """
    if not len(ids):
        raise DataError("A climatology needs training fields; there is none.")
    months = pairs.fine.months
    if not np.isin(months, months[ids]).all():
        months = np.zeros_like(months)
    kept = np.unique(months[ids])
    found = [_means(pairs, ids[months[ids] == month]) for month in kept]
    fine = np.stack([each[1] for each in found])
    coarse = np.stack([each[0] for each in found])
    if pairs.coarse is None:
        coarse = coarsen(fine, pairs.factor, pairs.areas)
    scaled = pairs.coarse is not None and never_negative(pairs)
    return Climatology(kept, fine, coarse, pairs.factor, scaled)


def _means(pairs: FieldPairs, ids: NDArray[np.int64]) -> tuple[Values, Values]:
    """The means over some times of the coarse targets and the fine ones; NaN where never known."""
    coarse, fine = CellMeans(), CellMeans()
    for some in pieces(ids):
        x, y = pairs.counted(some)
        coarse.add(x[:, : y.shape[1]])
        fine.add(y)
    return coarse.result(), fine.result()
