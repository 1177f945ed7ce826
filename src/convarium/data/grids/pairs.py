"""Coarse fields and the fine ones that belong to them, as a network learns from them.

    perfect prognosis   coarse = block means of the fine fields
    paired              coarse = fields of a model, fine = observations of the same times

Beside the coarse variables a network may read the season (the month as a place on a circle), and
fine fields: static ones such as relief, and the field of the delta method, which comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.coarsening import coarsen
from convarium.data.grids.fields import Fields, Values, pieces
from convarium.data.grids.grid import Grid, edges_of, step_of
from convarium.data.grids.holding import HeldOut
from convarium.data.grids.inputs import FieldInputs
from convarium.data.grids.matching import match_fields, match_times
from convarium.data.grids.moments import Moments, Statistics
from convarium.data.grids.units import same_units
from convarium.errors import DataError, OptionError
from convarium.layers import interpolate


class FieldBatch(NamedTuple):
    """What a network of fields reads and should give, as tensors.

    `network(batch.x, batch.mask, batch.fine, batch.weights)` is a prediction of `batch.y`; a part
    that is not needed is None. Missing coarse cells are 0 in `x` and False in the `mask`, which has
    an entry for each number of `x`, or for each cell where one variable is read; missing fine cells
    are NaN in `y`.
    """

    x: Tensor
    mask: Tensor | None
    fine: Tensor | None
    weights: Tensor | None
    y: Tensor


@dataclass(frozen=True, eq=False)
class FieldPairs:
    """Pairs of coarse and fine fields, by number.

    Args:
        fine: the fine fields; of perfect prognosis, with all predictors, the targets first.
        factor: rows and columns of a block.
        targets: the variables that are made finer.
        coarse: the model's fields at the same times; None is perfect prognosis.
        static: fine fields that never change, (K, H, W).
        season: whether the month is read.
        climatology: of the targets, where the delta method's field is read; or None.
        weighted: whether block means are weighted by the areas of cells.
        gaps: whether a coarse cell is missing at any time; None looks at all of them.
        held: which fine cells count at which times; None is all of them.
    """

    fine: Fields
    factor: tuple[int, int]
    targets: tuple[str, ...]
    coarse: Fields | None = None
    static: Values | None = None
    season: bool = False
    climatology: Climatology | None = None
    weighted: bool = False
    gaps: bool | None = None
    held: HeldOut | None = None

    def __len__(self) -> int:
        return len(self.fine)

    @property
    def areas(self) -> NDArray[np.float64] | None:
        """Of the cells of each fine row, where block means are weighted."""
        return self.fine.grid.areas if self.weighted else None

    @property
    def wrap(self) -> bool:
        """Whether the columns go all the way around, in blocks too."""
        return self.fine.grid.wraps

    def turned(self, grid: Grid) -> FieldPairs:
        """The same with longitudes counted as a grid counts them; a circle begins where it does."""
        own = grid.longitude
        fine = self.fine.turned(own[0] - step_of(own) / 2)
        if self.coarse is None:
            return replace(self, fine=fine)
        west, half = edges_of(fine.grid.longitude)[0], step_of(self.coarse.grid.longitude) / 2
        return replace(self, fine=fine, coarse=self.coarse.turned(west + half))

    def read(self, ids: Sequence[int] | NDArray[np.int64]) -> tuple[Values, Values]:
        """Coarse predictors and all fine targets of some times; missing cells are NaN.

        Shape:
            -> (n, C, h, w), (n, T, H, W)
        """
        values = self.fine.read(ids)
        y = values[:, [self.fine.names.index(name) for name in self.targets]]
        if self.coarse is not None:
            return self.coarse.read(ids), y
        return coarsen(values, self.factor, self.areas), y

    def counted(self, ids: NDArray[np.int64]) -> tuple[Values, Values]:
        """The same, with NaN for fine cells that do not count at their time."""
        x, y = self.read(ids)
        return x, y if self.held is None else self.held.hide(y, ids)

    @cached_property
    def masked(self) -> bool:
        """Whether a coarse cell is missing at any time."""
        if self.gaps is not None:
            return self.gaps
        every = pieces(np.arange(len(self)))
        return any(bool(np.isnan(self.read(ids)[0]).any()) for ids in every)

    def batch(self, ids: Sequence[int] | NDArray[np.int64]) -> FieldBatch:
        """Some pairs as tensors."""
        chosen = np.asarray(ids, np.int64)
        x, y = self.read(chosen)
        read, mask, fine = self.inputs.tensors(x, self.fine.months[chosen])
        weights = self.block_weights(y)
        if self.held is not None:
            y = self.held.hide(y, chosen)
        return FieldBatch(read, mask, fine, weights, torch.from_numpy(y))

    @cached_property
    def inputs(self) -> FieldInputs:
        """What becomes of the coarse fields before a network reads them."""
        return FieldInputs(
            targets=len(self.targets),
            climatology=self.climatology,
            static=self.static,
            season=self.season,
            masked=self.masked,
            wrap=self.wrap,
            paired=self.coarse is not None,
            areas=self.areas,
        )

    def conserved(self, ids: Sequence[int] | NDArray[np.int64]) -> Values:
        """The coarse fields that block means should be: of a model's those without its bias.

        Shape:
            -> (n, T, h, w)
        """
        chosen = np.asarray(ids, np.int64)
        x = self.inputs.coarse(self.read(chosen)[0], self.fine.months[chosen])
        return x[:, : len(self.targets)]

    def block_weights(self, y: Values) -> Tensor | None:
        """Of fine cells in block means: areas, and 0 where a cell is missing; None is all alike."""
        missing = np.isnan(y)
        if self.areas is None and not missing.any():
            return None
        rows = np.ones(self.fine.grid.shape[0]) if self.areas is None else self.areas
        weights = np.broadcast_to(rows.reshape(-1, 1), y.shape[2:]).astype(np.float32)
        return torch.from_numpy(np.where(missing, np.float32(0), weights))

    def statistics(self, ids: NDArray[np.int64]) -> dict[str, Statistics]:
        """Means and deviations of what is read and given, for `FieldToField.normalise_with`.

        Args:
            ids: of the training times, and of no others.

        Raises:
            DataError: there is no time, a field has no known cell, or a target never changes.
        """
        if not len(ids):
            raise DataError("Means and deviations need training times; there is none.")
        inputs, targets, fine = Moments(), Moments(), Moments()
        for chosen in pieces(ids):
            x, y = self.counted(chosen)
            months = self.fine.months[chosen]
            inputs.add(self.inputs.values(x, months))
            targets.add(y)
            extra = self.inputs.fine(x, months)
            if extra is not None:
                fine.add(extra)
        found = {"inputs": inputs.result(), "targets": targets.result(self.targets)}
        return found | ({"fine": fine.result()} if fine.count is not None else {})

    def residual(self, ids: NDArray[np.int64]) -> Statistics:
        """Means and deviations of the targets less the field that a network starts from.

        Args:
            ids: of the training times, and of no others.

        Raises:
            DataError: a field has no known cell.
        """
        found = Moments()
        for chosen in pieces(ids):
            batch = self.batch(chosen)
            begun = batch.fine
            if self.climatology is None or begun is None:
                begun = interpolate(batch.x, self.factor, "cubic", wrap=self.wrap)
            found.add((batch.y - begun[:, : len(self.targets)]).numpy())
        return found.result()

    @property
    def network_options(self) -> dict[str, Any]:
        """Keywords of a network that fits these pairs."""
        predictors = self.fine.names if self.coarse is None else self.coarse.names
        static = 0 if self.static is None else len(self.static)
        delta = 0 if self.climatology is None else len(self.targets)
        return {
            "in_channels": len(predictors) + 2 * self.season,
            "out_channels": len(self.targets),
            "factor": list(self.factor),
            "fine_channels": delta + static,
            "start": "fine" if delta else "coarse",
            "masked": self.masked,
            "wrap": self.wrap,
        }


def perfect_pairs(
    fine: Fields, factor: int | Sequence[int], targets: Sequence[str], **more: Any
) -> FieldPairs:
    """Pairs whose coarse fields are block means of the fine ones.

    Rows and columns at the end that fill no block are left out.

    Args:
        fine: the fine fields.
        factor: one number, or rows and columns of a block.
        targets: the variables that are made finer; all are predictors.
        more: further keywords of `FieldPairs`.

    Raises:
        OptionError: a target is no variable of the fields.
        DataError: the grid is smaller than a block.
    """
    r, s = (factor, factor) if isinstance(factor, int) else factor
    unknown = [name for name in targets if name not in fine.names]
    if unknown or not targets:
        raise OptionError(
            f"targets (={list(targets)}) must be among the variables {', '.join(fine.names)}."
        )
    rows, columns = fine.grid.shape[0] // r * r, fine.grid.shape[1] // s * s
    if not rows or not columns:
        raise DataError(f"A grid of {fine.grid.shape} cells has no block of {r} x {s}.")
    others = [name for name in fine.names if name not in targets]
    fields = fine.only([*targets, *others]).cut(slice(0, rows), slice(0, columns))
    return FieldPairs(fields, (r, s), tuple(targets), **more)


def model_pairs(
    coarse: Fields,
    fine: Fields,
    targets: Sequence[str],
    *,
    units: Mapping[str, str] | None = None,
    **more: Any,
) -> FieldPairs:
    """Pairs of a model's coarse fields and fine observations, on the cells and times of both.

    Args:
        coarse: the model's fields, with variables of the targets' names first.
        fine: the observations.
        targets: the variables that are made finer.
        units: by variable, what to take the coarse fields' units for; None is what they say.
        more: further keywords of `FieldPairs`.

    Raises:
        OptionError: a target is missing in one of both.
        DataError: units differ, or there is no cell or no time that both have.
    """
    for name in targets:
        if name not in coarse.names or name not in fine.names:
            raise OptionError(
                f"targets ({name!r}) must be a variable of both; the coarse fields have "
                f"{', '.join(coarse.names)}, the fine ones {', '.join(fine.names)}."
            )
        given = (units or {}).get(name, coarse.units[name])
        if not same_units(given, fine.units[name]):
            raise DataError(
                f"{name} is in {given or 'no unit'} in the coarse fields and in "
                f"{fine.units[name] or 'no unit'} in the fine ones; convert one of them, or give "
                "it the other's attribute units where they mean the same."
            )
    coarse, fine, factor = match_fields(coarse, fine)
    at_coarse, at_fine = match_times(coarse, fine)
    others = [name for name in coarse.names if name not in targets]
    coarse = coarse.only([*targets, *others]).at(at_coarse)
    return FieldPairs(fine.only(targets).at(at_fine), factor, tuple(targets), coarse, **more)
