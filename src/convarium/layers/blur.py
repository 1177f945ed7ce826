"""Anti-aliased downsampling: blur, then take every other position."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from convarium.errors import OptionError
from convarium.layers.rank import torch_layers


class BlurPool(nn.Module):
    """A binomial low-pass filter with a stride, on each channel by itself.

    A stride alone folds high frequencies into low ones, so that a shift of the input by one
    position can change every output; the filter removes most of what would fold. A constant map
    stays what it is: the filter sums to 1 and the border is reflected. An axis of one position has
    nothing to blur and stays, too.

    Args:
        spatial_dims: 1, 2 or 3.
        size: taps along each axis, 2 or more: row `size - 1` of Pascal's triangle.
        stride: step along each axis.

    Shape:
        (B, C, *S) -> (B, C, *ceil(S / stride)), every axis 1 or longer than size // 2

    Raises:
        OptionError: fewer than two taps, or a stride below 1.

    Example:
        >>> x = torch.tensor([[[1.0, -1.0, 1.0, -1.0, 1.0, -1.0]]])
        >>> BlurPool(1)(x).tolist()
        [[[0.0, 0.0, 0.0]]]

    References:
        Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486,
        section 3.2.
    """

    def __init__(self, spatial_dims: int, size: int = 3, stride: int = 2) -> None:
        super().__init__()
        torch_layers(spatial_dims)
        if size < 2 or stride < 1:
            raise OptionError(
                f"size (={size}) of a blur must be 2 or more, and stride (={stride}) 1 or more."
            )
        self.spatial_dims, self.size, self.stride = spatial_dims, size, stride
        taps = [math.comb(size - 1, k) / 2 ** (size - 1) for k in range(size)]
        kernel = torch.tensor(taps, dtype=torch.float32)
        for _ in range(spatial_dims - 1):
            kernel = kernel[..., None] * torch.tensor(taps, dtype=torch.float32)
        self.register_buffer("kernel", kernel[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Blur and subsample each channel of `x`."""
        kernel = cast(Tensor, self.kernel).to(x.dtype)
        sides: list[int] = []
        for axis in range(2, x.ndim):
            single = x.shape[axis] == 1
            kernel = kernel.sum(axis, keepdim=True) if single else kernel
            sides = [*((0, 0) if single else ((self.size - 1) // 2, self.size // 2)), *sides]
        kernel = kernel.expand(x.shape[1], -1, *kernel.shape[2:])
        if any(sides):
            x = functional.pad(x, sides, mode="reflect")
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[self.spatial_dims - 1]
        return convolve(x, kernel, stride=self.stride, groups=x.shape[1])

    def extra_repr(self) -> str:
        """Taps and stride, for `print`."""
        return f"size={self.size}, stride={self.stride}"
