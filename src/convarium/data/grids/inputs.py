"""What a network reads of coarse fields: values and season, which cells are known, fine fields.

x (n, C, h, w), NaN where missing -> x with the season, mask, fine (n, F, H, W)

The mask is (n, C', h, w), and (n, h, w) where there is one field alone.

Of a model's fields its bias is taken off first, where the climatologies are known: what is left are
coarse fields of the observations' climate, whose values the constraint may ask for.

    x - coarse climatology of the model + block means of the fine climatology

What is never below 0, such as precipitation, is multiplied by the ratio of both in place of that,
10 at most.

References:
    Hempel, Frieler, Warszawski, Schewe, Piontek 2013, "A trend-preserving bias correction - the
    ISI-MIP approach", Earth System Dynamics 4, section 3.2: ratios, and the limit of 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.grids.climatology import Climatology, filled
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import Values

Tensors = tuple[Tensor, Tensor | None, Tensor | None]

_MOST: Final = 10.0  # times what a model gives


@dataclass(frozen=True, eq=False)
class FieldInputs:
    """From coarse fields and their months to what a network reads.

    Args:
        targets: how many of the coarse fields, the first ones, are made finer.
        climatology: of them, where the delta method's field is read; or None.
        static: fine fields that never change, (K, H, W).
        season: whether the month is read.
        masked: whether cells may be missing.
        wrap: the columns go all the way around.
        paired: whether the coarse fields are a model's.
        areas: of the cells of each fine row, where block means are weighted.
    """

    targets: int
    climatology: Climatology | None
    static: Values | None
    season: bool
    masked: bool
    wrap: bool
    paired: bool
    areas: NDArray[np.float64] | None

    def coarse(self, x: Values, months: NDArray[np.int64]) -> Values:
        """The coarse fields, the first of them without a model's bias; missing cells are NaN."""
        if self._bias is None or self.climatology is None:
            return x
        found, bias = x.copy(), self._bias[self.climatology.places(months)]
        if self.climatology.scaled:
            found[:, : self.targets] *= bias
        else:
            found[:, : self.targets] -= bias
        return found

    def values(self, x: Values, months: NDArray[np.int64]) -> Values:
        """The same with the season behind it: the month as a place on a circle, in all cells."""
        own = self.coarse(x, months)
        if not self.season:
            return own
        circle = season_of(months)[:, :, None, None]
        return np.concatenate([own, np.broadcast_to(circle, (len(x), 2, *x.shape[2:]))], 1)

    def fine(self, x: Values, months: NDArray[np.int64]) -> Values | None:
        """The delta method's field and the static ones; None where neither is read.

        Where a static field is missing it is its mean.
        """
        layers: list[Values] = []
        if self.climatology is not None:
            layers.append(self.climatology.delta(x[:, : self.targets], months, wrap=self.wrap))
        if self.static is not None:
            layers.append(np.broadcast_to(self._static, (len(x), *self.static.shape)))
        return np.concatenate(layers, 1) if layers else None

    def tensors(self, x: Values, months: NDArray[np.int64]) -> Tensors:
        """What the network reads, with 0 where a cell is missing; which are known; fine fields."""
        values, fine = self.values(x, months), self.fine(x, months)
        known = ~np.isnan(values)
        if x.shape[1] == 1:  # the mask of one field is that of all
            known = known[:, 0]
        return (
            torch.from_numpy(np.nan_to_num(values)),
            torch.from_numpy(known) if self.masked else None,
            None if fine is None else torch.from_numpy(fine),
        )

    @cached_property
    def _bias(self) -> Values | None:
        """Of each month what a model's climatology differs by, 0 where one of both is missing.

        Where a ratio takes it off it is that ratio, and 1 where the model never has anything.
        """
        if self.climatology is None or not self.paired:
            return None
        own = self.climatology
        wanted = coarsen(own.fine, own.factor, self.areas)
        if not own.scaled:
            apart: Values = np.nan_to_num(own.coarse - wanted)
            return apart
        known = (own.coarse > 0) & ~np.isnan(wanted)
        ratio = np.divide(wanted, own.coarse, out=np.ones_like(wanted), where=known)
        found: Values = np.minimum(ratio, _MOST)
        return found

    @cached_property
    def _static(self) -> Values:
        return filled(np.empty((0, 1, 1), np.float32) if self.static is None else self.static)


def season_of(months: NDArray[np.int64]) -> Values:
    """The months as places on a circle, (n, 2): cosine and sine of the middle of each."""
    angle = 2 * np.pi * (np.asarray(months) - 0.5) / 12
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
