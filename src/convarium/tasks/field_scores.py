"""How far fine fields are from the truth: errors, likeness, spectra, extremes, conservation.

All take truth y and value v as (n, H, W) in physical units and the areas of cells; cells where the
truth is missing (NaN) do not count. With <.> the mean over cells and times by area:

    RMSE sqrt <(v - y)^2>    MAE <|v - y|>    bias <v - y>

References:
    Wang, Bovik, Sheikh, Simoncelli 2004, "Image quality assessment: from error visibility to
    structural similarity", IEEE Transactions on Image Processing 13, eq. 13 (SSIM).
    Jolliffe, Stephenson 2012, "Forecast verification", second edition, section 6.3 (anomaly
    correlation).
    Hosking 1990, "L-moments", Journal of the Royal Statistical Society B 52, eqs. 2.1 and 4.2.
    Hosking, Wallis, Wood 1985, "Estimation of the generalized extreme-value distribution by the
    method of probability-weighted moments", Technometrics 27, eq. 14.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from convarium.data.grids.fields import pieces
from convarium.errors import OptionError

Array = NDArray[Any]
Floats = NDArray[np.float64]

WINDOW, _SIGMA = 11, 1.5  # of SSIM
_K1, _K2 = 0.01, 0.03
_FEWEST_MAXIMA = 5
_AT_ONCE = 2**21  # numbers whose quantiles are found together


def mean_of(values: Array, areas: Array | None = None) -> float:
    """The mean over all that is known, by area.

    Args:
        values: (..., H, W); missing cells are NaN.
        areas: of the cells, of a shape that stretches to (H, W); None counts all alike.
    """
    numbers = np.asarray(values, np.float64)
    known = ~np.isnan(numbers)
    weights = known * (1.0 if areas is None else np.asarray(areas, np.float64))
    total = weights.sum()
    return float((np.where(known, numbers, 0.0) * weights).sum() / total) if total else math.nan


def rmse(truth: Array, value: Array, areas: Array | None = None) -> float:
    """Root of the mean square of the error."""
    return math.sqrt(mean_of(np.square(_apart(truth, value)), areas))


def mae(truth: Array, value: Array, areas: Array | None = None) -> float:
    """Mean of the error's size."""
    return mean_of(np.abs(_apart(truth, value)), areas)


def bias(truth: Array, value: Array, areas: Array | None = None) -> float:
    """Mean error: above 0 where values are too large."""
    return mean_of(_apart(truth, value), areas)


def anomaly_correlation(
    truth: Array, value: Array, climatology: Array, areas: Array | None = None
) -> float:
    """Correlation over the cells of what differs from the climatology; the mean over the times.

    Times at which nothing differs, or nothing is known, do not count.

    Args:
        truth: (n, H, W).
        value: likewise.
        climatology: of each time, (n, H, W) or (H, W).
        areas: of the cells; None counts all alike.
    """
    return mean_of_sums(correlation_sums(truth, value, climatology, areas))


def correlation_sums(
    truth: Array, value: Array, climatology: Array, areas: Array | None = None
) -> Floats:
    """`anomaly_correlation` of each time and 1, or 0 and 0 where it does not count, (n, 2)."""
    found = np.zeros((len(truth), 2))
    usual = np.broadcast_to(climatology, truth.shape)
    for i, (one, other, mean) in enumerate(zip(truth, value, usual, strict=True)):
        a, b = _apart(mean, one), _apart(mean, other)
        gap = np.isnan(a) | np.isnan(b)
        known = (np.where(gap, np.nan, field) for field in (a, b))
        one, other = (field - mean_of(field, areas) for field in known)
        size = math.sqrt(mean_of(one**2, areas) * mean_of(other**2, areas))
        if size > 0:
            found[i] = mean_of(one * other, areas) / size, 1
    return found


def ssim(truth: Array, value: Array) -> float:
    """Structural similarity in Gaussian windows of 11 cells, the mean over places and times.

    The range of the data is that of the truth; windows with missing cells do not count, and where
    each has one it is NaN.

    Raises:
        OptionError: the fields are smaller than a window.
    """
    return mean_of_sums(ssim_sums(truth, value))


def ssim_sums(truth: Array, value: Array) -> Floats:
    """Of each time the sum of `ssim` over its windows, and how many there are, (n, 2)."""
    if min(truth.shape[-2:]) < WINDOW:
        sizes = truth.shape[-2:]
        raise OptionError(f"SSIM needs fields of {WINDOW} x {WINDOW} cells, not {sizes}.")
    span = float(np.fmax.reduce(truth, axis=None)) - float(np.fmin.reduce(truth, axis=None))
    one, two = (_K1 * span) ** 2, (_K2 * span) ** 2
    sums = np.zeros((len(truth), 2))
    for some in pieces(np.arange(len(truth))):
        y, v = truth[some].astype(np.float64), value[some].astype(np.float64)
        a, b = _smoothed(y), _smoothed(v)
        varied = _smoothed(y * y) - a * a, _smoothed(v * v) - b * b
        shared = _smoothed(y * v) - a * b
        upper = (2 * a * b + one) * (2 * shared + two)
        found = upper / ((a * a + b * b + one) * (sum(varied) + two))
        sums[some, 0], sums[some, 1] = np.nansum(found, (1, 2)), (~np.isnan(found)).sum((1, 2))
    return sums


def mean_of_sums(sums: Floats) -> float:
    """The mean from sums and what they are divided by, (n, 2); NaN of nothing.

    >>> mean_of_sums(np.array([[1.0, 2.0], [5.0, 2.0]]))
    1.5
    """
    total, count = sums.sum(0)
    return float(total / count) if count else math.nan


def quantile_error(
    truth: Array, value: Array, level: float = 0.99, areas: Array | None = None
) -> float:
    """Mean size of the error of each cell's quantile over the times.

    Raises:
        OptionError: the level is not between 0 and 1.
    """
    ours, theirs = (cell_quantiles(truth, each, level) for each in (value, truth))
    return mean_of(np.abs(ours - theirs), areas)


def cell_quantiles(truth: Array, value: Array, level: float = 0.99) -> Floats:
    """Each cell's quantile over the times that the truth has, (H, W); NaN where it has none.

    Raises:
        OptionError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise OptionError(f"level (={level}) must lie between 0 and 1, such as 0.99.")
    found = np.full(truth.shape[1:], np.nan)
    size = max(1, _AT_ONCE // max(1, truth[:, :1].size))
    for rows in (slice(k, k + size) for k in range(0, truth.shape[1], size)):
        gaps = np.isnan(truth[:, rows])
        some = ~gaps.all(0)
        known = np.where(gaps, np.nan, value[:, rows])
        found[rows][some] = _quantile(known[:, some], level)
    return found


def _quantile(values: Array, level: float) -> Floats:
    """Of each column; without missing numbers all at once."""
    of = np.nanquantile if np.isnan(values).any() else np.quantile
    return np.asarray(of(values, level, axis=0), np.float64)


def return_values(maxima: Array, years: float) -> Floats:
    """What is reached once in so many years, by the GEV distribution that fits L-moments.

    Args:
        maxima: the largest value of each year, (n, ...).
        years: above 1.

    Returns:
        Of each cell, (...).

    Raises:
        OptionError: fewer than 5 years are given, or `years` is not above 1.
    """
    x = np.sort(np.asarray(maxima, np.float64), axis=0)
    n = len(x)
    if n < _FEWEST_MAXIMA or years <= 1:
        raise OptionError(
            f"Return values of years (={years}), which must be above 1, need the maxima of "
            f"{_FEWEST_MAXIMA} years or more, not of {n}."
        )
    order = np.arange(n, dtype=np.float64).reshape(-1, *[1] * (x.ndim - 1))
    b0 = x.mean(0)
    b1 = (order / (n - 1) * x).mean(0)
    b2 = (order * (order - 1) / ((n - 1) * (n - 2)) * x).mean(0)
    spread, skew = 2 * b1 - b0, 6 * b2 - 6 * b1 + b0
    with np.errstate(invalid="ignore", divide="ignore"):
        c = 2 / (3 + np.where(spread > 0, skew / spread, 0.0)) - math.log(2) / math.log(3)
        k = 7.8590 * c + 2.9554 * c * c
        k = np.where(np.abs(k) < 1e-6, 1e-6, k)  # near 0 the distribution is Gumbel's
        gamma = np.vectorize(math.gamma)(1 + k)
        scale = spread * k / (gamma * (1 - 2.0**-k))
        place = b0 - scale / k * (1 - gamma)
    reduced = -math.log(1 - 1 / years)
    found: Floats = place + scale / k * (1 - reduced**k)
    return found


def return_error(
    truth: Array, value: Array, years: Array, *, once_in: float = 10.0, areas: Array | None = None
) -> float:
    """Mean size of the error of what each cell reaches once in so many years.

    Args:
        truth: (n, H, W); cells with a year that is not known do not count.
        value: likewise.
        years: of each time, (n,).
        once_in: how rare it is, above 1.
        areas: of the cells.

    Returns:
        NaN of fewer years than `once_in`.
    """
    ours, theirs = (cell_returns(truth, each, years, once_in) for each in (value, truth))
    return mean_of(np.abs(ours - theirs), areas)


def cell_returns(truth: Array, value: Array, years: Array, once_in: float = 10.0) -> Floats:
    """What each cell reaches once in so many years, as `return_error` has it, (H, W).

    NaN where a year is not known, and of fewer years than `once_in`.
    """
    found, every = np.full(truth.shape[1:], np.nan), np.unique(years)
    if len(every) < max(once_in, _FEWEST_MAXIMA):
        return found
    known = np.where(np.isnan(truth), np.nan, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of years without a known value
        tops = np.stack([np.nanmax(known[years == year], 0) for year in every])
    some = ~np.isnan(tops).any(0)
    found[some] = return_values(tops[:, some], once_in)
    return found


def conservation_error(
    value: Array, coarse: Array, factor: Sequence[int], areas: Any = None
) -> float:
    """The largest difference of a block mean from the coarse field, in the coarse one's deviations.

    Args:
        value: fine fields (n, H, W); missing cells do not count.
        coarse: (n, H / r, W / s); missing cells do not count.
        factor: rows and columns of a block.
        areas: of the cells of each row, (H,), as the block means have them; None is all alike.
    """
    r, s = factor
    n, rows, columns = value.shape
    plain = np.ones(rows) if areas is None else np.asarray(areas, np.float64).reshape(rows)
    largest = math.nan
    for some in pieces(np.arange(n)):
        blocks = value[some].astype(np.float64).reshape(-1, rows // r, r, columns // s, s)
        weights = plain.reshape(rows // r, r, 1, 1) * ~np.isnan(blocks)
        with np.errstate(invalid="ignore"):  # blocks without a known cell
            means = (np.nan_to_num(blocks) * weights).sum((2, 4)) / weights.sum((2, 4))
        largest = float(np.fmax(largest, np.fmax.reduce(np.abs(means - coarse[some]), axis=None)))
    spread = float(np.nanstd(np.asarray(coarse, np.float64)))
    return largest / spread if spread else math.nan  # a field that is the same everywhere


def share_gained(ours: float, theirs: float) -> float:
    """The share by which an error is smaller than another; of an error beside none it is NaN.

    >>> share_gained(1.0, 4.0), share_gained(0.0, 0.0), share_gained(1.0, 0.0)
    (0.75, 0.0, nan)
    """
    if theirs:
        return 1 - ours / theirs
    return math.nan if ours else 0.0


def _apart(truth: Array, value: Array) -> Floats:
    return np.asarray(value, np.float64) - np.asarray(truth, np.float64)


def _smoothed(fields: Floats) -> Floats:
    """Means in Gaussian windows that lie inside, (..., H - 10, W - 10)."""
    places = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(places**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    for axis in (-2, -1):
        fields = sliding_window_view(fields, WINDOW, axis=axis) @ kernel
    return fields
