"""Forecasts: windows of a series, and the steps that follow each of them.

x[t - W + 1 .. t], all channels  ->  y[t + 1 .. t + H], the target channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.labels import named_unit
from convarium.data.series.reading import Found, Windows
from convarium.data.series.samples import SeriesArrays
from convarium.data.series.series import Floats
from convarium.data.series.windows import window_spans
from convarium.data.skipping import Skipped
from convarium.errors import DataError, OptionError

_LEAST_PEAK = 0.3  # of the autocorrelation, from which on a season is one
_AS_HIGH = 0.9  # as the highest peak
_SEEN = 20_000  # steps of a series that a season is looked for in


@dataclass(frozen=True)
class Forecasts:
    """What is forecast.

    Args:
        channels: numbers of the target channels.
        horizon: how many steps ahead.
    """

    channels: tuple[int, ...]
    horizon: int


def forecast_windows(
    horizon: int | None, window: int | None, stride: int | None
) -> tuple[int, Windows]:
    """The horizon (1), and the windows: three horizons long, and at least 24 steps; every step one.

    Raises:
        OptionError: no whole number of 1 or more.

    >>> forecast_windows(12, None, None)
    (12, Windows(length=36, stride=1))
    """
    steps = 1 if horizon is None else horizon
    given = {"horizon": horizon, "window": window, "stride": stride}
    for name, value in given.items():
        if value is not None and (value < 1 or value % 1):
            raise OptionError(f"{name} (={value}) must be 1 time step or more, a whole number.")
    return int(steps), Windows(int(window or max(24, 3 * steps)), int(stride or 1))


def cut_forecasts(
    path: Path, found: Found, targets: Sequence[str], horizon: int, windows: Windows
) -> Dataset:
    """Windows with what follows each; `split` divides them by the time of what follows.

    A window is left out and listed where a value that it is to forecast is missing.

    Args:
        path: named in errors and in the card.
        found: the series.
        targets: names of the target channels; none means the only channel.
        horizon: steps ahead.
        windows: of the past.

    Raises:
        DataError: no such channel, no series that is long enough, or no window that a value of
            each target follows at every step.
    """
    chosen = _chosen(path, found, targets)
    wanted = windows.length + horizon
    spans = [window_spans(each.shape[1], Windows(wanted, windows.stride)) for each in found.series]
    for name, own in zip(found.names, spans, strict=True):
        if not len(own):
            reason = f"the series is shorter than a window and what follows, {wanted} time steps"
            found.skipped.append(Skipped(name, reason))
    if not sum(map(len, spans)):
        longest = max(each.shape[1] for each in found.series)
        raise DataError(
            f"No series of {path} has the {wanted} time steps of a window and of what follows; the "
            f"longest has {longest}, so give a smaller --window or --horizon."
        )
    pieces = zip(found.series, spans, strict=True)
    follow = [_following(values, own, horizon, chosen) for values, own in pieces]
    ahead = np.concatenate(follow).astype(np.float32)
    whose = np.repeat(np.arange(len(spans), dtype=np.int64), [len(own) for own in spans])
    flat = np.concatenate(spans)
    names = [
        f"{found.names[k]} {start}-{end - horizon}"
        for k, (start, end) in zip(whose.tolist(), flat.tolist(), strict=True)
    ]
    known: NDArray[np.bool_] = np.asarray(np.isfinite(ahead).all(axis=1))
    if not known.any():
        wanting = [found.channels[k] for k in chosen if _misses(found, k)]
        raise DataError(
            f"No window of {path} is followed by values at all of {horizon} steps: "
            f"{', '.join(wanting)} is missing there; correct the column, or give a smaller "
            "--horizon."
        )
    for place in np.flatnonzero(~known).tolist():
        found.skipped.append(Skipped(names[place], "a value that is to be forecast is missing"))
    return _dataset(path, found, chosen, horizon, windows, (whose, flat, ahead, names, known))


def last_windows(path: Path, found: Found, length: int) -> Dataset:
    """The last window of each series, from which a forecast goes on.

    Raises:
        DataError: no series is that long.
    """
    enough = [each.shape[1] >= length for each in found.series]
    for name, fits in zip(found.names, enough, strict=True):
        if not fits:
            reason = f"the series is shorter than the window of {length} time steps"
            found.skipped.append(Skipped(name, reason))
    kept = np.flatnonzero(enough)
    if not len(kept):
        raise DataError(f"No series of {path} has the {length} time steps of a window.")
    series = [found.series[k][:, -length:] for k in kept]
    arrays = SeriesArrays.of(series, [found.names[k] for k in kept], channels=found.channels)
    return Dataset(arrays, source=str(path), skipped=found.skipped, notes=found.notes)


def season_of(values: Floats, most: int) -> int:
    """The first lag, from 2 up to `most`, with a high peak of the autocorrelation; 1 without one.

    >>> season_of(np.sin(np.arange(96) * 2 * np.pi / 12).astype(np.float32), 40)
    12
    """
    if len(values) < 4:
        return 1
    exact = values[-_SEEN:].astype(np.float64)
    exact = exact - exact.mean()
    power = np.abs(np.fft.rfft(exact, 2 * len(exact))) ** 2
    lags = np.fft.irfft(power)[: max(0, min(most, len(exact) // 2)) + 2]
    if len(lags) < 4 or lags[0] <= 0:
        return 1
    lags = lags / lags[0] * len(exact) / (len(exact) - np.arange(len(lags)))
    peaks = 1 + np.flatnonzero((lags[1:-1] >= lags[:-2]) & (lags[1:-1] > lags[2:]))
    peaks = peaks[(peaks > 1) & (lags[peaks] > _LEAST_PEAK)]
    if not len(peaks):
        return 1
    return int(peaks[lags[peaks] >= _AS_HIGH * lags[peaks].max()][0])  # not a multiple of it


def _chosen(path: Path, found: Found, targets: Sequence[str]) -> tuple[int, ...]:
    if not targets and len(found.channels) == 1:
        return (0,)
    missing = [name for name in targets if name not in found.channels]
    if missing or not targets:
        raise DataError(
            f"{path} has the values {', '.join(found.channels)}, and "
            f"{repr(missing[0]) + ' is to be' if missing else 'none is named that is to be'} "
            "forecast; name one of them with --target-column."
        )
    return tuple(found.channels.index(name) for name in targets)


def _misses(found: Found, channel: int) -> bool:
    return any(bool(np.isnan(each[channel]).any()) for each in found.series)


def _following(
    values: Floats, spans: NDArray[np.int64], horizon: int, channels: tuple[int, ...]
) -> NDArray[np.float32]:
    """What follows each window: target by target, step by step, `(W, K H)`."""
    places = spans[:, 1:] - horizon + np.arange(horizon)
    found: NDArray[np.float32] = values[list(channels)][:, places].transpose(1, 0, 2)
    return found.reshape(len(spans), -1)


def _dataset(
    path: Path,
    found: Found,
    chosen: tuple[int, ...],
    horizon: int,
    windows: Windows,
    cut: tuple[
        NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], list[str], NDArray[np.bool_]
    ],
) -> Dataset:
    whose, flat, ahead, names, known = cut
    arrays = SeriesArrays.of(found.series, channels=found.channels)
    pasts = flat - np.array([0, horizon], np.int64)
    pairs = [named_unit(found.channels[k]) for k in chosen]
    outputs = [(f"{name}+{step}", unit) for name, unit in pairs for step in range(1, horizon + 1)]
    said: dict[str, str | int | list[str]] = {**found.columns, "window": windows.length}
    said |= {"stride": windows.stride, "horizon": horizon}
    said["label_column"] = [found.channels[k] for k in chosen]
    return Dataset(
        SeriesArrays(
            arrays.values,
            (pasts + arrays.spans[whose, :1])[known],
            [names[k] for k in np.flatnonzero(known)],
            channels=found.channels,
        ),
        source=str(path),
        task="forecast",
        classes=[name for name, _ in outputs],
        units=[unit for _, unit in outputs],
        targets=ahead[known],
        times=_times(found, whose, flat, horizon)[known],
        groups=whose[known],
        skipped=found.skipped,
        mirrored=False,
        columns=said,
        notes=found.notes,
        forecasts=Forecasts(chosen, horizon),
    )


def _times(
    found: Found, whose: NDArray[np.int64], flat: NDArray[np.int64], horizon: int
) -> NDArray[np.int64]:
    """Where what follows each window begins and ends, on one axis of all series' time stamps."""
    starts, ends = flat[:, 1] - horizon, flat[:, 1] - 1
    if not found.times:
        return np.stack([starts, ends + 1], axis=1)
    axis = np.unique(np.concatenate(found.times))
    ranks = [np.searchsorted(axis, own) for own in found.times]
    offsets = np.cumsum([0, *map(len, ranks)])[whose]
    together = np.concatenate(ranks)
    return np.stack([together[offsets + starts], together[offsets + ends] + 1], axis=1)
