"""A linear map for each coarse cell, beside what a network of fields learns for all of them.

    head (B, P T, *F) + W_p [x around p] + b_p        for the fine cells of the coarse cell p

The network learns what holds everywhere, from all cells together; what is left is fitted place by
place, by ridge regression in closed form. A hundred fields are enough for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.layers import Level, LocalLinear, PixelShuffle, PixelUnshuffle
from convarium.models.options import at_least

if TYPE_CHECKING:
    from convarium.models.fields import FieldToField

_PIECE = 64  # fields that are worked out together


class Places(nn.Module):
    """A linear map for each coarse cell, and its fine cells from what that gives.

    Args:
        cells: coarse cells along each axis, or None where that is not known.
        in_channels: coarse fields.
        out_channels: fine fields.
        factor: fine cells per coarse one, one number an axis.
        kernel_size: coarse cells along each axis that a map reads.
        wrap: the last axis is a circle.

    Shape:
        (B, in_channels, *S) -> (B, out_channels, *(S factor))

    Raises:
        OptionError: it is not known how many cells there are.
    """

    def __init__(
        self,
        cells: Sequence[int] | None,
        in_channels: int,
        out_channels: int,
        factor: Sequence[int],
        kernel_size: int,
        *,
        wrap: bool,
    ) -> None:
        super().__init__()
        at_least(0, cell_kernel=kernel_size)
        if cells is None:
            raise OptionError(
                f"cell_kernel (={kernel_size}) needs cells, the coarse cells along each axis."
            )
        outputs = out_channels * prod(factor)
        self.local = LocalLinear(cells, in_channels, outputs, kernel_size, wrap=wrap)
        self.shuffle = PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C', *F)."""
        y: Tensor = self.shuffle(self.local(x))
        return y


@torch.no_grad()
def fit_places(
    network: FieldToField,
    x: Tensor,
    y: Tensor,
    *,
    mask: Tensor | None = None,
    fine: Tensor | None = None,
    weights: Tensor | None = None,
    penalty: float = 30.0,
    rounds: int = 0,
    counts: Tensor | None = None,
    level: Level | None = None,
    times: Tensor | None = None,
) -> None:
    """Fit the maps of a network's places to what the rest of it leaves; see `LocalLinear.fit`.

    The network is left in evaluation mode: in training the places take no part.

    Args:
        network: of values, built with `cells` and `cell_kernel`, without a constraint or with the
            additive one; its other weights stay.
        x: coarse fields of the training times.
        y: the fine fields; missing cells count as met.
        mask: True where the coarse fields are known; None is everywhere.
        fine: the fine fields that the network reads.
        weights: of the fine cells in block means.
        penalty: as much as so many times at which nothing is left.
        rounds: how often the penalty is learned anew from all places together.
        counts: how much each time counts, (B,); None is 1.
        level: how large what is left on average is, and how long it lasts; None is 1 / penalty,
            for ever.
        times: rising, (B,); None is one after the other.

    Shape:
        x (B, C, *S), mask (B, *S) or (B, C, *S), y (B, T, *F), fine (B, fine_channels, *F)

    Raises:
        OptionError: the network has no such maps, or another constraint, or distributions.
    """
    read, left = left_to_places(network, x, y, mask=mask, fine=fine, weights=weights)
    fit = local_of(network).fit
    fit(read, left, penalty=penalty, rounds=rounds, counts=counts, level=level, times=times)


@torch.no_grad()
def left_to_places(
    network: FieldToField,
    x: Tensor,
    y: Tensor,
    *,
    mask: Tensor | None = None,
    fine: Tensor | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What the maps of a network's places read and should give; they are set to 0.

    The arguments are those of `fit_places`.

    Shape:
        -> (B, C, *S), (B, T product(factor), *S)

    Raises:
        OptionError: the network has no such maps, or another constraint, or distributions.
    """
    local = local_of(network)
    nn.init.zeros_(local.weight)
    nn.init.zeros_(local.bias)
    w = None if weights is None else weights.expand(y.shape)
    network.eval()
    found = []
    for start in range(0, len(x), _PIECE):
        piece = slice(start, start + _PIECE)
        known, read, counted = (None if z is None else z[piece] for z in (mask, fine, w))
        found.append(network(x[piece], known, read, counted))
    std = network.writer.std.view(1, -1, *[1] * (y.ndim - 2))
    left = torch.nan_to_num((y - torch.cat(found)) / std)
    return network.reader.normalised(x, mask), PixelUnshuffle(network.factor)(left)


def local_of(network: FieldToField) -> LocalLinear:
    """The maps of a network's places.

    Raises:
        OptionError: it has none that can be fitted.
    """
    kind = network.writer.constrain.kind
    if network.places is None or len(network.parts) > 1 or kind not in ("none", "additive"):
        raise OptionError(
            "Places are fitted in networks of values that have cell_kernel above 0 and the "
            f"constraint 'additive' or 'none'; here cell_kernel (="
            f"{network.config['cell_kernel']}), parts (={network.config['parts']!r}) and "
            f"constraint (={kind!r})."
        )
    return network.places.local
