"""Shears, shifts and turns of pictures: one affine map a sample; what comes from outside is black.

A matrix (a, b, c, d, e, f) says where an output pixel's centre comes from, as in Pillow:
x_in = a x + b y + c, y_in = d x + e y + f.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convarium.data.augment.stream import Floats

_CHUNK = 2**14  # pixels in one piece of work, so that it stays in the cache
_ONE = 2**16  # one pixel in the fixed-point numbers of the nearest pixel, as Pillow has them


def shear_x(strengths: Floats) -> Floats:
    """x_in = x + strength * y, about the upper left corner."""
    return _matrices(len(strengths), b=strengths)


def shear_y(strengths: Floats) -> Floats:
    """y_in = y + strength * x, about the upper left corner."""
    return _matrices(len(strengths), d=strengths)


def translate_x(strengths: Floats) -> Floats:
    """x_in = x + strength, in pixels."""
    return _matrices(len(strengths), c=strengths)


def translate_y(strengths: Floats) -> Floats:
    """y_in = y + strength, in pixels."""
    return _matrices(len(strengths), f=strengths)


def rotate(degrees: Floats, height: int, width: int) -> Floats:
    """A turn about the middle, counter-clockwise in degrees."""
    angle = -np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = width / 2, height / 2
    return _matrices(
        len(degrees),
        a=cos,
        b=sin,
        c=x - cos * x - sin * y,
        d=-sin,
        e=cos,
        f=y + sin * x - cos * y,
    )


def _matrices(count: int, **entries: Floats) -> Floats:
    """Matrices `(n, 6)` that change nothing but for the entries given."""
    matrices = np.tile([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], (count, 1))
    for name, values in entries.items():
        matrices[:, "abcdef".index(name)] = values
    return matrices


def nearest(pixels: Tensor, matrices: Floats) -> Tensor:
    """Each output pixel takes the input pixel that its centre falls on.

    Shape:
        pixels: uint8 `(n, C, H, W)`; matrices: `(n, 6)`.
    """
    height, width = pixels.shape[2:]
    x, y = (
        _whole(matrices[:, k : k + 3], height, width, pixels.device).bitwise_right_shift_(16)
        for k in (0, 3)
    )
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = y.clamp_(0, height - 1).mul_(width).add_(x.clamp_(0, width - 1))
    index = place.flatten(1).unsqueeze(1).expand(-1, pixels.shape[1], -1)
    taken = pixels.flatten(2).gather(2, index).view_as(pixels)
    return taken.mul_(inside.unsqueeze(1))


def _whole(rows: Floats, height: int, width: int, device: torch.device) -> Tensor:
    """Coordinates of output pixel centres in 1/65536 pixels, int64 `(n, H, W)`."""
    first = rows[:, 2] + 0.5 * rows[:, 0] + 0.5 * rows[:, 1]
    across, down, start = (
        torch.from_numpy(_fixed(values)).to(device) for values in (rows[:, 0], rows[:, 1], first)
    )
    columns = across[:, None] * torch.arange(width, device=device) + start[:, None]
    return columns[:, None, :] + (down[:, None] * torch.arange(height, device=device))[:, :, None]


def _fixed(values: Floats) -> NDArray[np.int64]:
    return np.floor(values * _ONE + 0.5).astype(np.int64)


def bilinear(pixels: Tensor, matrices: Floats) -> Tensor:
    """Each output pixel is interpolated between the four input pixels around its centre.

    Outside the picture all pixels are black, so its edge is smooth.

    Shape:
        pixels: uint8 `(n, C, H, W)`; matrices: `(n, 6)`.
    """
    height, width = pixels.shape[2:]
    device = pixels.device
    grid = torch.empty(len(pixels), height, width, 2, device=device)
    for k, side in enumerate((width, height)):
        rows = torch.from_numpy(matrices[:, 3 * k : 3 * k + 3] * (2 / side)).float().to(device)
        across = rows[:, :1] * (torch.arange(width, device=device) + 0.5)
        down = rows[:, 1:2] * (torch.arange(height, device=device) + 0.5) + (rows[:, 2:] - 1)
        torch.add(across[:, None, :], down[:, :, None], out=grid[..., k])
    found = torch.empty_like(pixels)
    size = max(1, _CHUNK // (height * width))
    for start in range(0, len(pixels), size):
        part = slice(start, start + size)
        taken = F.grid_sample(pixels[part].float(), grid[part], align_corners=False)
        found[part] = taken.add_(0.5)
    return found
