"""Convolutions with TF-SAME padding, which depends on the size of the input.

    total = max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0),    left = total // 2

along each axis. The output has ceil(n / s) positions; with a stride, the padding is uneven for most
sizes, so the windows stand elsewhere than those of a convolution with fixed padding.

References:
    "Padding" in the documentation of `tf.nn.convolution`: the padding of the networks that were
    trained with TensorFlow (EfficientNet-Lite, MobileNet).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, pad

_Call = Callable[..., Tensor]


def same_padding(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """Zeros before and after each axis, last axis first, as `torch.nn.functional.pad` takes them.

    Example:
        >>> same_padding((7, 8), kernel_size=(3, 3), stride=(2, 2), dilation=(1, 1))
        [0, 1, 1, 1]
    """
    sides: list[int] = []
    for n, k, s, d in zip(size, kernel_size, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        sides = [total // 2, total - total // 2, *sides]
    return sides


def _convolve(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor, call: _Call) -> Tensor:
    """The layer's convolution, padded by the size of `x`; uneven padding is a step of its own."""
    sides = same_padding(x.shape[2:], layer.kernel_size, layer.stride, layer.dilation)
    even = sides[::2] == sides[1::2]
    padding = sides[::-2] if even else [0] * len(layer.kernel_size)
    x = x if even else pad(x, sides)
    return call(x, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)


class SameConv1d(nn.Conv1d):
    """`nn.Conv1d` with TF-SAME padding: (B, C, L) -> (B, C', ceil(L / stride))."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad `x` by its size and convolve."""
        return _convolve(self, x, conv1d)


class SameConv2d(nn.Conv2d):
    """`nn.Conv2d` with TF-SAME padding: (B, C, H, W) -> (B, C', ceil(H / s), ceil(W / s))."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad `x` by its size and convolve."""
        return _convolve(self, x, conv2d)


class SameConv3d(nn.Conv3d):
    """`nn.Conv3d` with TF-SAME padding: every axis becomes ceil(n / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad `x` by its size and convolve."""
        return _convolve(self, x, conv3d)
