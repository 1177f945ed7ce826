"""Gridded fields as pictures: north above, one colour scale for what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.report import wording
from convarium.report.pictures import Picture

_FIELD, _SIGNED = "viridis", "RdBu_r"
_MISSING = (150, 150, 150)


class Scale(NamedTuple):
    """The values at both ends of the colours, and whether 0 is in the middle of them."""

    low: float
    high: float
    signed: bool = False

    @classmethod
    def of(cls, *fields: NDArray[np.floating], signed: bool = False) -> Scale:
        """From the 1st to the 99th percentile of all; of signed ones as far on both sides.

        >>> Scale.of(np.array([0.0, 2.0, 4.0]), signed=True).low < 0
        True
        """
        known = np.concatenate([field[~np.isnan(field)].ravel() for field in fields])
        if not len(known):
            return cls(0.0, 1.0, signed)
        low, high = np.percentile(known, [1, 99])
        if signed:
            high = float(np.percentile(np.abs(known), 99))
            low = -high
        return cls(float(low), float(high) if high > low else float(low) + 1.0, signed)

    def words(self, unit: str = "") -> str:
        """Both ends with the unit."""
        low, high = wording.number(self.low), wording.number(self.high)
        return f"colours from {low} to {high} {unit}".rstrip()


def field_map(
    field: NDArray[np.floating],
    scale: Scale,
    title: str,
    note: str = "",
    *,
    latitude: NDArray[np.float64],
    factor: Sequence[int] = (1, 1),
) -> Picture:
    """A field as a picture; missing cells are grey.

    Args:
        field: `(h, w)`.
        scale: of its colours.
        title: what it is.
        note: the rest of what is to be said.
        latitude: of the rows, by which the north comes to the top.
        factor: pixels of a cell along each axis, for coarse fields.
    """
    from matplotlib import colormaps

    share = np.clip((np.nan_to_num(field) - scale.low) / (scale.high - scale.low), 0, 1)
    rgb = np.asarray(colormaps[_SIGNED if scale.signed else _FIELD](share))[..., :3]
    pixels = np.where(np.isnan(field)[..., None], _MISSING, (255 * rgb).round()).astype(np.uint8)
    pixels = pixels.repeat(factor[0], 0).repeat(factor[1], 1)
    rising = len(latitude) > 1 and latitude[-1] > latitude[0]
    return Picture(np.ascontiguousarray(pixels[::-1] if rising else pixels), title, note)
