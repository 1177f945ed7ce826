"""What a network of fields is trained with: errors by area over known cells, and a soft penalty.

    value      mean square (v - y)^2, or mean size |v - y|
    normal     CRPS of the normal distribution with mean and spread, which is in the field's unit
    quantiles  CRPS by quantiles: twice the mean quantile loss, by the levels' distances

CRPS is at its best where the distribution is right, and unlike a likelihood it forgives a spread
near 0. All are in the target's deviations, so that fields of different units count alike.

References:
    Gneiting, Raftery 2007, "Strictly proper scoring rules, prediction, and estimation", Journal of
    the American Statistical Association 102, eq. 21.
    Harder et al. 2023, arXiv:2208.05424, section 3 (soft constraining).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from convarium.errors import OptionError, did_you_mean
from convarium.layers import conservation_penalty
from convarium.models import FieldToField
from convarium.tasks.field_distributions import level_weights

FieldLoss = Literal["mse", "mae"]

_KINDS: Final[tuple[str, ...]] = get_args(FieldLoss)


def field_loss(
    network: FieldToField,
    outputs: Tensor,
    y: Tensor,
    *,
    weights: Tensor | None = None,
    kind: FieldLoss = "mse",
) -> Tensor:
    """The mean loss over the known cells of a batch, by its parts.

    Args:
        network: says which parts the outputs have, and knows the targets' deviations.
        outputs: what it gave.
        y: the fine fields; missing cells are NaN.
        weights: of the cells, of a shape that stretches to that of `y`; None is all alike.
        kind: of a network of values; distributions have their CRPS.

    Shape:
        (B, P T, *F), (B, T, *F) -> ()

    Raises:
        OptionError: no loss has this name.

    Example:
        >>> from convarium.models import create
        >>> network = create("espcn", factor=2)
        >>> y = torch.tensor([[[[1.0, math.nan]]]])
        >>> field_loss(network, torch.tensor([[[[3.0, 5.0]]]]), y).item()
        4.0
    """
    std = network.writer.std
    return loss_of_parts(network.parts, outputs, y, std, weights=weights, kind=kind)


def loss_of_parts(
    names: Sequence[str],
    outputs: Tensor,
    y: Tensor,
    std: Tensor,
    *,
    weights: Tensor | None = None,
    kind: FieldLoss = "mse",
) -> Tensor:
    """`field_loss` by the names of the parts and the targets' deviations (T,)."""
    if kind not in _KINDS:
        raise OptionError(
            f"kind (={kind!r}) must be one of {', '.join(_KINDS)}."
            + did_you_mean(str(kind), _KINDS)
        )
    std = std.view(1, 1, -1, *[1] * (y.ndim - 2))
    parts = outputs.unflatten(1, (-1, y.shape[1])) / std  # type: ignore[no-untyped-call]
    known = ~torch.isnan(y)
    truth = torch.where(known, y, 0.0).unsqueeze(1) / std
    if len(names) == 1:
        apart = parts - truth
        losses = apart.square() if kind == "mse" else apart.abs()
    elif names[-1] == "spread":
        losses = _normal_crps(truth[:, 0], parts[:, 0], parts[:, 1]).unsqueeze(1)
    else:
        given = [float(name[1:]) for name in names]
        shape = (-1, *[1] * (y.ndim - 1))
        levels, apart = parts.new_tensor(given).view(shape), truth - parts
        losses = 2 * torch.maximum(levels * apart, (levels - 1) * apart)
        losses = losses * len(given) * parts.new_tensor(level_weights(given)).view(shape)
    counted = known.to(y.dtype) if weights is None else known * weights
    loss: Tensor = (losses.mean(1) * counted).sum() / counted.sum()
    return loss


def soft_penalty(
    network: FieldToField,
    outputs: Tensor,
    x: Tensor,
    *,
    weights: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """How far the block means are from the coarse fields, in the targets' variances.

    Args:
        network: says where the fields are among the outputs.
        outputs: what it gave.
        x: the coarse fields that it read.
        weights: of the fine cells in block means.
        mask: True where the coarse fields are known.

    Shape:
        (B, P T, *F), (B, C, *S) -> ()
    """
    return apart_from_coarse(network.middle(outputs), x, network.writer.std, weights, mask)


def apart_from_coarse(
    y: Tensor, x: Tensor, std: Tensor, weights: Tensor | None, mask: Tensor | None
) -> Tensor:
    """`soft_penalty` of the fields themselves (B, T, *F), by the targets' deviations (T,)."""
    count, std = y.shape[1], std.view(1, -1, *[1] * (x.ndim - 2))
    factor = [fine // coarse for fine, coarse in zip(y.shape[2:], x.shape[2:], strict=True)]
    own = mask if mask is None or mask.ndim < x.ndim else mask[:, :count]
    return conservation_penalty(y / std, x[:, :count] / std, factor, weights, own)


def _normal_crps(y: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """The closed form of each cell."""
    z = (y - mean) / spread
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(z)
    crps: Tensor = spread * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return crps
