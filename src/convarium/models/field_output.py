"""What a network for gridded fields gives: fine fields in physical units, with their constraint.

    head (B, P T, *F) -> + start -> x std + mean -> constraint -> the parts around it (B, P T, *F)

Of P parts the one in the middle is the field itself, and the constraint holds for it; the others
are differences from it that cannot have the wrong sign. So a spread is above 0, and quantiles rise:

    spread     std (softplus(a) + .001)
    quantiles  the next one is std softplus(a) further from the middle
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from convarium.errors import OptionError
from convarium.layers import Constraint, ConstraintKind, InterpolationKind, interpolate
from convarium.models.field_input import per_channel
from convarium.models.options import at_least

FieldParts = Literal["value", "normal", "quantiles"]
Start = Literal["none", "coarse", "fine"]

_LEAST_SPREAD = 1e-3  # of a field's deviation
_LEAST_SHARE = 1e-3  # likewise, of a field that softmax begins with


class FieldOutput(nn.Module):
    """From what a head gives to physical units.

    Args:
        out_channels: fields T.
        factor: fine cells per coarse one, one number an axis.
        constraint: what makes block means the coarse field; see `layers.Constraint`.
        non_negative: the result is not below 0, and coarse fields that are count as 0.
        parts: a "value", a "normal" distribution's mean and spread, or "quantiles".
        levels: of the quantiles.
        start: what the head's answer is added to: "none", the interpolated "coarse" field, or the
            first of the "fine" fields.
        interpolation: how the coarse field is interpolated for that.
        wrap: the last axis is a circle.

    Shape:
        head (B, P T, *F), coarse (B, T, *S), mask (B, 1 or T, *S), fine (B, .., *F) -> (B, P T, *F)

    Raises:
        OptionError: options that cannot hold together, or levels that do not rise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        out_channels: int,
        factor: Sequence[int],
        *,
        constraint: ConstraintKind,
        non_negative: bool,
        parts: FieldParts,
        levels: Sequence[float],
        start: Start,
        interpolation: InterpolationKind,
        wrap: bool,
    ) -> None:
        super().__init__()
        at_least(1, out_channels=out_channels)
        if non_negative and constraint == "additive":
            raise OptionError(
                "non_negative (=True) cannot hold with constraint (='additive'), which shifts a "
                "block as a whole; use 'multiplicative', 'softmax' or 'none'."
            )
        self.out_channels, self.factor = out_channels, tuple(factor)
        self.non_negative, self.start, self.wrap = non_negative, start, wrap
        self.interpolation = interpolation
        self.parts = part_names(parts, levels)
        self.middle = self.parts.index("q0.5") if parts == "quantiles" else 0
        self.constrain = Constraint(constraint, self.factor)
        self.register_buffer("mean", torch.zeros(out_channels))
        self.register_buffer("std", torch.ones(out_channels))

    @property
    def channels(self) -> int:
        """Channels that the head must give."""
        return len(self.parts) * self.out_channels

    def forward(
        self,
        head: Tensor,
        coarse: Tensor,
        mask: Tensor | None,
        fine: Tensor | None,
        weights: Tensor | None,
    ) -> Tensor:
        """Fine fields in physical units."""
        mean, std = per_channel(self.mean, coarse), per_channel(self.std, coarse)
        if mask is not None:
            coarse = torch.where(mask, coarse, mean)
        if self.non_negative:
            coarse = coarse.relu()
        pieces = list(torch.split(head, self.out_channels, 1))
        z = pieces[self.middle]
        begun = self._begun(coarse, fine)
        if self.constrain.kind == "softmax":
            y = z if begun is None else z + self._logits(begun, coarse, std)
        else:
            y = mean + std * (z if begun is None else z + (begun - mean) / std)
        if self.non_negative and self.constrain.kind == "none":
            y = y.relu()
        pieces[self.middle] = self.constrain(y, coarse, weights, mask)
        if self.parts[-1] == "spread":
            pieces[1] = std * (softplus(pieces[1]) + _LEAST_SPREAD)
        self._part_from_middle(pieces, std)
        return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]

    def _begun(self, coarse: Tensor, fine: Tensor | None) -> Tensor | None:
        """The fine fields to which the head's answer is added."""
        if self.start == "none":
            return None
        if self.start == "fine" and fine is not None:
            return fine[:, : self.out_channels]
        return interpolate(coarse, self.factor, self.interpolation, wrap=self.wrap)

    def _logits(self, begun: Tensor, coarse: Tensor, std: Tensor) -> Tensor:
        """What softmax makes the shares of a field; next to none where its sign is another."""
        sign = interpolate(torch.sign(coarse), self.factor, "nearest")
        return torch.log(torch.maximum(begun * sign, _LEAST_SHARE * std))

    def _part_from_middle(self, pieces: list[Tensor], std: Tensor) -> None:
        """The quantiles on both sides of the middle one, each beyond the one before."""
        if self.parts[0].startswith("q"):
            for step, end in ((1, len(pieces)), (-1, -1)):
                for k in range(self.middle + step, end, step):
                    y = pieces[k - step] + step * std * softplus(pieces[k])
                    pieces[k] = y.relu() if self.non_negative else y


def part_names(parts: FieldParts, levels: Sequence[float]) -> tuple[str, ...]:
    """The names of what a network gives for each field.

    Raises:
        OptionError: levels do not rise between 0 and 1, or .5 is not among them.

    Example:
        >>> part_names("quantiles", [0.1, 0.5, 0.9])
        ('q0.1', 'q0.5', 'q0.9')
    """
    if parts != "quantiles":
        return ("value",) if parts == "value" else ("mean", "spread")
    given = list(levels)
    inside = all(0 < level < 1 for level in given)
    if given != sorted(set(given)) or not inside or 0.5 not in given:
        raise OptionError(
            f"levels (={given}) must rise between 0 and 1, with .5 among them: [0.05, 0.5, 0.95]."
        )
    return tuple(f"q{level:g}" for level in given)
