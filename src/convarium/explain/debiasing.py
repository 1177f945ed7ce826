"""ROAD: the score after removing the most, and the least, relevant positions by imputation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain.attribution import Attribution, spatial_size
from convarium.explain.controls import (
    Controlled,
    first_input,
    heat_of,
    is_tokens,
    sample_keys,
    three_orders,
)
from convarium.explain.imputing import Numbers, imputed, noise
from convarium.explain.looking import Forward, Inputs
from convarium.explain.probing import Output, probing
from convarium.explain.targets import Target
from convarium.measure.arguments import real


@dataclass(frozen=True, eq=False)
class Road(Controlled):
    """Scores after the removal of shares of the positions; `score` is the mean difference.

    Attributes:
        shares: the shares removed.
        removed: how many positions that is, floor(share x positions).
        original: (B,) the score of the whole samples.
        most: (orders, B, shares) the score without the most relevant positions, for the orders
            of the heatmap, at random and, if there is one, of the edge detector.
        least: (orders, B, shares) the score without the least relevant ones.
        empty_maps: samples without a score, as of `RemovalCurve`.
    """

    shares: tuple[float, ...]
    removed: tuple[int, ...]
    original: Tensor
    most: Tensor
    least: Tensor
    empty_maps: int = 0


def road(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    *,
    target: Target = None,
    shares: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    noise_std: float = 0.01,
    output: Output = "probability",
    forward: Forward | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Road:
    """Remove and debias: exactly floor(p n) positions by rank are imputed from what stays.

    A removed position becomes the weighted mean of its neighbours (1/6 beside, 1/12 across; see
    `imputing`) plus noise, so that the network cannot see where something was removed. The score
    is the mean over the shares of (without the least relevant - without the most relevant); high
    is good, and a random order has 0 on average.

    Args:
        model, x, heat, target, output, forward, batch_size, seed: as for `deletion`; x must be of
            numbers (B, C, *S), of any rank.
        shares: of the positions to remove, each above 0 and below 1.
        noise_std: standard deviation of the noise, in units of the input.

    Raises:
        OptionError: a share outside (0, 1), a negative noise, or as for `deletion`.
        ShapeError: token ids, or maps that do not fit the input.
        MissingExtraError: scipy, of the extra `measure`, is not installed.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    >>> found = road(network, torch.randn(3, 1, 8), torch.randn(3, 8), shares=[0.5])
    >>> found.removed, found.score.shape
    ((4,), torch.Size([3]))

    References:
        Rong et al. (2022), "A consistent and efficient evaluation strategy for attribution
        methods", arXiv:2202.00449, noisy linear imputation.
    """
    first = first_input(x)
    size = spatial_size(first)
    if is_tokens(first) or not first.is_floating_point():
        raise ShapeError(
            f"x is of {first.dtype}; road imputes positions from their neighbours, so x must be of "
            "floating-point numbers (B, C, *S). For token ids take deletion and insertion."
        )
    counts = _counts(shares, math.prod(size))
    if not 0 <= real(noise_std) < math.inf:
        raise OptionError(f"noise_std (={noise_std!r}) must be 0 or more.")
    maps, told = heat_of(heat, first, size)
    pictures = _Pictures(first, three_orders(first, maps, seed), counts, noise_std, seed)
    with probing(
        model, x, heat, target=target, output=output, forward=forward, batch_size=batch_size
    ) as probe:
        found = probe.scores(pictures.versions, pictures.make)
        original = probe.original
    found = found.reshape(-1, len(counts), 2, len(first)).permute(2, 0, 3, 1).clone()
    found[:, 0, ~told] = math.nan
    most, least = found
    scores = (least - most).mean(2)
    return Road(
        score=scores[0],
        random=scores[1],
        edges=scores[2],
        better="higher",
        shares=tuple(float(share) for share in shares),
        removed=tuple(counts),
        original=original.clone(),
        most=most,
        least=least,
        empty_maps=int((~told).sum()),
    )


class _Pictures:
    """Every imputed picture: orders x shares x (most, least) of each sample, made when asked for.

    Attributes:
        versions: how many there are of a sample.
    """

    def __init__(
        self, x: Tensor, ranks: Tensor, counts: list[int], noise_std: float, seed: int
    ) -> None:
        self.x, self.ranks, self.counts = x, ranks.cpu().numpy(), counts
        self.noise_std, self.seed, self.keys = noise_std, seed, sample_keys(x)
        self.versions = len(ranks) * len(counts) * 2

    def make(self, samples: Tensor, versions: Tensor) -> Tensor:
        pairs = zip(samples.tolist(), versions.tolist(), strict=True)
        made = np.stack([self._one(*pair) for pair in pairs])
        return torch.from_numpy(made).to(self.x.device, self.x.dtype)

    def _one(self, sample: int, version: int) -> Numbers:
        order, rest = divmod(version, len(self.counts) * 2)
        count, least = self.counts[rest // 2], rest % 2 == 1
        ranks = self.ranks[order, sample]
        removed = ranks >= len(ranks) - count if least else ranks < count
        removed = removed.reshape(self.x.shape[2:])
        values = self.x[sample].cpu().double().numpy()
        added = noise(values, removed, self.seed, "road", self.keys[sample], count, int(least))
        return imputed(values, removed) + self.noise_std * added


def _counts(shares: Any, positions: int) -> list[int]:
    """floor(p n), of the decimal number as written: 0.29 of 100 are 29."""
    if not isinstance(shares, Sequence) or not shares or not all(0 < real(s) < 1 for s in shares):
        raise OptionError(f"shares (={shares!r}) must be numbers above 0 and below 1.")
    return [math.floor(Fraction(str(float(share))) * positions) for share in shares]
