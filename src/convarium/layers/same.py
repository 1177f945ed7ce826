"""Convolutions with TF-SAME padding, which depends on the size of the input.

    total = max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0),    left = total // 2

along each axis. The output has ceil(n / s) positions; with a stride, the padding is uneven for most
sizes, so the windows stand elsewhere than those of a convolution with fixed padding.

References:
    "Padding" in the documentation of `tf.nn.convolution`: the padding of the networks that were
    trained with TensorFlow (EfficientNet-Lite, MobileNet).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import pad


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


class SameConv1d(nn.Conv1d):
    """`nn.Conv1d` with TF-SAME padding: (B, C, L) -> (B, C', ceil(L / stride))."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad `x` by its size and convolve."""
        return super().forward(
            pad(x, same_padding(x.shape[2:], self.kernel_size, self.stride, self.dilation))
        )


class SameConv2d(nn.Conv2d):
    """`nn.Conv2d` with TF-SAME padding: (B, C, H, W) -> (B, C', ceil(H / s), ceil(W / s))."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad `x` by its size and convolve."""
        return super().forward(
            pad(x, same_padding(x.shape[2:], self.kernel_size, self.stride, self.dilation))
        )


class SameConv3d(nn.Conv3d):
    """`nn.Conv3d` with TF-SAME padding: every axis becomes ceil(n / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad `x` by its size and convolve."""
        return super().forward(
            pad(x, same_padding(x.shape[2:], self.kernel_size, self.stride, self.dilation))
        )
