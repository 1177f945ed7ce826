"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math


def learning_rate(step: int, total: int, *, peak: float, warmup: float) -> float:
    """Linear warm-up, then a cosine to zero.

    peak (t + 1) / w for t < w = round(warmup total), else peak (1 + cos(pi (t - w) / (T - w))) / 2

    Args:
        step: number of the step t, from 0.
        total: number of all steps T.
        peak: the largest rate.
        warmup: share of all steps that the rate rises, in [0, 1).

    >>> [round(learning_rate(t, 10, peak=1.0, warmup=0.2), 3) for t in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]

    References:
        Loshchilov, Hutter (2017), "SGDR", arXiv:1608.03983, equation 5 with one period; Goyal et
        al. (2017), arXiv:1706.02677, section 2.2 (gradual warm-up).
    """
    rising = round(warmup * total)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
