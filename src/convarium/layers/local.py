"""A linear map of its own for each position of a map: what a place is like, beside what all share.

    x (B, C, *S) -> the k^d positions around each (B, C k^d, *S) -> W_p x_p + b_p (B, C', *S)

A convolution has the same filters everywhere. Where the domain is always the same, coasts,
mountains and the mean state of each place can be learned as well. That many weights fit anything,
so they start at 0 and need a penalty of their own: with a squared one this is ridge regression,
place by place.

References:
    LeCun 1989, "Generalization and network design strategies", section 5 (locally connected
    layers).
    Hoerl, Kennard 1970, "Ridge regression", Technometrics 12, eq. 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from convarium.errors import OptionError, ShapeError
from convarium.layers.level import Level

_QUIET = 1e-6  # the least noise of a position: one that is never known has nothing left


class LocalLinear(nn.Module):
    """A linear map at each position, of the positions around it; what it gives starts at 0.

    Args:
        cells: positions along each axis.
        in_channels: channels C of the input map.
        out_channels: channels C' of the output map.
        kernel_size: an odd number k of positions along each axis.
        wrap: the last axis is a circle; beyond other edges are zeros, as for `field_conv`.

    Shape:
        (B, C, *S) -> (B, C', *S), S the cells

    Raises:
        OptionError: the kernel is even, or reaches further around the circle than that is long.
        ShapeError: the map has other positions.

    Example:
        >>> layer = LocalLinear((4, 6), 2, 3, kernel_size=3, wrap=True)
        >>> layer(torch.randn(5, 2, 4, 6)).shape, layer.weight.shape
        (torch.Size([5, 3, 4, 6]), torch.Size([24, 18, 3]))
    """

    def __init__(
        self,
        cells: Sequence[int],
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        wrap: bool = False,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0 or (wrap and kernel_size // 2 > cells[-1]):
            raise OptionError(
                f"kernel_size (={kernel_size}) must be odd, and on a circle of {cells[-1]} "
                "positions reach no further than once around."
            )
        self.cells, self.kernel_size, self.wrap = tuple(cells), kernel_size, wrap
        count, read = prod(cells), in_channels * kernel_size ** len(cells)
        self.weight = nn.Parameter(torch.zeros(count, read, out_channels))
        self.bias = nn.Parameter(torch.zeros(count, 1, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C', *S)."""
        if tuple(x.shape[2:]) != self.cells:
            raise ShapeError(
                f"This layer has learned about {self.cells} positions and cannot read a map of "
                f"{tuple(x.shape[2:])}."
            )
        read = self._around(x).flatten(2).permute(2, 0, 1)
        y = torch.baddbmm(self.bias, read, self.weight)
        return y.permute(1, 2, 0).reshape(x.shape[0], -1, *self.cells)

    @torch.no_grad()
    def fit(
        self,
        x: Tensor,
        y: Tensor,
        *,
        penalty: float,
        rounds: int = 0,
        counts: Tensor | None = None,
        level: Level | None = None,
        times: Tensor | None = None,
    ) -> None:
        """Take the maps of least squared errors plus `penalty` times the squares of their weights.

        Inputs are in deviations: those of each channel from the mean of their position, over all
        samples and positions. What a position gives on average is found together with its map, as
        the level says; so is what follows from channels that are the same at all positions, such
        as the season.

        With rounds, all positions together say how large weights are and which go together: the
        penalty becomes the inverse of their covariance, by expectation and maximisation, and each
        position has its own noise.

        Args:
            x: what the layer reads, (B, C, *S).
            y: what it should give, (B, C', *S).
            penalty: above 0; as much as so many samples of zeros.
            rounds: how often the penalty is learned anew.
            counts: how much each sample counts, (B,); None is 1.
            level: how large averages are and how long they last; None is 1 / penalty, for ever.
            times: of the samples, (B,), rising; None is one after the other.

        Raises:
            OptionError: the penalty is not above 0.

        References:
            Dempster, Laird, Rubin 1977, "Maximum likelihood from incomplete data via the EM
            algorithm", section 4.5 (variance components).
        """
        if not penalty > 0:
            raise OptionError(f"penalty (={penalty}) must be above 0, such as 30.")
        level = Level(1 / penalty) if level is None else level
        w = (x.new_ones(len(x)) if counts is None else counts.to(x)).double()
        when = torch.arange(len(x)).to(w) if times is None else times.to(w)
        read, target = (z.flatten(2).permute(2, 0, 1).double() for z in (self._around(x), y))
        middle = (w.view(-1, 1) * read).sum(1, keepdim=True) / w.sum()
        std = _deviations(read - middle, x.shape[1])
        read = (read - middle) / std
        own, alike = self._columns(x)
        mapped, shared = read[..., own], read[0][:, alike]
        root = torch.linalg.cholesky(level.covariance(when, shared) + torch.diag(1 / w))
        whiten = partial(torch.linalg.solve_triangular, root, upper=False)
        white = [_at_once(whiten, z) for z in (mapped, target)]
        found = _ridge(white[0], white[1], float(w.sum()), penalty, rounds)
        left = _at_once(partial(torch.cholesky_solve, input2=root), target - mapped @ found)
        weight = read.new_zeros(self.weight.shape)
        weight[:, own] = found
        mean, weight[:, alike] = level.expected(when, shared, left)
        weight = weight / std.T
        self.weight.copy_(weight)
        self.bias.copy_(mean - middle @ weight)

    def _columns(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of what is read: the numbers of own channels, and the middle ones of shared channels.

        Of a channel that is the same at all positions the others say the same or are beyond edges.
        """
        flat = x.flatten(2)
        alike = (flat == flat[..., :1]).all(2).all(0) & (flat[:1, :, 0] != flat[..., 0]).any(0)
        alike &= flat.shape[2] > 1
        each = self.kernel_size ** len(self.cells)
        own = torch.nonzero(~alike.repeat_interleave(each)).view(-1)
        return own, torch.nonzero(alike).view(-1) * each + each // 2

    def extra_repr(self) -> str:
        """The positions and the kernel."""
        return f"cells={self.cells}, kernel_size={self.kernel_size}, wrap={self.wrap}"

    def _around(self, x: Tensor) -> Tensor:
        """The positions around each as channels: (B, C k^d, *S)."""
        side, axes = self.kernel_size // 2, len(self.cells)
        around = (side, side)
        if self.wrap:
            x = torch.cat([x[..., self.cells[-1] - side :], x, x[..., :side]], -1)
            around = (0, 0)
        x = pad(x, around + (side, side) * (axes - 1))
        views = []
        for shift in product(range(self.kernel_size), repeat=axes):
            view = x
            for axis, (start, size) in enumerate(zip(shift, self.cells, strict=True)):
                view = view.narrow(2 + axis, start, size)
            views.append(view)
        return torch.stack(views, 2).flatten(1, 2)


def _deviations(read: Tensor, channels: int) -> Tensor:
    """Of what is read (P, B, channels k^d), over all positions and samples, (1, channels k^d)."""
    each = read.reshape(*read.shape[:2], channels, -1)
    std = each.square().mean((0, 1, 3)).sqrt().clamp(min=1e-12)
    found: Tensor = std.repeat_interleave(each.shape[3]).view(1, -1)
    return found


def _at_once(solve: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """What is solved for (P, B, C), as columns (B, P C) of one matrix that all positions share."""
    columns = z.transpose(0, 1)
    return solve(columns.flatten(1)).reshape(columns.shape).transpose(0, 1)


def _ridge(x: Tensor, y: Tensor, count: float, penalty: float, rounds: int) -> Tensor:
    """Weights (P, K, C') of x (P, B, K) for y (P, B, C'), with a penalty that is learned or not."""
    square, shared = x.mT @ x, x.mT @ y
    prior = torch.eye(x.shape[2]).to(x) * penalty  # the inverse covariance of weights
    noise = x.new_ones(len(x), 1, 1)  # of each position, beside the mean over all
    found: Tensor = torch.linalg.solve(square + prior, shared)
    for _ in range(rounds):
        spread = torch.linalg.inv(square + prior * noise)
        known = (spread * square).sum((1, 2), keepdim=True)
        left = (y - x @ found).square().sum(1).mean(1).view(-1, 1, 1)
        variance = left / (count - known).clamp(min=1.0)
        mean = variance.mean().clamp(min=torch.finfo(x.dtype).tiny)
        noise = (variance / mean).clamp(min=_QUIET)
        outer = torch.einsum("pkc,pjc->kj", found, found) / (len(x) * y.shape[2])
        covariance = outer / mean + (spread * noise).mean(0)
        prior = torch.linalg.inv((covariance + covariance.mT) / 2)
        found = torch.linalg.solve(square + prior * noise, shared)
    return found
