"""Pools by name, and the global pool in front of a head."""

from __future__ import annotations

from typing import Final, Literal, get_args

from torch import nn

from convarium.errors import OptionError, did_you_mean
from convarium.layers.rank import torch_layers

Pool = Literal["max", "avg", "none"]

_KINDS: Final[tuple[str, ...]] = get_args(Pool)


def make_pool(kind: Pool, spatial_dims: int, size: int = 2) -> nn.Module:
    """A new pool over windows of `size` positions along each axis that do not overlap.

    Shape:
        (B, C, *S) -> (B, C, *floor(S / size))

    Raises:
        OptionError: no pool has this name.

    Example:
        >>> make_pool("avg", spatial_dims=1)
        AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))
    """
    rank = torch_layers(spatial_dims)
    if kind == "max":
        return rank.max_pool(size)
    if kind == "avg":
        return rank.avg_pool(size)
    if kind == "none":
        return nn.Identity()
    raise OptionError(
        f"pool (={kind!r}) must be one of {', '.join(_KINDS)}." + did_you_mean(str(kind), _KINDS)
    )


def global_average(spatial_dims: int, dropout: float = 0.0) -> nn.Sequential:
    """The mean over all positions, as a vector, with dropout.

    Shape:
        (B, C, *S) -> (B, C)
    """
    rank = torch_layers(spatial_dims)
    return nn.Sequential(rank.adaptive_avg_pool(1), nn.Flatten(1), nn.Dropout(dropout))
