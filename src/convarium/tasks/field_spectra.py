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
    known = ~np.isnan(np.reshape(values, (-1, *values.shape[-2:]))).all((-2, -1))
    found: Floats = time_spectra(values, wrap=wrap).sum(0) / max(int(known.sum()), 1)
    return found


def time_spectra(values: Array, *, wrap: bool = False) -> Floats:
    """`radial_spectrum` of each time, (n, K); 0 of times without a known cell."""
    whole = values.shape[-1]
    values = _known_box(np.reshape(values, (-1, *values.shape[-2:])))
    rows, columns = values.shape[1:]
    wrap = wrap and columns == whole
    window = np.hanning(rows + 1)[:rows, None] * np.ones(columns)
    if not wrap:
        window = window * np.hanning(columns + 1)[:columns]
    side = min(rows, columns)
    places = np.rint(_wavenumbers(rows, columns) * side).astype(int).ravel()
    found = np.zeros((len(values), side // 2 + 1))
    for some in pieces(np.arange(len(values))):
        some = some[~np.isnan(values[some]).all((-2, -1))]
        fields = np.asarray(values[some], np.float64)
        apart = np.nan_to_num(fields - np.nanmean(fields, (-2, -1), keepdims=True))
        power = np.abs(np.fft.fft2(apart * window)) ** 2
        for i, each in zip(some.tolist(), power, strict=True):
            found[i] = np.bincount(places, each.ravel(), side)[: side // 2 + 1]
    return found[:, 1:]


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
    ours, theirs = (time_spectra(each, wrap=wrap) for each in (known, truth))
    fine = _beyond(truth, factor, ours.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):  # fields that are the same everywhere
        high = ours[:, fine].sum() / theirs[:, fine].sum()
        return ours.sum(0) / theirs.sum(0), float(high)


def high_waves(truth: Array, value: Array, factor: int, *, wrap: bool = False) -> Floats:
    """Power of the waves that the coarse fields cannot have, of the value and the truth, (n, 2).

    The arguments are those of `spectrum_ratio`.
    """
    known = np.where(np.isnan(truth), np.nan, value)
    both = [time_spectra(each, wrap=wrap) for each in (known, truth)]
    fine = _beyond(truth, factor, both[0].shape[1])
    return np.stack([each[:, fine].sum(1) for each in both], 1)


def _beyond(truth: Array, factor: int, count: int) -> NDArray[np.bool_]:
    """Which of so many wavenumbers coarse fields cannot have."""
    side = min(_known_box(truth).shape[1:])
    found: NDArray[np.bool_] = np.arange(1, count + 1) > side / (2 * factor)
    return found


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
