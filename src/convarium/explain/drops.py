"""Average drop and increase: what is left of the score where only the heat shows the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convarium.errors import ShapeError
from convarium.explain.attribution import Attribution, spatial_size
from convarium.explain.controls import (
    Controlled,
    SampleMean,
    first_input,
    heat_of,
    shown,
    three_orders,
)
from convarium.explain.looking import Forward, Inputs
from convarium.explain.probing import Output, probing
from convarium.explain.removal import Baseline, filled
from convarium.explain.targets import Target
from convarium.intervals import wilson


@dataclass(frozen=True, eq=False)
class AverageDrop(Controlled):
    """Drops in percent; `score` is 100 max(0, Y - O) / Y of each sample.

    Attributes:
        original: (B,) Y, the score of the whole sample.
        kept: (orders, B) O, the score of what the map shows; for the heatmap, for its values at
            random positions, and for its values along the edge detector's order.
        area: (B,) mean of the map: the share of the input that it shows.
        empty_maps: samples without a score, as of `RemovalCurve`.
    """

    original: Tensor
    kept: Tensor
    area: Tensor
    empty_maps: int = 0

    def increase(self, *, confidence: float = 0.95) -> SampleMean:
        """Share of the samples whose score rises, O > Y, with Wilson's interval."""
        counted = self.score.isfinite()
        n, risen = int(counted.sum()), int((self.kept[0] > self.original)[counted].sum())
        return SampleMean(risen / n if n else math.nan, wilson(risen, n, confidence), n)


def average_drop(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    *,
    target: Target = None,
    baseline: Baseline = 0.0,
    output: Output = "probability",
    forward: Forward | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> AverageDrop:
    """By how many percent the score drops where each position shows as much as its heat.

    With L the map as displayed, in [0, 1], the network sees L x + (1 - L) baseline. A low drop is
    good, but a map that shows everything has none: read it with `area` and the controls, which
    have the very values of the map at other positions.

    Args:
        model, x, heat, target, baseline, output, forward, batch_size, seed: as for `deletion`; x
            must be of numbers (B, C, *S). Samples whose score is not above 0 have no drop (NaN).

    Raises:
        OptionError: as for `deletion`.
        ShapeError: token ids, or maps that do not fit the input.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    >>> found = average_drop(network, torch.randn(3, 1, 8), torch.arange(24.0).reshape(3, 8))
    >>> found.score.shape, found.empty_maps
    (torch.Size([3]), 0)

    References:
        Chattopadhyay et al. (2018), "Grad-CAM++", arXiv:1710.11063, average drop %
        and % increase in confidence.
    """
    first = first_input(x)
    if not first.is_floating_point():
        raise ShapeError(
            f"x is of {first.dtype}; average_drop dims positions, so x must be of floating-point "
            "numbers (B, C, *S). For token ids take deletion and insertion."
        )
    maps, told = heat_of(heat, first, spatial_size(first))
    visible = shown(heat)[0].to(first.device).flatten(1)
    ranks = three_orders(first, maps, seed)
    # The values of the map in falling order, dealt out by the ranks of each control.
    falling = visible.sort(1, descending=True).values
    weights = torch.stack([visible, *(falling.gather(1, order) for order in ranks[1:])])
    weights = weights.reshape(len(ranks), len(first), 1, *first.shape[2:]).to(first.dtype)
    empty = filled(first, baseline)

    def dimmed(sample: Tensor, order: Tensor) -> Tensor:
        return torch.lerp(empty[sample], first[sample], weights[order, sample])

    with probing(
        model, x, heat, target=target, output=output, forward=forward, batch_size=batch_size
    ) as probe:
        kept, original = probe.scores(len(ranks), dimmed), probe.original
    kept, original = kept.clone(), original.clone()
    kept[0, ~told] = math.nan
    drops = torch.where(original > 0, 100 * (original - kept).clamp(min=0) / original, math.nan)
    return AverageDrop(
        score=drops[0],
        random=drops[1],
        edges=drops[2],
        better="lower",
        original=original,
        kept=kept,
        area=visible.mean(1),
        empty_maps=int((~told).sum()),
    )
