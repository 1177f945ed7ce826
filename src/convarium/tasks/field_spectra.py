"""Spectra of fine fields: their power by wavenumber, whatever the direction of the waves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium.data.grids.fields import pieces

Array = NDArray[Any]
Floats = NDArray[np.float64]


def radial_spectrum(values: Array, *, wrap: bool = False) -> Floats:
    """Power by wavenumber, the mean over the times: (K,), from one wave along the shorter side.

    Each field less its mean is brought to 0 at its edges by Hann windows, but not along columns
    that go all the way around. Missing cells count as the mean; times without a known cell do not,
    and neither do rows and columns at the edges without one.
    """
    whole = values.shape[-1]
    values = _known_box(np.reshape(values, (-1, *values.shape[-2:])))
    rows, columns = values.shape[1:]
    wrap = wrap and columns == whole
    window = np.hanning(rows + 1)[:rows, None] * np.ones(columns)
    if not wrap:
        window = window * np.hanning(columns + 1)[:columns]
    power, count = np.zeros((rows, columns)), 0
    for some in pieces(np.arange(len(values))):
        fields = np.asarray(values[some], np.float64)
        fields = fields[~np.isnan(fields).all((-2, -1))]
        apart = np.nan_to_num(fields - np.nanmean(fields, (-2, -1), keepdims=True))
        power += (np.abs(np.fft.fft2(apart * window)) ** 2).sum(0)
        count += len(fields)
    power /= max(count, 1)
    side = min(rows, columns)
    number = _wavenumbers(rows, columns)
    places = np.rint(number * side).astype(int)
    return np.array([power[places == k].sum() for k in range(1, side // 2 + 1)])


def spectrum_ratio(
    truth: Array, value: Array, factor: int, *, wrap: bool = False
) -> tuple[Floats, float]:
    """Power of the value over that of the truth: by wavenumber, and where no coarse wave reaches.

    Args:
        truth: (n, H, W); its missing cells count in neither.
        value: likewise.
        factor: fine cells per coarse one; coarse fields have no waves shorter than 2 cells.
        wrap: the columns go all the way around.

    Returns:
        The ratios (K,), and that of all waves that the coarse fields cannot have, together.
    """
    known = np.where(np.isnan(truth), np.nan, value)
    ours, theirs = radial_spectrum(known, wrap=wrap), radial_spectrum(truth, wrap=wrap)
    side = min(_known_box(truth).shape[1:])
    fine = np.arange(1, len(ours) + 1) > side / (2 * factor)
    with np.errstate(invalid="ignore", divide="ignore"):  # fields that are the same everywhere
        return ours / theirs, float(ours[fine].sum() / theirs[fine].sum())


def _known_box(values: Array) -> Array:
    """Fields (n, H, W) without rows and columns at the edges that never have a known cell."""
    rows, columns = np.nonzero(~np.isnan(values).all(0))
    if not len(rows):
        return values
    found: Array = values[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return found


def _wavenumbers(rows: int, columns: int) -> Floats:
    """Waves per cell of each coefficient, whatever their direction."""
    found: Floats = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    return found
