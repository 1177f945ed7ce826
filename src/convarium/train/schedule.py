"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

_FIRST, _LAST = 1 / 25, 1e-4  # of the peak, where one_cycle begins and ends


def learning_rate(
    step: int,
    total: int,
    *,
    peak: float,
    warmup: float,
    schedule: str = "cosine",
    milestones: Sequence[int] | None = None,
    gamma: float = 0.1,
) -> float:
    """The rate of a step: up to the peak along the warm-up, then as the schedule says.

    peak (t + 1) / w for t < w = round(warmup total); with s = (t - w) / (T - w) afterwards
        cosine     peak (1 + cos(pi s)) / 2
        linear     peak (1 - s)
        step       peak gamma^(number of milestones <= t)
        constant   peak
    one_cycle goes from peak / 25 up to peak at t = warmup T - 1 and down to peak / 10^4 at T - 1,
    both as half a cosine; a single step has the peak.

    Args:
        step: number of the step t, from 0.
        total: number of all steps T.
        peak: the largest rate.
        warmup: share of all steps that the rate rises, in [0, 1).
        schedule: cosine, one_cycle, linear, step or constant.
        milestones: of `step`, numbers of steps from which on the rate is multiplied by `gamma` once
            more; None means T / 2 and 3 T / 4.
        gamma: the factor at each of the milestones.

    >>> [round(learning_rate(t, 10, peak=1.0, warmup=0.2), 3) for t in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    >>> [learning_rate(t, 8, peak=1.0, warmup=0.0, schedule="step") for t in (3, 4, 6)]
    [1.0, 0.1, 0.010000000000000002]

    References:
        Loshchilov, Hutter (2017), "SGDR", arXiv:1608.03983, equation 5 with one period; Goyal et
        al. (2017), arXiv:1706.02677, section 2.2 (gradual warm-up); He, Zhang, Ren, Sun (2015),
        arXiv:1512.03385, section 4.2 (milestones at 1/2 and 3/4); Smith, Topin (2018),
        "Super-convergence", arXiv:1708.07120, section 3 (one_cycle).
    """
    if schedule == "one_cycle":
        return peak * _one_cycle(step, total, warmup)
    rising = round(warmup * total)
    if step < rising:
        return peak * (step + 1) / rising
    if schedule == "step":
        places = (total / 2, 3 * total / 4) if milestones is None else milestones
        return peak * gamma ** sum(place <= step for place in places)
    done = (step - rising) / max(1, total - rising)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak * (1 - done) if schedule == "linear" else peak


def _one_cycle(step: int, total: int, warmup: float) -> float:
    """Share of the peak: half a cosine up, half a cosine down."""
    top, end = warmup * total - 1, total - 1
    if end == 0:  # the first step is the last one too
        return 1.0
    if step < top:
        return _between(_FIRST, 1.0, step / top)
    return _between(1.0, _LAST, (step - top) / (end - top))


def _between(start: float, end: float, done: float) -> float:
    """Half a cosine from start (done = 0) to end (done = 1)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))
