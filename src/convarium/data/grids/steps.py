"""From coarse fields to the input of a network of fields, as steps that a card can carry.

read_fields -> coarsen -> [unbias] -> season -> delta -> static
(C, h, w), NaN where missing -> x (B, C, h, w), mask, fine (B, F, H, W), weights

Networks take physical units and normalise by themselves; their means and deviations are here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.fields import Values
from convarium.data.grids.grid import Grid
from convarium.data.grids.inputs import FieldInputs
from convarium.data.grids.kept import fields_of_card, fields_to_card
from convarium.data.grids.moments import Statistics
from convarium.data.grids.options import GridOptions
from convarium.data.grids.pairs import FieldPairs
from convarium.data.grids.samples import FieldPair
from convarium.data.preprocessing import Preprocessing
from convarium.errors import DataError

_MOST = 2**22  # fine cells of a batch in evaluation


@dataclass(frozen=True, eq=False)
class FieldPreprocessing(Preprocessing):
    """The steps from coarse fields to a network's inputs, fitted to training times.

    Args:
        input_shape: channels (with those of the season) and coarse cells, `(C, h, w)`.
        classes: the variables that are made finer.
        options: what the network gets and gives.
        predictors: the coarse variables, those that are made finer first.
        units: of the predictors, by name.
        calendar: of the dates; empty where there are none.
        factor: rows and columns of a block.
        grid: the fine cells.
        weighted: whether block means are weighted by the areas of cells.
        paired: whether the coarse fields are a model's.
        masked: whether coarse cells may be missing.
        statistics: means and deviations of the "inputs", the "targets", the "fine" fields, and of
            the "residual": what the targets differ by from the field that the network adds to.
        climatology: of the training times.
        static: fine fields that never change, (K, H, W), or None.
    """

    input_shape: tuple[int, ...] = (1, 1, 1)
    mean: tuple[float, ...] = field(default=(), init=False, repr=False)
    std: tuple[float, ...] = field(default=(), init=False, repr=False)
    classes: tuple[str, ...] = ()
    resize: None = field(default=None, init=False, repr=False)
    interpolation: Literal["bilinear"] = field(default="bilinear", init=False, repr=False)
    options: GridOptions = field(default_factory=GridOptions)
    predictors: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    calendar: str = ""
    factor: tuple[int, int] = (1, 1)
    grid: Grid = field(default_factory=lambda: Grid(np.zeros(1), np.zeros(1)))
    weighted: bool = True
    paired: bool = False
    masked: bool = False
    statistics: Mapping[str, Statistics] = field(default_factory=dict)
    climatology: Climatology | None = None
    static: Values | None = None

    kind: ClassVar[str] = "grids"
    input_kind: ClassVar[str] = "fields"
    pixel_type: ClassVar[torch.dtype] = torch.float32

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise DataError(f"input_shape (={self.input_shape}) must be (C, h, w), each 1 or more.")

    @property
    def parts(self) -> tuple[str, ...]:
        """What the network gives for each variable, as `FieldToField.parts` names it."""
        if self.options.outputs == "quantiles":
            return tuple(f"q{level:g}" for level in self.options.levels)
        return ("value",) if self.options.outputs == "value" else ("mean", "spread")

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The ordered steps as they stand in the card, without the arrays."""
        units = [self.units[name] for name in self.predictors]
        read = {"op": "read_fields", "variables": list(self.predictors), "units": units}
        block = {"factor": list(self.factor), "weighted": self.weighted, "paired": self.paired}
        found: list[dict[str, Any]] = [
            {**read, "targets": list(self.classes), "calendar": self.calendar},
            {"op": "coarsen", **block, "missing": "mask" if self.masked else "none"},
        ]
        if self.options.season:
            found.append({"op": "season"})
        if self.climatology is not None:
            months = self.climatology.months.tolist()
            found.append({"op": "climatology", "months": months, "start": self.options.start})
            if self.paired and self._delta is not None:
                found.append({"op": "unbias", **({"by": "ratio"} if self._delta.scaled else {})})
        if self.static is not None:
            found.append({"op": "static", "fields": len(self.static)})
        return found

    def pairs_of(self, pairs: FieldPairs) -> FieldPairs:
        """Pairs that are read as the network takes them, from its first longitude on."""
        if self.bound and not pairs.fine.grid.same(self.grid):
            pairs = pairs.turned(self.grid)
        return replace(
            pairs,
            season=self.options.season,
            climatology=self._delta,
            static=self.static,
            gaps=self.masked,
        )

    @property
    def _delta(self) -> Climatology | None:
        """The climatology, where the delta method's field is read."""
        return self.climatology if self.options.start == "delta" else None

    def inputs(self, *, wrap: bool) -> FieldInputs:
        """What becomes of coarse fields whose columns go all the way around, or do not."""
        return FieldInputs(
            targets=len(self.classes),
            climatology=self._delta,
            static=self.static,
            season=self.options.season,
            masked=self.masked,
            wrap=wrap,
            paired=self.paired,
            areas=self.grid.areas if self.weighted else None,
        )

    def apply(self, image: FieldPair) -> Tensor:  # type: ignore[override]
        """The coarse fields of one time with the season; what is missing is 0.

        Raises:
            DataError: other variables; the text is the reason alone.
        """
        if len(image.coarse) != len(self.predictors):
            raise DataError(f"no coarse fields of {', '.join(self.predictors)}")
        read = self.inputs(wrap=self.grid.wraps)
        return read.tensors(image.coarse[None], np.array([image.month]))[0][0]

    def finish(self, pixels: Tensor) -> Tensor:
        """The numbers as they are."""
        return pixels

    @property
    def bound(self) -> bool:
        """Whether the network knows one domain only: its climatology, static fields or cells."""
        own = self.options.cells or self.places > 0
        return self.options.start == "delta" or self.static is not None or own

    @property
    def places(self) -> int:
        """Coarse cells along each axis that the linear map of a place reads; 0 is none."""
        return self.options.places_of(self.input_shape, self.factor)

    @property
    def most_at_once(self) -> int:
        """Times of a batch in evaluation, at most."""
        _, rows, columns = self.input_shape
        cells = rows * columns * self.factor[0] * self.factor[1]
        return max(1, _MOST // (cells * len(self.classes) * len(self.parts)))

    @property
    def network_options(self) -> dict[str, Any]:
        """Keywords of a network that fits."""
        static = 0 if self.static is None else len(self.static)
        delta = self.options.start == "delta"
        return {
            "in_channels": self.input_shape[0],
            "out_channels": len(self.classes),
            "factor": list(self.factor),
            "fine_channels": delta * len(self.classes) + static,
            "start": "fine" if delta else self.options.start,
            "masked": self.masked,
            "wrap": self.grid.wraps,
            "parts": self.options.outputs,
            "levels": list(self.options.levels),
            **self._of_cells,
        }

    @property
    def _of_cells(self) -> dict[str, Any]:
        """Keywords of a network that knows each coarse cell, with numbers or with a linear map."""
        if not (self.options.cells or self.places):
            return {"cells": None}
        learned = {} if self.options.cells else {"cell_features": 0}
        return {"cells": list(self.input_shape[1:]), "cell_kernel": self.places, **learned}

    @property
    def head_options(self) -> dict[str, int]:
        """None: what a network of fields gives is among its other keywords."""
        return {}

    def begin(self, network: nn.Module) -> None:
        """Give a new network its means and deviations: of what it adds to where it starts."""
        given = dict(self.statistics)
        if "residual" in given:
            given["targets"] = (given["targets"][0], given.pop("residual")[1])
        normalise: Any = network.normalise_with
        normalise(**given)

    def beside(self, count: int = 1) -> dict[str, Tensor]:
        """Fine fields of zeros, where the network reads such."""
        channels = self.network_options["fine_channels"]
        if not channels:
            return {}
        sizes = [n * r for n, r in zip(self.input_shape[1:], self.factor, strict=True)]
        return {"fine": torch.zeros(count, channels, *sizes)}

    def crops(self, image: Any) -> Tensor:
        """Refused: five crops are a picture's.

        Raises:
            DataError: always.
        """
        raise DataError("Five crops are for pictures, and these are fields; use 'none'.")

    def keeps(self, image_shape: Sequence[int]) -> bool:
        """Whether `apply` leaves samples as they are: never."""
        return False

    def same_pixels(self, other: Preprocessing) -> bool:
        """Whether the other gives the same inputs."""
        return isinstance(other, FieldPreprocessing) and self._card == other._card

    def to_card(self) -> dict[str, Any]:
        """The entries `classes` and `preprocessing` of a card, with the arrays."""
        return {"classes": list(self.classes), "preprocessing": dict(self._card)}

    @cached_property
    def _card(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "input_shape": list(self.input_shape),
            "options": self.options.to_mapping(),
            "latitude": self.grid.latitude.tolist(),
            "longitude": self.grid.longitude.tolist(),
            "statistics": {k: [list(each) for each in v] for k, v in self.statistics.items()},
            "arrays": fields_to_card(self.climatology, self.static),
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> FieldPreprocessing:
        """The steps that a card carries; its other entries are not looked at.

        Raises:
            DataError: the card has no such entries, or steps that this version does not know.
        """
        try:
            part = card["preprocessing"]
            found = _of_card(part, tuple(map(str, card["classes"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"The card's preprocessing is incomplete ({error!r}); use one that `train` wrote."
            ) from error
        if found.steps != part["steps"]:
            raise DataError(
                "The card's preprocessing of fields has steps that this version of convarium does "
                "not replay; install the version that wrote it."
            )
        return found


def _of_card(part: Mapping[str, Any], classes: tuple[str, ...]) -> FieldPreprocessing:
    """From a card's entry; what is missing there is a KeyError."""
    by_name = {step["op"]: step for step in part["steps"]}
    read, block = by_name["read_fields"], by_name["coarsen"]
    r, s = map(int, block["factor"])
    months = by_name["climatology"]["months"] if "climatology" in by_name else None
    scaled = "by" in by_name.get("unbias", ())
    climatology, static = fields_of_card(part["arrays"], months, (r, s), scaled=scaled)
    names = tuple(map(str, read["variables"]))
    return FieldPreprocessing(
        tuple(map(int, part["input_shape"])),
        classes=classes,
        options=GridOptions.of(part["options"]),
        predictors=names,
        units=dict(zip(names, map(str, read["units"]), strict=True)),
        calendar=str(read["calendar"]),
        factor=(r, s),
        grid=Grid(np.array(part["latitude"], float), np.array(part["longitude"], float)),
        weighted=bool(block["weighted"]),
        paired=bool(block["paired"]),
        masked=block["missing"] == "mask",
        statistics={k: (list(v[0]), list(v[1])) for k, v in part["statistics"].items()},
        climatology=climatology,
        static=static,
    )
