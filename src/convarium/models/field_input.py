"""What a network for gridded fields reads: normalised coarse fields, and what is known of cells.

    x (B, C, *S) -> (x - mean) / std -> [+ mask] [+ learned numbers] [-> interpolate] [+ fine]

Missing cells are 0 behind the normalisation, which is the mean, each field by itself, and a channel
says in which cells all are known.
Of fine fields, such as relief, the cells of each block become channels of their coarse cell; where
the network interpolates first, they are channels of the fine cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.layers import InterpolationKind, PixelUnshuffle, interpolate
from convarium.models.options import at_least


class FieldInput(nn.Module):
    """From physical units to what the stem of a network reads.

    Args:
        in_channels: coarse fields.
        factor: fine cells per coarse one, one number an axis.
        interpolation: how the fields are made finer before the network, or None: they are not.
        wrap: the last axis is a circle.
        fine_channels: fine fields that are read besides.
        cells: coarse cells along each axis, where numbers are learned for each; or None.
        cell_features: how many numbers; may be 0.
        masked: coarse cells may be missing; which ones becomes a channel.

    Shape:
        x (B, C, *S), mask (B, *S) or (B, C, *S), fine (B, fine_channels, *F)
        -> (B, channels, *S), or (.., *F)

    Raises:
        OptionError: `cells` has another number of axes than the factor.
        ShapeError: the mask, the fine fields or the cells do not fit the coarse fields.
    """

    mean: Tensor
    std: Tensor
    fine_mean: Tensor
    fine_std: Tensor

    def __init__(
        self,
        in_channels: int,
        factor: Sequence[int],
        *,
        interpolation: InterpolationKind | None,
        wrap: bool,
        fine_channels: int,
        cells: Sequence[int] | None,
        cell_features: int,
        masked: bool,
    ) -> None:
        super().__init__()
        at_least(0, fine_channels=fine_channels, cell_features=cell_features)
        self.factor, self.interpolation = tuple(factor), interpolation
        self.wrap, self.masked, self.fine_channels = wrap, masked, fine_channels
        self.in_channels = in_channels
        for name, count in (("", in_channels), ("fine_", fine_channels)):
            self.register_buffer(f"{name}mean", torch.zeros(count))
            self.register_buffer(f"{name}std", torch.ones(count))
        self.blocks = nn.Identity() if interpolation else PixelUnshuffle(factor)
        self.cells: nn.Parameter | None = None
        if cells is not None:
            at_least(1, cells=cells)
            if len(cells) != len(factor):
                raise OptionError(
                    f"cells (={list(cells)}) must have {len(factor)} numbers, one an axis."
                )
            if cell_features:
                self.cells = nn.Parameter(torch.zeros(1, cell_features, *cells))

    @property
    def channels(self) -> int:
        """Channels of what the stem reads."""
        inner = 1 if self.interpolation else prod(self.factor)
        learned = 0 if self.cells is None else self.cells.shape[1]
        return self.in_channels + self.masked + inner * self.fine_channels + learned

    def forward(self, x: Tensor, mask: Tensor | None, fine: Tensor | None) -> Tensor:
        """Normalised fields, one beside the other."""
        z = self.normalised(x, mask)
        layers = [z]
        if self.masked:
            known = torch.ones_like(z[:, :1])
            if mask is not None:
                known = self.checked_mask(x, mask).all(1, keepdim=True).to(z.dtype)
            layers.append(known)
        if self.cells is not None:
            layers.append(self._learned(self.cells, x))
        y = torch.cat(layers, 1) if len(layers) > 1 else z
        if self.interpolation:
            y = interpolate(y, self.factor, self.interpolation, wrap=self.wrap)
        if self.fine_channels:
            given = self.checked_fine(x, fine)
            scaled = (given - per_channel(self.fine_mean, x)) / per_channel(self.fine_std, x)
            y = torch.cat([y, self.blocks(scaled)], 1)
        return y

    def normalised(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The coarse fields in their deviations; 0 where they are missing."""
        z = (x - per_channel(self.mean, x)) / per_channel(self.std, x)
        return z if mask is None else torch.where(self.checked_mask(x, mask), z, 0.0)

    def checked_mask(self, x: Tensor, mask: Tensor) -> Tensor:
        """The mask as (B, 1, *S) or (B, C, *S), if it fits.

        Raises:
            OptionError: the network was built for fields without missing cells.
            ShapeError: the mask is no (B, *S) or (B, C, *S) of true and false.
        """
        if not self.masked:
            raise OptionError("This network was built without masked=True and takes no mask.")
        shape, expected = tuple(mask.shape), (x.shape[0], *x.shape[2:])
        if mask.dtype != torch.bool or shape not in (expected, tuple(x.shape)):
            raise ShapeError(
                f"A mask must be (B, *S) of torch.bool, here {expected}, or (B, C, *S), here "
                f"{tuple(x.shape)}, not {shape} of {mask.dtype}: True where a cell is known."
            )
        return mask.unsqueeze(1) if mask.ndim < x.ndim else mask

    def checked_fine(self, x: Tensor, fine: Tensor | None) -> Tensor:
        """The fine fields, if they fit.

        Raises:
            ShapeError: there are none, or of another shape.
        """
        sizes = [n * r for n, r in zip(x.shape[2:], self.factor, strict=True)]
        expected = (x.shape[0], self.fine_channels, *sizes)
        if fine is None or tuple(fine.shape) != expected:
            found = "none" if fine is None else tuple(fine.shape)
            raise ShapeError(f"This network reads fine fields {expected} besides, not {found}.")
        return fine

    def _learned(self, cells: Tensor, x: Tensor) -> Tensor:
        """The learned numbers of the cells, the same for each sample."""
        if cells.shape[2:] != x.shape[2:]:
            raise ShapeError(
                f"This network has learned about {tuple(cells.shape[2:])} cells and cannot read a "
                f"field of {tuple(x.shape[2:])}; build it with cells=None for other domains."
            )
        return cells.expand(x.shape[0], *cells.shape[1:])


def per_channel(values: Tensor, x: Tensor) -> Tensor:
    """One number a channel, in a shape that stretches to that of `x`."""
    return values.to(x.dtype).view(1, -1, *[1] * (x.ndim - 2))
