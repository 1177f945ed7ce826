"""Augmentation of gridded fields: blocks of cells that begin elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from convarium.data.augment.stream import Stream
from convarium.options import check_options, option


@dataclass(frozen=True, kw_only=True)
class FieldAugmentation:
    """Random changes of fields, for training only; what happens follows from (seed, epoch, id).

    Args:
        shift: fine fields are shifted by less than a coarse cell before coarse ones are made; what
            is known of each place, as its climatology, is shifted with them.

    Raises:
        OptionError: a value of the wrong type.

    >>> FieldAugmentation(shift=True).lines()
    ['blocks begin at any fine cell']
    """

    shift: bool = option(False)

    kind: ClassVar[str] = "grids"
    light: ClassVar[bool] = True  # batches of fields in memory need no worker
    mixes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        return self.shift

    def lines(self) -> list[str]:
        """What is done, in words."""
        return ["blocks begin at any fine cell"] if self.shift else []

    def crop_draws(self, stream: Stream) -> Stream | None:
        """The numbers by which fields are shifted when they are read."""
        return stream if self.shift else None

    def draw_mix(self, sides: tuple[int, ...], *, seed: int, epoch: int, step: int) -> None:
        """None: fields are not mixed."""

    def change(self, pixels: Tensor, stream: Stream, *, own: bool = False) -> Tensor:
        """The fields as they are: they were changed when they were read."""
        return pixels

    def after(self, inputs: Tensor, stream: Stream) -> Tensor:
        """The fields as they are."""
        return inputs
