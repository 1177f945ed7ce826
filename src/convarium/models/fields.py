"""What networks for gridded fields promise: coarse fields in, finer ones out, in physical units.

    x (B, C, *S) -> reader -> stem -> stages -> final -> neck -> head -> writer -> (B, P T, *F)

F = S factor. The first T of the C coarse fields are those that are made finer. Means and deviations
are buffers of the network, so that it reads and gives physical units, also when it is exported, and
its last step, the constraint, holds for these units. The neck makes maps finer, unless the network
interpolates first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers import (
    CONVOLUTIONS,
    NORMS,
    ConstraintKind,
    InitialTable,
    InterpolationKind,
    uniform_fan_in,
    unit,
)
from convarium.models.contract import Network
from convarium.models.field_input import FieldInput
from convarium.models.field_output import FieldOutput, FieldParts, Start
from convarium.models.field_places import Places
from convarium.models.options import at_least

_KIND: Final[InterpolationKind] = "cubic"


class FieldToField(Network):
    """A network from coarse fields to finer ones.

    Args:
        spatial_dims: 1, 2 or 3.
        in_channels: coarse fields that are read; the first `out_channels` are made finer.
        out_channels: fields T that are made finer.
        factor: fine cells per coarse one, one number or one an axis.
        constraint: what makes the block means of the result the coarse field: "none", "additive",
            "multiplicative" or "softmax".
        non_negative: the result is not below 0; a constraint is "multiplicative" or "softmax" then,
            and coarse fields below 0 count as 0.
        parts: a "value"; "normal": mean and spread; or "quantiles" of the given levels.
        levels: of the quantiles, rising, with .5 among them.
        start: what the head's answer is added to: the interpolated "coarse" field, the first
            `out_channels` of the "fine" fields, or "none".
        wrap: the last axis is a circle, such as all longitudes.
        fine_channels: fine fields that are read besides, such as relief.
        cells: coarse cells along each axis, where the network learns numbers for each; or None.
        cell_features: how many numbers it learns for each; 0 is none.
        cell_kernel: coarse cells along each axis of which each of the `cells` has a linear map of
            its own, which is added to the head's answer; 0 is none. See `layers.LocalLinear`. They
            take no part in training: `models.fit_places` fits them to what the rest leaves.
        masked: coarse cells may be missing; which ones becomes a channel.

    Attributes:
        factor: fine cells per coarse one, one number an axis.
        constraint: its name.
        works_at: positions of the stem's input per coarse cell, along each axis.

    Shape:
        x (B, C, *S), mask (B, *S) or (B, C, *S), fine (B, fine_channels, *F)
        -> (B, P T, *F), F = S factor

    Raises:
        OptionError: a value is out of range, or options that cannot hold together.
    """

    input_kind: ClassVar[Literal["maps", "tokens", "fields"]] = "fields"
    initial: InitialTable = (
        (CONVOLUTIONS, uniform_fan_in),
        (NORMS, unit),
    )
    interpolates_first: ClassVar[bool] = False

    neck: nn.Module
    head: nn.Module

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        factor: int | Sequence[int] = 4,
        constraint: ConstraintKind = "none",
        non_negative: bool = False,
        parts: FieldParts = "value",
        levels: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
        start: Start = "coarse",
        wrap: bool = False,
        fine_channels: int = 0,
        cells: Sequence[int] | None = None,
        cell_features: int = 16,
        cell_kernel: int = 0,
        masked: bool = False,
    ) -> None:
        super().__init__(spatial_dims=spatial_dims, in_channels=in_channels)
        _check_channels(in_channels, out_channels, fine_channels, start)
        self.factor = checked_factor(factor, spatial_dims)
        self.config["factor"] = list(self.factor)  # an entry an axis
        self.constraint, self.wrap, self.out_channels = constraint, wrap, out_channels
        self.works_at = self.factor if self.interpolates_first else (1,) * spatial_dims
        self.input_size = (16,) * spatial_dims
        self.reader = FieldInput(
            in_channels,
            self.factor,
            interpolation=_KIND if self.interpolates_first else None,
            wrap=wrap,
            fine_channels=fine_channels,
            cells=cells,
            cell_features=cell_features,
            masked=masked,
        )
        self.writer = FieldOutput(
            out_channels,
            self.factor,
            constraint=constraint,
            non_negative=non_negative,
            parts=parts,
            levels=levels,
            start=start,
            interpolation=_KIND,
            wrap=wrap,
        )
        given = (cells, in_channels, self.writer.channels, self.factor, cell_kernel)
        self.places = Places(*given, wrap=wrap) if cell_kernel else None

    @property
    def parts(self) -> tuple[str, ...]:
        """What is given for each field: "value"; "mean" and "spread"; or "q0.05" ... "q0.95"."""
        return self.writer.parts

    def features(
        self, x: Tensor, mask: Tensor | None = None, fine: Tensor | None = None
    ) -> list[Tensor]:
        """One map per stage, in the order of the data's flow."""
        y = self.stem(self.reader(self.check(x), mask, fine))
        maps = []
        for stage in self.stages:
            y = self.get_submodule(stage.name)(y)
            maps.append(y)
        return maps

    def forward_features(
        self, x: Tensor, mask: Tensor | None = None, fine: Tensor | None = None
    ) -> Tensor:
        """The last map before the fields are made finer."""
        y: Tensor = self.final(self.features(x, mask, fine)[-1])
        return y

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        fine: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """The fine fields, in physical units: all of the first part, then all of the next.

        Args:
            x: the coarse fields.
            mask: True where they are known, (B, *S), or (B, C, *S) where each field has gaps of its
                own; None is everywhere.
            fine: the fine fields that the network reads, `fine_channels` of them.
            weights: of the fine cells in block means, of a shape that stretches to the result's.
        """
        found = self.head(self.finer(x, mask, fine))
        if self.places is not None and not self.training:
            found = found + self.places(self.reader.normalised(x, mask))
        return self.written(found, x, mask, fine, weights)

    def written(
        self,
        found: Tensor,
        x: Tensor,
        mask: Tensor | None,
        fine: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor:
        """The fine fields of what the head gave, (B, P T, *F); the others are `forward`'s."""
        known = None if mask is None else self.reader.checked_mask(x, mask)[:, : self.out_channels]
        y: Tensor = self.writer(found, x[:, : self.out_channels], known, fine, weights)
        return y

    def begin_at_start(self) -> None:
        """Let a new network give the field that it starts from: its last convolution becomes 0."""
        *_, last = (m for m in self.head.modules() if isinstance(m, CONVOLUTIONS))
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def finer(self, x: Tensor, mask: Tensor | None, fine: Tensor | None) -> Tensor:
        """The map that the head reads: (B, F, *F)."""
        y: Tensor = self.neck(self.forward_features(x, mask, fine))
        return y

    def middle(self, y: Tensor) -> Tensor:
        """Of what `forward` gave, the fields themselves: values, means or medians.

        Shape:
            (B, P T, *F) -> (B, T, *F)
        """
        first = self.writer.middle * self.out_channels
        return y[:, first : first + self.out_channels]

    def normalise_with(
        self,
        *,
        inputs: tuple[Sequence[float], Sequence[float]] | None = None,
        targets: tuple[Sequence[float], Sequence[float]] | None = None,
        fine: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        """Keep means and deviations, which were found in training data.

        Args:
            inputs: (means, deviations) of the coarse fields, one number a field.
            targets: of the fields that are made finer.
            fine: of the fine fields that are read besides.

        Raises:
            OptionError: there are other numbers of fields.
        """
        places = (
            (inputs, self.reader, ""),
            (targets, self.writer, ""),
            (fine, self.reader, "fine_"),
        )
        for pair, module, start in places:
            for kind, values in zip(("mean", "std"), pair or (), strict=False):
                buffer = module.get_buffer(start + kind)
                given = torch.as_tensor(values, dtype=buffer.dtype, device=buffer.device)
                if given.shape != buffer.shape:
                    raise OptionError(
                        f"{given.numel()} numbers do not fit {buffer.numel()} fields; give one a "
                        "field."
                    )
                buffer.copy_(given)


def checked_factor(factor: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """A factor as one number an axis.

    Raises:
        OptionError: there are other numbers than axes, one is below 1, or all of them are 1.

    Example:
        >>> checked_factor(4, 2), checked_factor([2, 4], 2)
        ((4, 4), (2, 4))
    """
    at_least(1, factor=factor)
    found = (factor,) * axes if isinstance(factor, int) else tuple(factor)
    if len(found) != axes or max(found) == 1:
        raise OptionError(
            f"factor (={factor!r}) must be one number, or {axes}, one an axis, not all of them 1."
        )
    return found


def _check_channels(inputs: int, outputs: int, fine: int, start: Start) -> None:
    """Refuse numbers of fields that do not fit each other."""
    if outputs > inputs:
        raise OptionError(
            f"out_channels (={outputs}) must be in_channels (={inputs}) or fewer: the first of the "
            "coarse fields are made finer."
        )
    if start == "fine" and fine < outputs:
        raise OptionError(
            f"start (='fine') takes the first {outputs} fine fields; fine_channels (={fine}) must "
            "be as many or more."
        )
