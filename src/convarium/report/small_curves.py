"""Small curves: a series in a cell of a drawing, a panel a channel, on scales that others share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convarium.report.long_curves import columns_of, limits_of
from convarium.report.svg import Axis, Drawing

MOST_CHANNELS = 6
_EDGE = 3.0
_GAP = 4.0

Floats = NDArray[np.float32]
Limits = Sequence[tuple[float, float]]


def shared_limits(series: Sequence[Floats]) -> Limits:
    """Smallest and largest value of each channel, of the first six, in all of some series.

    Shape:
        series: `(C, T)` each, of any lengths.

    >>> shared_limits([np.float32([[0, 1]]), np.float32([[-2, 0, 0]])])
    [(-2.0, 1.0)]
    """
    channels = min(MOST_CHANNELS, len(series[0]))
    return [limits_of(np.concatenate([each[k] for each in series])) for k in range(channels)]


def draw_curves(
    drawing: Drawing, values: Floats, limits: Limits, box: tuple[float, float, float, float]
) -> None:
    """Draw the channels of a series, one below the other.

    Args:
        drawing: is drawn on.
        values: `(C, T)`, finite; a long series has several time steps a column.
        limits: smallest and largest value of each channel that is drawn.
        box: x, y, width and height of the place.
    """
    x, y, wide, high = box
    room = (high - 2 * _EDGE + _GAP) / len(limits)
    for k, (low, highest) in enumerate(limits):
        steps, smallest, largest = columns_of(values[k], int(wide))
        across = Axis(0, max(1, values.shape[1] - 1), x + _EDGE, x + wide - _EDGE)
        top = y + _EDGE + k * room
        down = Axis(low, highest, top + room - _GAP, top)
        points = [
            (across(float(step)), down(edge))
            for step, *edges in zip(steps, smallest, largest, strict=True)
            for edge in sorted(set(map(float, edges)))
        ]
        if len(points) == 1:
            drawing.dot(*points[0], "accent", 2)
        else:
            drawing.line(points, "accent")
