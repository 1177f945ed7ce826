"""From coarse maps to finer ones: pixel shuffle, resized maps with a convolution, interpolation.

    shuffle    conv C -> C r1 r2 -> each group of r1 r2 channels becomes blocks of r1 x r2
    resize     nearest x r -> conv C -> C

Both go in steps: a factor of 8 is three times 2, and (2, 4) is (2, 2) and then (1, 2). A shuffled
map may show a pattern of the size of its blocks, because each position in them has filters of its
own; a resized one does not. The steps between the maps have no activation, as in the papers.

References:
    Shi et al. 2016, "Real-time single image and video super-resolution using an efficient sub-pixel
    convolutional neural network", arXiv:1609.05158, section 2.2 and eq. 4.
    Odena, Dumoulin, Olah 2016, "Deconvolution and checkerboard artifacts", Distill (resize).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Final, Literal, get_args

from torch import Tensor, nn
from torch.nn.functional import interpolate as resize

from convarium.errors import OptionError, ShapeError, did_you_mean
from convarium.layers.rank import torch_layers
from convarium.layers.wrapping import field_conv

UpsamplingKind = Literal["shuffle", "resize"]
InterpolationKind = Literal["nearest", "linear", "cubic"]

_LINEAR: Final = {1: "linear", 2: "bilinear", 3: "trilinear"}
_READ: Final = {"nearest": 0, "linear": 1, "cubic": 2}  # cells that are read beside a cell


class PixelShuffle(nn.Module):
    """Channels become positions; the factor may differ from axis to axis.

    Args:
        factor: new positions per old one along each axis.

    Shape:
        (B, C prod(factor), *S) -> (B, C, *(S factor))

    Raises:
        ShapeError: the channels are no multiple of the positions of a block.

    Example:
        >>> import torch
        >>> PixelShuffle((1, 2))(torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])).tolist()
        [[[[1.0, 3.0, 2.0, 4.0]]]]
    """

    def __init__(self, factor: Sequence[int]) -> None:
        super().__init__()
        self.factor = tuple(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C prod(factor), *S) to (B, C, *(S factor))."""
        batch, channels, *sizes = x.shape
        axes, block = len(sizes), prod(self.factor)
        if channels % block or axes != len(self.factor):
            raise ShapeError(
                f"A map {tuple(x.shape)} cannot be shuffled by {self.factor}: it needs {axes} "
                f"factors, and channels in groups of {block}."
            )
        x = x.reshape(batch, channels // block, *self.factor, *sizes)
        order = [n for k in range(axes) for n in (2 + axes + k, 2 + k)]
        fine = [n * r for n, r in zip(sizes, self.factor, strict=True)]
        return x.permute(0, 1, *order).reshape(batch, channels // block, *fine)

    def extra_repr(self) -> str:
        """The factor."""
        return f"factor={self.factor}"


class PixelUnshuffle(nn.Module):
    """Positions become channels: the inverse of `PixelShuffle`.

    Args:
        factor: positions of a block along each axis.

    Shape:
        (B, C, *(S factor)) -> (B, C prod(factor), *S)

    Example:
        >>> import torch
        >>> x = torch.randn(2, 3, 4, 6)
        >>> torch.equal(PixelShuffle((2, 3))(PixelUnshuffle((2, 3))(x)), x)
        True
    """

    def __init__(self, factor: Sequence[int]) -> None:
        super().__init__()
        self.factor = tuple(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *(S factor)) to (B, C prod(factor), *S)."""
        batch, channels, *fine = x.shape
        axes = len(fine)
        sizes = [n // r for n, r in zip(fine, self.factor, strict=True)]
        split = [n for pair in zip(sizes, self.factor, strict=True) for n in pair]
        inner, outer = range(3, 3 + 2 * axes, 2), range(2, 2 + 2 * axes, 2)
        x = x.reshape(batch, channels, *split).permute(0, 1, *inner, *outer)
        return x.reshape(batch, channels * prod(self.factor), *sizes)

    def extra_repr(self) -> str:
        """The factor."""
        return f"factor={self.factor}"


class Upsampling(nn.Sequential):
    """A finer map with as many channels, learned step by step.

    Args:
        spatial_dims: 1, 2 or 3.
        channels: of the map.
        factor: new positions per old one along each axis.
        kind: "shuffle" or "resize"; see the top of this file.
        wrap: whether the last axis is a circle; see `field_conv`.

    Shape:
        (B, C, *S) -> (B, C, *(S factor))

    Raises:
        OptionError: no upsampling has this name.

    Example:
        >>> import torch
        >>> Upsampling(2, 8, (2, 4))(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 8, 10, 24])
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        factor: Sequence[int],
        kind: UpsamplingKind = "shuffle",
        *,
        wrap: bool = False,
    ) -> None:
        super().__init__()
        kinds = get_args(UpsamplingKind)
        if kind not in kinds:
            raise OptionError(
                f"upsampling (={kind!r}) must be one of {', '.join(kinds)}."
                + did_you_mean(str(kind), kinds)
            )
        for step in upsampling_steps(factor):
            wide = channels * prod(step) if kind == "shuffle" else channels
            conv = field_conv(spatial_dims, channels, wide, 3, wrap=wrap)
            if kind == "shuffle":
                self.append(conv).append(PixelShuffle(step))
            else:
                scale = tuple(float(r) for r in step)
                self.append(nn.Upsample(scale_factor=scale, mode="nearest")).append(conv)


def upsampling_steps(factor: Sequence[int]) -> list[tuple[int, ...]]:
    """A factor as steps of 2 where that divides, the rest at once.

    Example:
        >>> upsampling_steps((2, 4)), upsampling_steps((3, 6)), upsampling_steps((1, 1))
        ([(2, 2), (1, 2)], [(3, 2), (1, 3)], [])
    """
    left, steps = list(factor), []
    while max(left) > 1:
        step = tuple(2 if n % 2 == 0 else n for n in left)
        left = [n // r for n, r in zip(left, step, strict=True)]
        steps.append(step)
    return steps


def interpolate(
    x: Tensor, factor: Sequence[int], kind: InterpolationKind = "linear", *, wrap: bool = False
) -> Tensor:
    """A finer field between the middles of the coarse cells; beyond the outermost it is constant.

    Args:
        x: the coarse field.
        factor: new cells per old one along each axis.
        kind: "nearest" repeats each cell; "linear" is bilinear in 2-D; "cubic" is bicubic.
        wrap: whether the last axis is a circle, such as all longitudes.

    Shape:
        (B, C, *S) -> (B, C, *(S factor))

    Raises:
        OptionError: no interpolation has this name.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[0.0, 4.0]]])
        >>> interpolate(x, (2,)).tolist(), interpolate(x, (2,), wrap=True).tolist()
        ([[[0.0, 1.0, 3.0, 4.0]]], [[[1.0, 1.0, 3.0, 3.0]]])
    """
    if kind not in _READ:
        raise OptionError(f"interpolation (={kind!r}) must be one of {', '.join(_READ)}.")
    axes = x.ndim - 2
    beside = _READ[kind] if wrap else 0
    if beside:
        pad = torch_layers(axes).circular_pad
        rounds = -(-beside // x.shape[-1])  # a circle of one cell is walked twice
        for n in [beside] if rounds == 1 else [1] * beside:
            x = pad((n, n) + (0, 0) * (axes - 1))(x)  # type: ignore[arg-type]
    scale = [float(r) for r in factor]
    if kind == "cubic":
        z = _cubic(x, scale)
    elif kind == "linear":
        z = resize(x, scale_factor=tuple(scale), mode=_LINEAR[axes], align_corners=False)
    else:
        z = resize(x, scale_factor=tuple(scale), mode="nearest")
    cut = beside * factor[-1]
    return z[..., cut : z.shape[-1] - cut] if cut else z


def _cubic(x: Tensor, scale: list[float]) -> Tensor:
    """Torch's bicubic interpolation, along one axis, two or three."""
    if len(scale) == 1:
        return _bicubic(x.unsqueeze(2), [1.0, *scale]).squeeze(2)
    if len(scale) == 2:
        return _bicubic(x, scale)
    batch, channels, depth = x.shape[:3]
    layers = _bicubic(x.transpose(1, 2).flatten(0, 1), scale[1:])  # two axes, layer by layer
    sizes = layers.shape[2:]
    lines = layers.reshape(batch, depth, channels, -1).transpose(1, 2)
    return _bicubic(lines, [scale[0], 1.0]).reshape(batch, channels, -1, *sizes)


def _bicubic(x: Tensor, scale: list[float]) -> Tensor:
    return resize(x, scale_factor=tuple(scale), mode="bicubic", align_corners=False)
