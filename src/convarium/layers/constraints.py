"""Fine fields whose block means are the coarse field, whatever the network gave.

    y (B, C, *F), x (B, C, *S), F = S r     the fine field, and the coarse one over blocks of r

    additive          y + x - mean(y)
    multiplicative    x p / mean(p),  p = max(y, 0)
    softmax           x p / mean(p),  p = exp(y)

The mean is over the cells of a block, plain or weighted, as by the areas of cells on a sphere. The
last two keep the sign of x: precipitation stays at or above 0. In both, p is divided by its largest
value in the block first, which changes nothing but cannot overflow or vanish. Where p is 0 in a
whole block, all of its cells are x.

References:
    Harder et al. 2023, "Hard-constrained deep learning for climate downscaling", JMLR 24(365),
    arXiv:2208.05424, section 3: the layers AddCL, MultCL and SmCL, and soft constraining.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError, did_you_mean

ConstraintKind = Literal["none", "additive", "multiplicative", "softmax"]

_KINDS: Final[tuple[str, ...]] = get_args(ConstraintKind)


class Constraint(nn.Module):
    """Moves a fine field so that its block means are the coarse field.

    Args:
        kind: see the top of this file; "none" hands the field on.
        factor: cells of a block along each axis.

    Shape:
        y (B, C, *F), x (B, C, *S) -> (B, C, *F), F = S factor

    Raises:
        OptionError: no constraint has this name.
        ShapeError: the fine field has other sizes than the coarse one times the factor.

    Example:
        >>> y, x = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[5.0]]])
        >>> [Constraint(kind, (2,))(y, x)[0, 0].tolist() for kind in ("additive", "multiplicative")]
        [[4.0, 6.0], [2.5, 7.5]]
    """

    def __init__(self, kind: ConstraintKind, factor: Sequence[int]) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise OptionError(
                f"constraint (={kind!r}) must be one of {', '.join(_KINDS)}."
                + did_you_mean(str(kind), _KINDS)
            )
        self.kind = kind
        self.factor = tuple(factor)

    def forward(
        self, y: Tensor, x: Tensor, weights: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The field with the block means of `x`.

        Args:
            y: the fine field.
            x: the coarse field.
            weights: of the fine cells, of any shape that stretches to that of `y`; None is all
                alike. Cells of weight 0 do not count, and a block of such cells counts them alike.
            mask: True where `x` is known, (B, *S), (B, 1, *S) or (B, C, *S); elsewhere `y` stays as
                it is.
        """
        if self.kind == "none":
            return y
        if mask is not None:
            mask = _with_channels(mask, x)
            x = torch.where(mask, x, 0.0)
        cells, given, coarse = in_blocks(y, self.factor), y, _per_block(x, self.factor)
        _check_sizes(cells, coarse)
        w = None if weights is None else _block_weights(weights, y, self.factor)
        if self.kind == "additive":
            cells = cells + (coarse - _mean(cells, w))
        else:
            cells = coarse * _shares(cells, w, self.kind)
        y = cells.reshape(y.shape)
        if mask is None:
            return y
        known = _per_block(mask, self.factor)
        return torch.where(known.expand(cells.shape).reshape(y.shape), y, given)

    def extra_repr(self) -> str:
        """The kind and the factor."""
        return f"{self.kind}, factor={self.factor}"


def block_mean(y: Tensor, factor: Sequence[int], weights: Tensor | None = None) -> Tensor:
    """The mean of each block of cells: the coarse field of a fine one.

    Args:
        y: the fine field.
        factor: cells of a block along each axis.
        weights: of the cells, of any shape that stretches to that of `y`; None is all alike.

    Shape:
        (B, C, *F) -> (B, C, *(F / factor))

    Raises:
        ShapeError: the factor does not divide the sizes.

    Example:
        >>> block_mean(torch.arange(6.0).view(1, 1, 2, 3), (2, 3)).item()
        2.5
    """
    cells = in_blocks(y, factor)
    w = None if weights is None else _block_weights(weights, y, factor)
    return _mean(cells, w).flatten(2).reshape(*y.shape[:2], *cells.shape[2::2])


def conservation_penalty(
    y: Tensor,
    x: Tensor,
    factor: Sequence[int],
    weights: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean square of what the block means of `y` differ from `x`: a term for the loss.

    Args:
        y: the fine field.
        x: the coarse field.
        factor: cells of a block along each axis.
        weights: of the fine cells, as for `block_mean`.
        mask: True where `x` is known, (B, *S), (B, 1, *S) or (B, C, *S).

    Shape:
        (B, C, *F), (B, C, *S) -> ()

    Example:
        >>> conservation_penalty(torch.ones(1, 1, 4), torch.zeros(1, 1, 2), (2,)).item()
        1.0
    """
    means = block_mean(y, factor, weights)
    if mask is None:
        return (means - x).square().mean()
    known = _with_channels(mask, x).expand(means.shape)
    apart = torch.where(known, means - torch.where(known, x, 0.0), 0.0)
    return apart.square().sum() / known.sum().clamp(min=1)


def in_blocks(y: Tensor, factor: Sequence[int]) -> Tensor:
    """A field with an axis for the blocks and one for the cells in them, along each axis.

    Shape:
        (B, C, *F) -> (B, C, F1 / r1, r1, F2 / r2, r2, ...)

    Raises:
        ShapeError: the factor does not divide the sizes.
    """
    sizes = y.shape[2:]
    if len(sizes) != len(factor) or any(n % r for n, r in zip(sizes, factor, strict=True)):
        raise ShapeError(
            f"Blocks of {tuple(factor)} cells do not divide a field {tuple(y.shape)}; crop the "
            "field, or choose a factor that divides its sizes."
        )
    split = [n for size, r in zip(sizes, factor, strict=True) for n in (size // r, r)]
    return y.reshape(*y.shape[:2], *split)


def _per_block(x: Tensor, factor: Sequence[int]) -> Tensor:
    """A coarse field with an axis of one cell behind each of its own: it stretches to blocks."""
    ones = [n for size in x.shape[2:] for n in (size, 1)]
    return x.reshape(*x.shape[:2], *ones)


def _check_sizes(cells: Tensor, coarse: Tensor) -> None:
    """Refuse a coarse field of other channels or sizes than the blocks of the fine one."""
    if cells.shape[:2] != coarse.shape[:2] or cells.shape[2::2] != coarse.shape[2::2]:
        raise ShapeError(
            f"A fine field of {tuple(cells.shape[2::2])} blocks and {cells.shape[1]} channels does "
            f"not fit a coarse one of {tuple(coarse.shape[2::2])} cells and {coarse.shape[1]}."
        )


def _with_channels(mask: Tensor, x: Tensor) -> Tensor:
    """A mask (B, *S) as (B, 1, *S)."""
    return mask.unsqueeze(1) if mask.ndim == x.ndim - 1 else mask


def _block_weights(weights: Tensor, y: Tensor, factor: Sequence[int]) -> Tensor:
    """Weights of the cells whose mean over each block is 1."""
    w = in_blocks(weights.to(y.dtype).expand(y.shape), factor)
    total = w.sum(_inner(w), keepdim=True)
    w = torch.where(total > 0, w, 1.0)
    return w / w.mean(_inner(w), keepdim=True)


def _mean(cells: Tensor, w: Tensor | None) -> Tensor:
    """The mean of each block, with axes of one cell."""
    return (cells if w is None else cells * w).mean(_inner(cells), keepdim=True)


def _shares(cells: Tensor, w: Tensor | None, kind: ConstraintKind) -> Tensor:
    """Numbers at or above 0 with a mean of 1 over each block."""
    counted = cells if w is None else torch.where(w > 0, cells, -math.inf)
    top = counted.detach().amax(_inner(cells), keepdim=True)  # the shares do not depend on it
    if kind == "softmax":
        p = (cells - top).clamp(max=0.0).exp()
    else:
        some = top > torch.finfo(cells.dtype).tiny
        p = torch.where(some, cells.relu() / torch.where(some, top, 1.0), 1.0).clamp(max=1.0)
    return p / _mean(p, w)


def _inner(cells: Tensor) -> list[int]:
    """The axes of the cells within blocks."""
    return list(range(3, cells.ndim, 2))
