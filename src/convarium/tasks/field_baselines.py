"""What a network of fields has to beat: interpolation and the delta method, each constrained too.

Bilinear interpolation is a weak opponent. The delta method knows the fine pattern of the training
period, and with the constraint it is the strongest guess that needs no training. Of what is never
below 0, such as precipitation, blocks are scaled too, and the delta method has a ratio of fields.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.fields import pieces
from convarium.data.grids.pairs import FieldPairs
from convarium.data.grids.signs import never_negative
from convarium.layers import ConstraintKind, InterpolationKind
from convarium.models import Interpolator

DELTA: Final = "delta + constraint"
_METHODS: Final[dict[str, tuple[InterpolationKind, ConstraintKind, str]]] = {
    "nearest": ("nearest", "none", ""),
    "bilinear": ("linear", "none", ""),
    "bicubic": ("cubic", "none", ""),
    "bilinear + constraint": ("linear", "additive", ""),
    "bicubic + constraint": ("cubic", "additive", ""),
    "delta": ("linear", "none", "delta"),
    DELTA: ("linear", "additive", "delta"),
}
_SCALED: Final[dict[str, tuple[InterpolationKind, ConstraintKind, str]]] = {
    "bilinear scaled": ("linear", "multiplicative", ""),
    "ratio scaled": ("linear", "multiplicative", "ratio"),
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
    methods = _METHODS | (_SCALED if never_negative(pairs) else {})
    if climatology is None:
        methods = {name: each for name, each in methods.items() if not each[2]}
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in methods}
    for chosen in pieces(ids):
        batch = pairs.batch(chosen)
        x = batch.x[:, : len(pairs.targets)]
        begun: dict[str, Tensor | None] = {"": None}
        if climatology is not None:
            coarse = pairs.read(chosen)[0][:, : len(pairs.targets)]
            months = pairs.fine.months[chosen]
            for start in {each[2] for each in methods.values()} - {""}:
                way = climatology.delta if start == "delta" else climatology.ratio
                begun[start] = torch.from_numpy(way(coarse, months, wrap=around))
        for name, (kind, constraint, start) in methods.items():
            method = Interpolator(pairs.factor, kind=kind, constraint=constraint, wrap=around)
            y = method(x, batch.mask, begun[start], batch.weights)
            found[name].append(y.numpy())
    return {name: np.concatenate(fields) for name, fields in found.items()}
