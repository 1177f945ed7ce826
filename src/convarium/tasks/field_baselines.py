"""What a network of fields has to beat: interpolation and the delta method, each constrained too.

Bilinear interpolation is a weak opponent. The delta method knows the fine pattern of the training
period, and with the constraint it is the strongest guess that needs no training.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.fields import pieces
from convarium.data.grids.pairs import FieldPairs
from convarium.layers import ConstraintKind, InterpolationKind
from convarium.models import Interpolator

_METHODS: Final[dict[str, tuple[InterpolationKind, ConstraintKind, bool]]] = {
    "nearest": ("nearest", "none", False),
    "bilinear": ("linear", "none", False),
    "bicubic": ("cubic", "none", False),
    "bilinear + constraint": ("linear", "additive", False),
    "bicubic + constraint": ("cubic", "additive", False),
    "delta": ("linear", "none", True),
    "delta + constraint": ("linear", "additive", True),
}


def baseline_fields(
    pairs: FieldPairs,
    ids: NDArray[np.int64],
    climatology: Climatology | None = None,
    *,
    wrap: bool | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The fine targets of some times by each method that needs no training.

    Args:
        pairs: coarse and fine fields.
        ids: numbers of the times.
        climatology: of the training times, for the delta method; None leaves it out.
        wrap: whether columns go all the way around; None asks the grid.

    Returns:
        By method, (n, T, H, W).
    """
    around = pairs.wrap if wrap is None else wrap
    found: dict[str, list[NDArray[np.float32]]] = {}
    for chosen in pieces(ids):
        batch = pairs.batch(chosen)
        x = batch.x[:, : len(pairs.targets)]
        delta = None
        if climatology is not None:
            coarse = pairs.read(chosen)[0][:, : len(pairs.targets)]
            months = pairs.fine.months[chosen]
            delta = torch.from_numpy(climatology.delta(coarse, months, wrap=around))
        for name, (kind, constraint, from_delta) in _METHODS.items():
            if from_delta and delta is None:
                continue
            method = Interpolator(pairs.factor, kind=kind, constraint=constraint, wrap=around)
            y = method(x, batch.mask, delta if from_delta else None, batch.weights)
            found.setdefault(name, []).append(y.numpy())
    return {name: np.concatenate(fields) for name, fields in found.items()}
