"""Normalisations by name.

    "batch"      over the batch and all positions, per channel; running averages in eval mode
    "group"      over all positions and the channels of one of gcd(32, C) groups, per sample; where
                 that is one channel a group (C a power of two up to 32), it is "instance"
    "wide_group" the same with two channels a group or more: C / 2 groups there
    "layer"      over the channels of one position, per sample (`ChannelNorm`)
    "instance"   over all positions, per sample and channel
    "none"       nothing; the convolution before it then has a bias

References:
    Ioffe and Szegedy 2015, arXiv:1502.03167; Wu and He 2018, arXiv:1803.08494;
    Ba et al. 2016, arXiv:1607.06450; Ulyanov et al. 2016, arXiv:1607.08022.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

from torch import Tensor, nn

from convarium.errors import OptionError, did_you_mean
from convarium.layers.rank import torch_layers

Norm = Literal["batch", "group", "wide_group", "layer", "instance", "none"]

_KINDS: Final[tuple[str, ...]] = get_args(Norm)
_GROUPS = 32


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of a map.

    Shape:
        (B, C, *S) -> (B, C, *S)
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position of `x`."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def make_norm(
    kind: Norm, channels: int, spatial_dims: int, *, eps: float = 1e-5, momentum: float = 0.1
) -> nn.Module:
    """A new normalisation of maps with `channels` channels, with a learned scale and shift.

    Args:
        kind: see the top of this file.
        channels: of the map.
        spatial_dims: 1, 2 or 3.
        eps: added to the variance.
        momentum: weight of the newest batch in batch norm's running averages.

    Raises:
        OptionError: no norm has this name.

    Example:
        >>> make_norm("group", channels=48, spatial_dims=2).num_groups
        16
    """
    rank = torch_layers(spatial_dims)
    if kind == "batch":
        return rank.batch_norm(channels, eps=eps, momentum=momentum)
    if kind in ("group", "wide_group"):
        groups = math.gcd(_GROUPS, channels)
        if kind == "wide_group" and groups == channels > 1:
            groups //= 2
        return nn.GroupNorm(groups, channels, eps=eps)
    if kind == "layer":
        return ChannelNorm(channels, eps=eps)
    if kind == "instance":
        return rank.instance_norm(channels, eps=eps, affine=True)
    if kind == "none":
        return nn.Identity()
    raise OptionError(
        f"norm (={kind!r}) must be one of {', '.join(_KINDS)}." + did_you_mean(str(kind), _KINDS)
    )
