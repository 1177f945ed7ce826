"""Trilinear resizing with antialiasing, crops and edges, along the axes of volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def resize(values: Tensor, size: Sequence[int]) -> Tensor:
    """Resize along each axis with triangles that are as wide as a step, so that nothing aliases.

    Along an axis from n to m places, with s = n / m, place i of the result is
    sum_j w_ij x_j / sum_j w_ij,  w_ij = max(0, 1 - |j + 1/2 - (i + 1/2) s| / max(s, 1)),
    one axis after the other, from the one that shrinks most, so that no result on the way is larger
    than the values and the last one. Where the size stays, the values stay.

    Shape:
        values: float `(C, D, H, W)`. Returns: `(C, *size)`.

    >>> resize(torch.tensor([0.0, 4.0, 8.0, 12.0]).view(1, 1, 1, 4), (1, 1, 2)).flatten()
    tensor([2.8571, 9.1429])
    """
    order = sorted(
        range(3), key=[m / n for m, n in zip(size, values.shape[1:], strict=True)].__getitem__
    )
    for axis in order:
        values = _along(values, 1 + axis, size[axis])
    return values


def _along(values: Tensor, axis: int, side: int) -> Tensor:
    """Values resized along one axis."""
    shape = list(values.shape)
    if shape[axis] == side:
        return values
    behind = math.prod(shape[axis + 1 :])
    if behind > 1:
        rows, to = (-1, shape[axis], behind), (side, behind)
    else:  # torch 2's antialiasing is wrong along the height of images that are one pixel wide
        before = math.prod(shape[1:axis])
        rows, to = (shape[0], before, shape[axis]), (before, side)
    found = functional.interpolate(
        values.reshape(1, *rows), to, mode="bilinear", antialias=True, align_corners=False
    )
    return found.reshape(*shape[:axis], side, *shape[axis + 1 :])


def centred(values: Tensor, size: Sequence[int]) -> Tensor:
    """The middle of each axis cut out; an axis that is too short goes on with its last values.

    Of an odd number of places one more is cut, or added, at the end.

    Shape:
        values: `(C, D, H, W)`. Returns: `(C, *size)`.

    >>> centred(torch.arange(4.0).view(1, 1, 1, 4), (1, 2, 3)).tolist()
    [[[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]]]
    """
    for axis, side in enumerate(size, start=1):
        start = (values.shape[axis] - side) // 2 if values.shape[axis] >= side else 0
        before = max(0, side - values.shape[axis]) // 2
        places = (torch.arange(side) + start - before).clamp_(0, values.shape[axis] - 1)
        if not torch.equal(places, torch.arange(values.shape[axis])):
            values = values.index_select(axis, places)
    return values


def uncentred(values: Tensor, size: Sequence[int]) -> Tensor:
    """A result of `centred` put back to its place in a volume of `size`, with 0 around it.

    Shape:
        values: `(C, D, H, W)`. Returns: `(C, *size)`.

    >>> uncentred(torch.ones(1, 1, 1, 2), (1, 1, 5)).flatten().tolist()
    [0.0, 1.0, 1.0, 0.0, 0.0]
    """
    for axis, side in enumerate(size, start=1):
        length = values.shape[axis]
        if length > side:
            values = values.narrow(axis, (length - side) // 2, side)
        elif length < side:
            shape = [*values.shape]
            shape[axis] = side
            whole = values.new_zeros(shape)
            whole.narrow(axis, (side - length) // 2, length).copy_(values)
            values = whole
    return values
