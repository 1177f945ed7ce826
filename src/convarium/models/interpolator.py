"""What needs no training: interpolation and the delta method, called like a network of fields.

    interpolated      y = interpolated x
    delta method      y = fine climatology + interpolated (x - coarse climatology)

and either of them with a constraint, which brings the block means back to x. For the delta method
the fine field is worked out with the climatology of the training times (`data.Climatology`) and is
given as `fine`, as to a network that starts from it.

References:
    Harder et al. 2023, arXiv:2208.05424, section 4 (interpolation with a constraint layer).
    Maraun, Widmann 2018, "Statistical downscaling and bias correction for climate research",
    Cambridge University Press, chapter 11 (the delta change approach).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from convarium.errors import ShapeError
from convarium.layers import Constraint, ConstraintKind, InterpolationKind, interpolate
from convarium.models.fields import checked_factor


class Interpolator(nn.Module):
    """A fine field without anything learned.

    Args:
        factor: fine cells per coarse one, one number or one an axis.
        kind: "nearest", "linear" (bilinear in 2-D) or "cubic".
        constraint: what makes the block means the coarse field; see `layers.Constraint`.
        wrap: the last axis is a circle, such as all longitudes.
        spatial_dims: 1, 2 or 3.

    Shape:
        x (B, C, *S), fine (B, C, *F) or None -> (B, C, *F), F = S factor

    Raises:
        OptionError: a name is unknown, or the factor is none.
        ShapeError: a fine field of another shape was given.

    Example:
        >>> import torch
        >>> model = Interpolator(2, constraint="additive")
        >>> model(torch.tensor([[[[1.0, 2.0]]]]))[0, 0, 0].tolist()
        [0.875, 1.125, 1.875, 2.125]
    """

    def __init__(
        self,
        factor: int | Sequence[int] = 4,
        *,
        kind: InterpolationKind = "linear",
        constraint: ConstraintKind = "none",
        wrap: bool = False,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        self.factor = checked_factor(factor, spatial_dims)
        self.kind, self.wrap, self.constraint = kind, wrap, constraint
        self.constrain = Constraint(constraint, self.factor)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        fine: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """The given fine field, or the interpolated coarse one, constrained.

        Args:
            x: the coarse fields.
            mask: True where they are known, (B, *S) or (B, C, *S) with at least the channels of x;
                the others are the mean of these.
            fine: the field of the delta method; None interpolates `x`.
            weights: of the fine cells in block means.
        """
        if mask is not None:
            mask = mask.unsqueeze(1) if mask.ndim < x.ndim else mask[:, : x.shape[1]]
            x = _filled(x, mask)
        y = interpolate(x, self.factor, self.kind, wrap=self.wrap)
        if fine is not None and fine.shape != y.shape:
            raise ShapeError(f"fine {tuple(fine.shape)} must be {tuple(y.shape)} here.")
        z: Tensor = self.constrain(y if fine is None else fine, x, weights, mask)
        return z


def _filled(x: Tensor, mask: Tensor) -> Tensor:
    """Fields whose missing cells are the mean of the known ones of each."""
    axes = list(range(2, x.ndim))
    sums = torch.where(mask, x, 0.0).sum(axes, keepdim=True)
    return torch.where(mask, x, sums / mask.sum(axes, keepdim=True).clamp(min=1))
