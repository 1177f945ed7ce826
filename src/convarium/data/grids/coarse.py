"""Coarse fields that are to be made finer: what a network takes of them, and the fine cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.grids.fields import Fields, Values
from convarium.data.grids.grid import Floats, Grid, edges_of, step_of
from convarium.data.grids.inputs import FieldInputs
from convarium.data.grids.opening import HERE, open_fields
from convarium.data.grids.options import FieldOptions
from convarium.data.grids.reading import axes_there, is_xarray
from convarium.data.grids.samples import time_name
from convarium.data.grids.signs import BELOW
from convarium.data.grids.steps import FieldPreprocessing
from convarium.data.grids.units import same_units
from convarium.errors import DataError

_OFF = 0.02  # of a step: what a cell may lie off another
_POLE = 90.0


@dataclass(frozen=True, eq=False)
class CoarseBatch:
    """What a network reads of some times, as tensors; a part that is not needed is None.

    `added` is what linear maps of the places add to what the network's head gives.
    """

    x: Tensor
    mask: Tensor | None
    fine: Tensor | None
    weights: Tensor | None
    added: Tensor | None = None


@dataclass(frozen=True, eq=False)
class CoarseFields:
    """Coarse fields as a network takes them.

    Args:
        fields: the predictors in the network's order, their latitudes in its direction.
        steps: of the network's card.
        grid: the fine cells.
        turned: whether the latitudes were turned around.
        notes: what was found on the way, a sentence each.
    """

    fields: Fields
    steps: FieldPreprocessing
    grid: Grid
    turned: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def written(self) -> Grid:
        """The fine cells on the globe, in the direction of the file."""
        grid = self.grid.cut(self.rows, slice(None))
        return grid.cut(slice(None, None, -1), slice(None)) if self.turned else grid

    @property
    def rows(self) -> slice:
        """The fine rows on the globe: a coarse cell around a pole reaches beyond it."""
        inside = np.flatnonzero(np.abs(self.grid.latitude) <= _POLE)
        return slice(int(inside[0]), int(inside[-1]) + 1)

    def batch(
        self, ids: Sequence[int] | NDArray[np.int64], bounded: Sequence[float] | None = None
    ) -> CoarseBatch:
        """Some times as tensors.

        Args:
            ids: numbers of the times.
            bounded: deviations of the first fields, where these are never below 0; None asks
                nothing.

        Raises:
            DataError: cells are missing, and the network was trained on fields without gaps; or a
                field is clearly below 0 that should not be.
        """
        x = self.fields.read(ids)
        if bounded is not None:
            self._check_sign(x, np.asarray(ids, np.int64), bounded)
        months = self.fields.months[np.asarray(ids, np.int64)]
        if not self.steps.masked and np.isnan(x).any():
            known = ~np.isnan(x).any(1)
            raise DataError(
                f"Cells are missing ({int((~known).sum())} in {len(x)} fields), and the network "
                "was trained on fields without gaps; fill them, or train on fields with gaps."
            )
        read, mask, fine = self._inputs.tensors(x, months)
        return CoarseBatch(read, mask, fine, weights_of(self.steps, self.grid))

    def _check_sign(self, x: Values, ids: NDArray[np.int64], deviations: Sequence[float]) -> None:
        for k, (name, std) in enumerate(zip(self.fields.names, deviations, strict=False)):
            found = float(np.nanmin(x[:, k], initial=np.inf))
            if found < -BELOW * std:
                place = int((x[:, k] == np.float32(found)).any((1, 2)).argmax())
                raise DataError(
                    f"{name} is as low as {found:.4g}, and the network was trained on fields that "
                    f"are never below 0 (at {time_name(self.fields.times[ids[place]])}); correct "
                    "the sign or the unit of the coarse fields, or train with --constraint "
                    "additive."
                )

    @cached_property
    def _inputs(self) -> FieldInputs:
        return self.steps.inputs(wrap=self.grid.wraps)

    def never_known(self) -> NDArray[np.bool_] | None:
        """Fine cells that the training times never had, (T, H, W); None where all are known."""
        return _never_known(self.steps, self.grid)


def weights_of(steps: FieldPreprocessing, grid: Grid) -> Tensor | None:
    """Of fine cells in block means: by their areas, and 0 where a cell is never known.

    None where all count alike.

    Args:
        steps: of the network's card.
        grid: the fine cells.

    Shape:
        -> (1, 1 or T, H, W)
    """
    empty = _never_known(steps, grid)
    if not steps.weighted and empty is None:
        return None
    rows = grid.areas if steps.weighted else np.ones(grid.shape[0])
    weights = np.broadcast_to(rows.reshape(1, -1, 1), (1, *grid.shape))
    if empty is not None:
        return torch.from_numpy(np.where(empty, 0.0, weights)[None].astype(np.float32))
    return torch.from_numpy(np.array(weights[None], np.float32))


def _never_known(steps: FieldPreprocessing, grid: Grid) -> NDArray[np.bool_] | None:
    climatology = steps.climatology
    if climatology is None or not grid.same(steps.grid):
        return None
    empty: NDArray[np.bool_] = np.asarray(np.isnan(climatology.fine).all(0))
    return empty if empty.any() else None


def open_coarse(
    path: Any,
    steps: FieldPreprocessing,
    options: FieldOptions | None = None,
    own: FieldOptions | None = None,
) -> CoarseFields:
    """The coarse fields of a file for a network.

    Args:
        path: as `open_fields` takes it.
        steps: of the network's card.
        options: axes and further axes of this file; None is the usual.
        own: as the run was trained; what `options` do not say, where the file has such axes.

    Raises:
        DataError: the file cannot be used, or has other units, no dates where the network reads
            the month, or other cells where it knows one domain only.
        OptionError: a predictor is missing.
    """
    told = FieldOptions() if options is None else options
    learnt = FieldOptions() if own is None else own
    usual = axes_there(path, learnt.axes)
    axes = {kind: name or usual[kind] for kind, name in told.axes.items()}
    opened = open_fields(path, steps.predictors, select=told.chosen, usual=learnt.chosen, **axes)
    return coarse_of(opened, steps, HERE if is_xarray(path) else path)


def coarse_of(opened: Fields, steps: FieldPreprocessing, path: str | Path) -> CoarseFields:
    """Opened fields for a network; raises as `open_coarse` does.

    Args:
        opened: the predictors, in the network's order.
        steps: of the network's card.
        path: what errors call them.
    """
    if not len(opened):
        raise DataError(f"{path} has no times, and so no fields.")
    units = dict(zip(opened.names, steps.predictors, strict=True))
    for name, own in units.items():
        if not same_units(opened.units[name], steps.units[own]):
            raise DataError(
                f"{name} is in {opened.units[name] or 'no unit'} in {path}, and the network was "
                f"trained on {steps.units[own] or 'no unit'}; convert the field, or correct its "
                "attribute units."
            )
    notes = list(opened.notes)
    if opened.calendar and steps.calendar and opened.calendar != steps.calendar:
        notes.append(
            f"The calendar is {opened.calendar}, and that of the training {steps.calendar}; months "
            "are taken as they are."
        )
    check_months(opened, steps, str(path))
    turned = step_of(opened.grid.latitude) * step_of(steps.grid.latitude) < 0
    fields = opened.cut(slice(None, None, -1)) if turned else opened
    found = CoarseFields(fields, steps, steps.grid, turned, tuple(notes))
    if steps.bound:
        cut = _same_cells(path, fields, steps)
        return dataclasses.replace(found, fields=cut)
    grid, more = _finer(fields.grid, steps)
    beyond = int((np.abs(grid.latitude) > _POLE).sum())
    if beyond == len(grid.latitude):
        ends = f"{grid.latitude[0]:g} to {grid.latitude[-1]:g}"
        raise DataError(f"The latitudes of {path} are {ends}, all beyond the poles; give degrees.")
    if beyond:
        more.append(f"{beyond} fine rows would lie beyond the poles and are left out.")
    return dataclasses.replace(found, grid=grid, notes=(*notes, *more))


def check_months(fields: Fields, steps: FieldPreprocessing, source: str) -> None:
    """Refuse fields without months where the network reads them.

    Raises:
        DataError: so.
    """
    own = steps.climatology if steps.options.start == "delta" else None
    monthly = own is not None and own.months.tolist() != [0]
    if (steps.options.season or monthly) and not (fields.months > 0).all():
        raise DataError(
            f"The network reads the month, and {source} has no dates that say it; give the time "
            "axis units such as 'days since 2000-01-01' and a calendar."
        )


def _same_cells(path: str | Path, fields: Fields, steps: FieldPreprocessing) -> Fields:
    """The fields cut to the coarse cells that the network has learnt about."""
    wanted = steps.grid.coarse(steps.factor)
    fields = fields.turned(wanted.longitude[0] - step_of(wanted.longitude) / 2)
    places = []
    for name in ("latitude", "longitude"):
        own, theirs = getattr(fields.grid, name), getattr(wanted, name)
        first = int(np.abs(own - theirs[0]).argmin())
        cut = slice(first, first + len(theirs))
        off = np.abs(own[first] - theirs[0]) / abs(step_of(theirs))
        same = len(own[cut]) == len(theirs) and (
            len(theirs) == 1 or abs(step_of(own[cut]) / step_of(theirs) - 1) < _OFF
        )
        if off > _OFF or not same:
            raise DataError(
                f"{path} has no cells at the {name}s {theirs[0]:g} to {theirs[-1]:g} by "
                f"{step_of(theirs):g} that the network has learnt about; give them, or train with "
                "--start coarse and without static fields, which serves any domain."
            )
        places.append(cut)
    return fields.cut(*places)


def _finer(grid: Grid, steps: FieldPreprocessing) -> tuple[Grid, list[str]]:
    """The fine cells of coarse ones, and a note where they have another size than in training."""
    notes = []
    trained = steps.grid.coarse(steps.factor)
    pairs = ((n, getattr(grid, n), getattr(trained, n)) for n in ("latitude", "longitude"))
    for name, own, was in pairs:
        if len(own) > 1 and len(was) > 1 and abs(step_of(own) / step_of(was) - 1) > _OFF:
            notes.append(
                f"Cells are {abs(step_of(own)):g} degrees wide in {name}, and those of the "
                f"training {abs(step_of(was)):g}; the network has not seen this."
            )
    r, s = steps.factor
    return Grid(_divided(grid.latitude, r), _divided(grid.longitude, s)), notes


def _divided(middles: Floats, n: int) -> Floats:
    """The middles of n cells in each."""
    edges = edges_of(middles)
    step = step_of(middles) / n
    found: Floats = edges[0] + step * (np.arange(n * len(middles)) + 0.5)
    return found
