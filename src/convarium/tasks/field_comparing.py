"""An evaluation of fields beside what needs no training, on the same times."""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
from numpy.typing import NDArray

from convarium.data import Dataset, FieldPreprocessing
from convarium.data.grids.samples import GridSamples
from convarium.tasks.downscaling_results import NETWORK, FieldEvaluation
from convarium.tasks.field_baselines import baseline_fields
from convarium.tasks.field_groups import (
    band_groups,
    block_of,
    decade_groups,
    season_groups,
    years_of,
)
from convarium.tasks.field_results import FieldComparison


def beside_baselines(
    evaluation: FieldEvaluation,
    dataset: Dataset,
    preprocessing: FieldPreprocessing,
    *,
    block: int | None = None,
    train: NDArray[np.int64] | None = None,
) -> FieldEvaluation:
    """The evaluation with a comparison for each variable, by seasons and bands of latitude.

    The delta method takes part where the fields have the cells and months of the climatology.
    Errors count by the areas of cells where block means do.

    Args:
        evaluation: of some of its times.
        dataset: that the times are of.
        preprocessing: of the run; it has the climatology of the training times.
        block: times that intervals keep together; None asks how often they come.
        train: numbers of the training times, for quantile mapping of a model's fields.
    """
    samples = cast("GridSamples", dataset.samples)
    pairs, ids = preprocessing.pairs_of(samples.pairs), evaluation.ids
    months = pairs.fine.months[ids]
    climatology = preprocessing.climatology
    same = pairs.fine.grid.same(preprocessing.grid)
    if climatology is not None and not (same and climatology.knows(months)):
        climatology = None
    values = baseline_fields(pairs, ids, climatology, train=train)
    coarse = pairs.conserved(ids)
    of_months = None if climatology is None else climatology.of(months)[0]
    block = block_of(pairs.fine.times[ids]) if block is None else block
    comparisons = {
        name: FieldComparison(
            evaluation.truth[:, k],
            {NETWORK: evaluation.fields[:, k], **{m: v[:, k] for m, v in values.items()}},
            areas=pairs.areas,
            coarse=coarse[:, k],
            factor=pairs.factor,
            weighted=pairs.weighted,
            climatology=None if of_months is None else of_months[:, k],
            wrap=pairs.wrap,
            block=block,
            crps={} if (cells := evaluation.distances(k)) is None else {NETWORK: cells},
            years=years_of(pairs.fine.times[ids]),
        )
        for k, name in enumerate(evaluation.names)
    }
    grid = pairs.fine.grid
    groups = {**season_groups(months), **decade_groups(pairs.fine.times[ids])}
    known = ~np.isnan(evaluation.truth).all((0, 1))
    groups |= {
        name: (times, cells)
        for name, (times, cells) in band_groups(grid.latitude, grid.shape[1]).items()
        if cells is not None and (cells & known).any()
    }
    areas = None if pairs.areas is None else np.asarray(pairs.areas, np.float64).reshape(-1, 1)
    return dataclasses.replace(
        evaluation, comparisons=comparisons, groups=groups, areas=areas, block=block
    )
