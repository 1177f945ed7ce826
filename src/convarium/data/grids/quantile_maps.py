"""Quantile mapping of a model's coarse fields: they get the distribution of what was observed.

    x -> its climatology's anomaly a -> observed quantile where a is the model's quantile

Anomalies are of the months' climatologies, so that all training times serve together. Beyond the
training's smallest and largest anomaly the correction is that of the end. With the delta method
this is bias correction and spatial disaggregation (BCSD).

What is never below 0, such as precipitation, is mapped as it is, month by month, and beyond the
largest value scaled as this was, 10 times at most. Where values of the model tie, as dry times do,
they get the mean of the observed quantiles there: a model with too few of them becomes as dry as
the observations, and of one with too many the mean is right, but all of them get a little.

Differs from the paper:
    other fields than precipitation share one map of anomalies over all months.

References:
    Wood, Leung, Sridhar, Lettenmaier 2004, "Hydrologic implications of dynamical and statistical
    approaches to downscaling climate model outputs", Climatic Change 62, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.climatology import ANY_KNOWN, Climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import Values, pieces
from convarium.data.grids.pairs import FieldPairs

_MOST: Final = 100  # quantiles
_MOST_SCALED: Final = 10.0  # what a value beyond the largest one is multiplied by


@dataclass(frozen=True, eq=False)
class QuantileMaps:
    """Quantiles at the training times, maps for each coarse cell: one, or one for each month.

    Args:
        model: climatology with the model's coarse fields.
        observed: the same with block means of its fine fields; the model's where these never are.
        given: quantiles of the model's anomalies, (1, Q, T, h, w); or of its values in each month
            of the climatology, (M, Q, T, h, w), where it is never below 0.
        wanted: of those of the observations, likewise.
        bounded: whether it is never below 0.
    """

    model: Climatology
    observed: Climatology
    given: Values
    wanted: Values
    bounded: bool = False

    def corrected(self, x: Values, months: NDArray[np.int64]) -> Values:
        """A model's fields (n, T, h, w) in the climate that was observed; NaN where missing.

        Cells that were never observed stay as they are.
        """
        places = self.model.places(months)
        found = np.array(x)
        for k, own in enumerate(self.given):
            times = places == k if self.bounded else np.full(len(x), True)
            for cell in np.argwhere(~np.isnan(own[0] + self.wanted[k, 0])):
                there = (times, *cell)
                pair = own[(slice(None), *cell)], self.wanted[(k, slice(None), *cell)]
                if self.bounded:
                    found[there] = _mapped_rain(x[there], *pair)
                    continue
                model, observed = (
                    each.coarse[(places, *cell)] for each in (self.model, self.observed)
                )
                found[there] = observed + _mapped(x[there] - model, *pair)
        return found


def fit_quantile_maps(
    pairs: FieldPairs,
    ids: NDArray[np.int64],
    climatology: Climatology,
    *,
    bounded: bool = False,
) -> QuantileMaps:
    """The maps of a model beside observations.

    Args:
        pairs: of both; of a block with few known cells these are what was observed.
        ids: the training times.
        climatology: of these.
        bounded: whether the fields are never below 0.
    """
    usual = coarsen(climatology.fine, pairs.factor, pairs.areas, least_known=ANY_KNOWN)
    usual = np.where(np.isnan(usual), climatology.coarse, usual)
    given, wanted = [], []
    for some in pieces(ids):
        x, y = pairs.read(some)
        given.append(x[:, : len(pairs.targets)])
        wanted.append(coarsen(y, pairs.factor, pairs.areas, least_known=ANY_KNOWN))
    places = climatology.places(pairs.fine.months[ids])
    both = [np.concatenate(each) for each in (given, wanted)]
    if bounded:
        every = [places == k for k in range(len(climatology.months))]
        both = [np.maximum(each, 0) for each in both]
    else:
        every = [np.full(len(ids), True)]
        both = [both[0] - climatology.coarse[places], both[1] - usual[places]]
    levels = np.linspace(0, 1, min(_MOST, max(int(times.sum()) for times in every)))
    own, theirs = (np.stack([_quantiles(each[times], levels) for times in every]) for each in both)
    return QuantileMaps(climatology, replace(climatology, coarse=usual), own, theirs, bounded)


def _mapped(a: Values, own: Values, theirs: Values) -> Values:
    """Anomalies of one cell, by the quantiles of the model and of the observations, (Q,)."""
    beyond = np.minimum(a - own[0], 0) + np.maximum(a - own[-1], 0)
    found: Values = np.interp(a, own, theirs) + beyond
    return found


def _mapped_rain(x: Values, own: Values, theirs: Values) -> Values:
    """Values of one cell that are never below 0, likewise."""
    x = np.maximum(x, 0)
    levels, places, counts = np.unique(own, return_inverse=True, return_counts=True)
    means = np.bincount(places, theirs) / counts
    scale = min(means[-1] / levels[-1], _MOST_SCALED) if levels[-1] > 0 else 1.0
    found: Values = np.interp(x, levels, means) + scale * np.maximum(x - levels[-1], 0)
    return found


def _quantiles(values: Values, levels: NDArray[np.float64]) -> Values:
    """Of each cell over the times, (Q, T, h, w); NaN where a cell is never known."""
    found = np.full((len(levels), *values.shape[1:]), np.nan, np.float32)
    some = ~np.isnan(values).all(0)
    found[:, some] = np.nanquantile(values[:, some], levels, axis=0)
    return found
