"""What a network of fields has to beat: interpolation and the delta method, each constrained too.

Bilinear interpolation is a weak opponent. The delta method knows the fine pattern of the training
period, and with the constraint it is the strongest guess that needs no training. Of what is never
below 0, such as precipitation, blocks are scaled too, and the delta method has a ratio of fields. A
model's fields are corrected by quantile mapping besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data.grids.climatology import Climatology
from convarium.data.grids.fields import Fields, pieces
from convarium.data.grids.pairs import FieldPairs
from convarium.data.grids.quantile_maps import QuantileMaps, fit_quantile_maps
from convarium.data.grids.signs import never_negative
from convarium.layers import ConstraintKind, InterpolationKind
from convarium.models import Interpolator

_Begun = tuple[Tensor, Tensor | None]  # coarse fields for the constraint, and a fine one
_Method = tuple[InterpolationKind, ConstraintKind, str]

DELTA: Final = "delta + constraint"
_METHODS: Final[dict[str, _Method]] = {
    "nearest": ("nearest", "none", ""),
    "bilinear": ("linear", "none", ""),
    "bicubic": ("cubic", "none", ""),
    "bilinear + constraint": ("linear", "additive", ""),
    "bicubic + constraint": ("cubic", "additive", ""),
    "delta": ("linear", "none", "delta"),
    DELTA: ("linear", "additive", "delta"),
}
_SCALED: Final[dict[str, _Method]] = {
    "bilinear scaled": ("linear", "multiplicative", ""),
    "ratio scaled": ("linear", "multiplicative", "ratio"),
}
_MAPPED: Final[dict[str, _Method]] = {
    "quantile mapping": ("linear", "none", "mapped"),
    "quantile mapping + constraint": ("linear", "additive", "mapped"),
}
_MAPPED_SCALED: Final[dict[str, _Method]] = {
    "quantile mapping scaled": ("linear", "multiplicative", "mapped"),
}


def baseline_fields(
    pairs: FieldPairs,
    ids: NDArray[np.int64],
    climatology: Climatology | None = None,
    *,
    wrap: bool | None = None,
    train: NDArray[np.int64] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The fine targets of some times by each method that needs no training.

    Args:
        pairs: coarse and fine fields.
        ids: numbers of the times.
        climatology: of the training times, for the delta method; None leaves it out.
        wrap: whether columns go all the way around; None asks the grid.
        train: numbers of the training times, for quantile mapping of a model's fields; None leaves
            it out.

    Returns:
        By method, (n, T, H, W).
    """
    around = pairs.wrap if wrap is None else wrap
    bounded = never_negative(pairs)
    mapped: tuple[Tensor, Tensor] | None = None
    methods = _METHODS | (_SCALED if bounded else {})
    if climatology is None:
        methods = {name: each for name, each in methods.items() if not each[2]}
    elif train is not None and pairs.coarse is not None:
        maps = fit_quantile_maps(pairs, train, climatology, bounded=bounded)
        mapped = _mapped(maps, pairs.coarse, pairs.fine.months, ids, around)
        methods |= _MAPPED_SCALED if bounded else _MAPPED
    return _made(pairs, ids, climatology, methods, mapped, around)


def delta_fields(
    pairs: FieldPairs, ids: NDArray[np.int64], climatology: Climatology
) -> NDArray[np.float32]:
    """The fine targets of some times by the delta method with the constraint, (n, T, H, W)."""
    chosen = {DELTA: _METHODS[DELTA]}
    return _made(pairs, ids, climatology, chosen, None, pairs.wrap)[DELTA]


def _made(
    pairs: FieldPairs,
    ids: NDArray[np.int64],
    climatology: Climatology | None,
    methods: Mapping[str, _Method],
    mapped: tuple[Tensor, Tensor] | None,
    around: bool,
) -> dict[str, NDArray[np.float32]]:
    """By method, (n, T, H, W); `mapped` are coarse and fine fields of quantile mapping."""
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in methods}
    for places in pieces(np.arange(len(ids))):
        chosen = ids[places]
        batch = pairs.batch(chosen)
        begun: dict[str, _Begun] = {"": (batch.x[:, : len(pairs.targets)], None)}
        coarse, months = pairs.read(chosen)[0][:, : len(pairs.targets)], pairs.fine.months[chosen]
        for start in {each[2] for each in methods.values()} - {"", "mapped"}:
            own = cast("Climatology", climatology)
            way = own.delta if start == "delta" else own.ratio
            begun[start] = (begun[""][0], torch.from_numpy(way(coarse, months, wrap=around)))
        if mapped is not None:
            begun["mapped"] = mapped[0][places], mapped[1][places]
        for name, (kind, constraint, start) in methods.items():
            method = Interpolator(pairs.factor, kind=kind, constraint=constraint, wrap=around)
            x, fine = begun[start]
            if constraint == "multiplicative":  # packing leaves values just below 0
                x = x.clamp(min=0)
            found[name].append(method(x, batch.mask, fine, batch.weights).numpy())
    return {name: np.concatenate(fields) for name, fields in found.items()}


def _mapped(
    maps: QuantileMaps,
    model: Fields,
    months: NDArray[np.int64],
    ids: NDArray[np.int64],
    wrap: bool,
) -> tuple[Tensor, Tensor]:
    """Coarse fields of some times whose quantiles are mapped, and the delta method's of them."""
    x = maps.corrected(model.read(ids)[:, : maps.given.shape[2]], months[ids])
    way = maps.observed.ratio if maps.bounded else maps.observed.delta
    fine = torch.from_numpy(way(x, months[ids], wrap=wrap))
    return torch.from_numpy(np.nan_to_num(x)), fine
