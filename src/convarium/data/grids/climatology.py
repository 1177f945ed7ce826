"""What a cell is like on average: by months where there are months, from training times only.

    delta method    y = fine climatology + interpolated (x - coarse climatology)

The field of the delta method is the strongest guess without learning, where the fine pattern stays
what it was. Networks may start from it; `models.Interpolator` gives it a constraint.

References:
    Maraun, Widmann 2018, "Statistical downscaling and bias correction for climate research",
    Cambridge University Press, chapter 11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import Values
from convarium.data.grids.moments import CellMeans
from convarium.errors import DataError
from convarium.layers import InterpolationKind, interpolate

_ANY = 0  # the month of times whose month does not count
_ARID = 0.01  # of the mean field: what has no ratio
_MOST = 10.0  # times the climatology, before blocks are scaled
ANY_KNOWN: Final = 1e-6  # of a block: one known cell is enough


@dataclass(frozen=True, eq=False)
class Climatology:
    """The mean field of each month, fine and coarse.

    Args:
        months: the months that have a field of their own, rising.
        fine: (M, C, H, W).
        coarse: (M, C, H / r, W / s).
        factor: fine cells per coarse one.
        scaled: a model's bias is taken off by a ratio, as of what is never below 0.
    """

    months: NDArray[np.int64]
    fine: Values
    coarse: Values
    factor: tuple[int, int]
    scaled: bool = False

    def of(self, months: NDArray[np.int64]) -> tuple[Values, Values]:
        """The fine and the coarse fields of some months.

        Where all times share one field, it is that of any month.

        Raises:
            DataError: a month has no field.
        """
        places = self.places(months)
        return self.fine[places], self.coarse[places]

    def knows(self, months: NDArray[np.int64]) -> bool:
        """Whether each of some months has a field."""
        return self.months.tolist() == [_ANY] or bool(np.isin(months, self.months).all())

    def places(self, months: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the fields of some months are.

        Raises:
            DataError: a month has no field.
        """
        if self.months.tolist() == [_ANY]:
            return np.zeros(len(months), np.int64)
        known = np.isin(months, self.months)
        if not known.all():
            raise DataError(
                f"The training times have no month {int(months[~known][0])}; the climatology has "
                f"{', '.join(map(str, self.months))}."
            )
        return np.searchsorted(self.months, months)

    def delta(
        self,
        x: NDArray[Any],
        months: NDArray[np.int64],
        *,
        kind: InterpolationKind = "linear",
        wrap: bool = False,
    ) -> Values:
        """The fine field of the delta method.

        Fine cells that never are known follow their block, and in blocks without a known cell the
        mean of the month's field.

        Args:
            x: coarse fields; where one is missing, the coarse climatology stands in for it.
            months: of each.
            kind: of interpolation.
            wrap: the columns go all the way around.

        Shape:
            (n, C, h, w), (n,) -> (n, C, H, W)
        """
        places = self.places(months)
        anomalies = np.nan_to_num(np.asarray(x, np.float32) - self.coarse[places])
        finer = interpolate(torch.from_numpy(anomalies), self.factor, kind, wrap=wrap)
        result: Values = self._whole[places] + finer.numpy()
        return result

    def ratio(
        self,
        x: NDArray[Any],
        months: NDArray[np.int64],
        *,
        kind: InterpolationKind = "linear",
        wrap: bool = False,
    ) -> Values:
        """The delta method of what is never below 0: the fine climatology times what x is of its.

        Arguments and shapes are those of `delta`. Ratios are 10 at most. Cells that are missing, or
        whose climatology is below a hundredth of its month's mean, have the mean ratio of their
        field: of a desert's few showers a ratio says nothing, and would spoil its neighbours.
        """
        places = self.places(months)
        given, usual = np.asarray(x, np.float32), self.coarse[places]
        means = filled(self.coarse).mean((-2, -1), keepdims=True)[places]
        some = (usual > _ARID * means) & ~np.isnan(given)
        shares = np.divide(given, usual, out=np.full_like(given, np.nan), where=some)
        shares = np.minimum(shares, _MOST)
        finer = interpolate(torch.from_numpy(filled(shares)), self.factor, kind, wrap=wrap)
        result: Values = self._whole[places] * finer.numpy()
        return result

    @cached_property
    def _whole(self) -> Values:
        """The fine fields without gaps."""
        if not np.isnan(self.fine).any():
            return self.fine
        means = coarsen(self.fine, self.factor, least_known=ANY_KNOWN)
        blocks = means.repeat(self.factor[0], -2).repeat(self.factor[1], -1)
        return filled(np.where(np.isnan(self.fine), blocks, self.fine))


def filled(fields: Values) -> Values:
    """Fields (..., H, W) with the mean of each where it is missing; 0 where nothing is known."""
    gaps = np.isnan(fields)
    if not gaps.any():
        return fields
    counts = np.maximum((~gaps).sum((-2, -1), keepdims=True), 1)
    means = np.where(gaps, 0.0, fields).sum((-2, -1), keepdims=True, dtype=np.float64) / counts
    return np.where(gaps, means, fields).astype(np.float32)


def fit_climatology(
    values: NDArray[Any],
    months: NDArray[np.int64],
    factor: Sequence[int],
    areas: NDArray[np.float64] | None = None,
) -> Climatology:
    """The mean of the training fields of each month; of years without months, of all of them.

    Args:
        values: fine fields of the training times, (n, C, H, W); missing cells are NaN, and what is
            never known stays NaN.
        months: of each, 1 to 12, or 0 where none is known.
        factor: rows and columns of a block.
        areas: of the cells of each row, for the coarse means; None counts all alike.

    Raises:
        DataError: there is no field.
    """
    if not len(values):
        raise DataError("A climatology needs training fields; there is none.")
    kept = np.unique(months)
    means = [CellMeans() for _ in kept]
    for month, mean in zip(kept, means, strict=True):
        mean.add(values[months == month])
    fine = np.stack([mean.result() for mean in means])
    r, s = factor
    return Climatology(kept, fine, coarsen(fine, factor, areas), (r, s))
