"""Quantile mapping of a model's coarse fields: they get the distribution of what was observed.

    x -> its climatology's anomaly a -> observed quantile where a is the model's quantile

Anomalies are of the months' climatologies, so that all training times serve together. Beyond the
training's smallest and largest anomaly the correction is that of the end. With the delta method
this is bias correction and spatial disaggregation (BCSD).

References:
    Wood, Leung, Sridhar, Lettenmaier 2004, "Hydrologic implications of dynamical and statistical
    approaches to downscaling climate model outputs", Climatic Change 62, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import Values, pieces
from convarium.data.grids.pairs import FieldPairs

_MOST: Final = 100  # quantiles


@dataclass(frozen=True, eq=False)
class QuantileMaps:
    """Quantiles of anomalies at the training times, a map for each coarse cell.

    Args:
        model: climatology with the model's coarse fields.
        observed: the same with block means of its fine fields.
        given: quantiles of the model's anomalies, (Q, T, h, w).
        wanted: of those of the observations, likewise.
    """

    model: Climatology
    observed: Climatology
    given: Values
    wanted: Values

    def corrected(self, x: Values, months: NDArray[np.int64]) -> Values:
        """A model's fields (n, T, h, w) in the climate that was observed; NaN where missing."""
        places = self.model.places(months)
        apart = x - self.model.coarse[places]
        found = self.observed.coarse[places]
        for cell in np.ndindex(*apart.shape[1:]):
            place = (slice(None), *cell)
            own, theirs, a = self.given[place], self.wanted[place], apart[place]
            beyond = np.minimum(a - own[0], 0) + np.maximum(a - own[-1], 0)
            found[place] += np.interp(a, own, theirs) + beyond
        return found


def fit_quantile_maps(
    pairs: FieldPairs, ids: NDArray[np.int64], climatology: Climatology
) -> QuantileMaps:
    """The maps of a model beside observations.

    Args:
        pairs: of both.
        ids: the training times.
        climatology: of these.
    """
    usual = coarsen(climatology.fine, pairs.factor, pairs.areas)
    given, wanted = [], []
    for some in pieces(ids):
        x, y = pairs.read(some)
        places = climatology.places(pairs.fine.months[some])
        given.append(x[:, : len(pairs.targets)] - climatology.coarse[places])
        wanted.append(coarsen(y, pairs.factor, pairs.areas) - usual[places])
    number = min(_MOST, len(ids))
    levels = (np.arange(number) + 0.5) / number
    both = (_quantiles(np.concatenate(each), levels) for each in (given, wanted))
    return QuantileMaps(climatology, replace(climatology, coarse=usual), *both)


def _quantiles(values: Values, levels: NDArray[np.float64]) -> Values:
    """Of each cell over the times, (Q, T, h, w); NaN where a cell is never known."""
    found = np.full((len(levels), *values.shape[1:]), np.nan, np.float32)
    some = ~np.isnan(values).all(0)
    found[:, some] = np.nanquantile(values[:, some], levels, axis=0)
    return found
