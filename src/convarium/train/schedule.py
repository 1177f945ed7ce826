"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence


def learning_rate(
    step: int,
    total: int,
    *,
    peak: float,
    warmup: float,
    milestones: Sequence[int] | None = None,
    gamma: float = 0.1,
) -> float:
    """Linear warm-up, then a cosine to zero, or a constant that falls at milestones.

    peak (t + 1) / w for t < w = round(warmup total), else peak (1 + cos(pi (t - w) / (T - w))) / 2,
    or with milestones m: peak gamma^(number of m <= t)

    Args:
        step: number of the step t, from 0.
        total: number of all steps T.
        peak: the largest rate.
        warmup: share of all steps that the rate rises, in [0, 1).
        milestones: numbers of steps from which on the rate is multiplied by `gamma` once more; they
            take the place of the cosine.
        gamma: the factor at each of the milestones.

    >>> [round(learning_rate(t, 10, peak=1.0, warmup=0.2), 3) for t in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.038]
    >>> [learning_rate(t, 10, peak=1.0, warmup=0.0, milestones=(5, 8)) for t in (4, 5, 9)]
    [1.0, 0.1, 0.010000000000000002]

    References:
        Loshchilov, Hutter (2017), "SGDR", arXiv:1608.03983, equation 5 with one period; Goyal et
        al. (2017), arXiv:1706.02677, section 2.2 (gradual warm-up); He, Zhang, Ren, Sun (2015),
        arXiv:1512.03385, section 4.2 (two milestones).
    """
    rising = round(warmup * total)
    if step < rising:
        return peak * (step + 1) / rising
    if milestones is not None:
        return peak * gamma ** sum(milestone <= step for milestone in milestones)
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
