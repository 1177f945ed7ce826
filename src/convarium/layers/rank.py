"""The one place where an integer, `spatial_dims`, becomes torch's own layer classes.

    spatial_dims   maps              a batch of them
    1              signals, series   (B, C, L)
    2              images            (B, C, H, W)
    3              volumes, videos   (B, C, D, H, W)

Everywhere else the shape is written `(B, C, *S)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import nn

from convarium.errors import OptionError
from convarium.layers.same import SameConv1d, SameConv2d, SameConv3d


@dataclass(frozen=True)
class TorchLayers:
    """Torch's layer classes of one rank; `same_conv` is its convolution with TF-SAME padding."""

    conv: type[nn.Conv1d | nn.Conv2d | nn.Conv3d]
    same_conv: type[SameConv1d | SameConv2d | SameConv3d]
    batch_norm: type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]
    instance_norm: type[nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d]
    max_pool: type[nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d]
    avg_pool: type[nn.AvgPool1d | nn.AvgPool2d | nn.AvgPool3d]
    adaptive_avg_pool: type[nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool3d]
    adaptive_max_pool: type[nn.AdaptiveMaxPool1d | nn.AdaptiveMaxPool2d | nn.AdaptiveMaxPool3d]
    zero_pad: type[nn.ZeroPad1d | nn.ZeroPad2d | nn.ZeroPad3d]
    circular_pad: type[nn.CircularPad1d | nn.CircularPad2d | nn.CircularPad3d]
    channel_dropout: type[nn.Dropout1d | nn.Dropout2d | nn.Dropout3d]


_TABLE: Final = {
    1: TorchLayers(
        conv=nn.Conv1d,
        same_conv=SameConv1d,
        batch_norm=nn.BatchNorm1d,
        instance_norm=nn.InstanceNorm1d,
        max_pool=nn.MaxPool1d,
        avg_pool=nn.AvgPool1d,
        adaptive_avg_pool=nn.AdaptiveAvgPool1d,
        adaptive_max_pool=nn.AdaptiveMaxPool1d,
        zero_pad=nn.ZeroPad1d,
        circular_pad=nn.CircularPad1d,
        channel_dropout=nn.Dropout1d,
    ),
    2: TorchLayers(
        conv=nn.Conv2d,
        same_conv=SameConv2d,
        batch_norm=nn.BatchNorm2d,
        instance_norm=nn.InstanceNorm2d,
        max_pool=nn.MaxPool2d,
        avg_pool=nn.AvgPool2d,
        adaptive_avg_pool=nn.AdaptiveAvgPool2d,
        adaptive_max_pool=nn.AdaptiveMaxPool2d,
        zero_pad=nn.ZeroPad2d,
        circular_pad=nn.CircularPad2d,
        channel_dropout=nn.Dropout2d,
    ),
    3: TorchLayers(
        conv=nn.Conv3d,
        same_conv=SameConv3d,
        batch_norm=nn.BatchNorm3d,
        instance_norm=nn.InstanceNorm3d,
        max_pool=nn.MaxPool3d,
        avg_pool=nn.AvgPool3d,
        adaptive_avg_pool=nn.AdaptiveAvgPool3d,
        adaptive_max_pool=nn.AdaptiveMaxPool3d,
        zero_pad=nn.ZeroPad3d,
        circular_pad=nn.CircularPad3d,
        channel_dropout=nn.Dropout3d,
    ),
}

CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS: Final = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)


def torch_layers(spatial_dims: int) -> TorchLayers:
    """Torch's layer classes for maps with `spatial_dims` axes behind batch and channels.

    Raises:
        OptionError: `spatial_dims` is not 1, 2 or 3.

    Example:
        >>> torch_layers(2).conv.__name__, torch_layers(1).max_pool.__name__
        ('Conv2d', 'MaxPool1d')
    """
    if spatial_dims not in _TABLE:
        raise OptionError(
            f"spatial_dims (={spatial_dims!r}) must be 1 (signals), 2 (images) or 3 (volumes)."
        )
    return _TABLE[spatial_dims]


def fits(module: nn.Module, size: Sequence[int], smallest: int) -> bool:
    """Whether a map of `size` has the `smallest` number of positions wherever a kernel needs them.

    Along an axis on which every convolution and pool reads one position, one is enough.

    Example:
        >>> layer = nn.Conv2d(1, 1, (1, 5))
        >>> fits(layer, (1, 5), smallest=5), fits(layer, (5, 1), smallest=5)
        (True, False)
    """

    def kernel(axis: int) -> int:
        sizes = (getattr(layer, "kernel_size", 1) for layer in module.modules())
        return max(size[axis] if isinstance(size, tuple) else size for size in sizes)

    return all(n >= smallest or (n > 0 and kernel(axis) == 1) for axis, n in enumerate(size))
