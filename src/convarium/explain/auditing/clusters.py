"""Heatmaps in groups of like ones: where does the network look, again and again?

maps -> 8 positions an axis at most, sum 1, square roots -> k-means, k from 1 to 4 -> the clearest
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

_POOL: Final[dict[int, Callable[..., Tensor]]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_FINEST = 8
_MOST = 4
_CLEAR = 0.25  # silhouette from which several groups are better than one
_ROUNDS = 50


def shares(maps: Tensor) -> Tensor:
    """Maps (B, *S) divided by their sums; those without heat stay zero."""
    total = maps.flatten(1).sum(1).reshape(-1, *[1] * (maps.ndim - 1))
    return torch.where(total > 0, maps / total, torch.zeros_like(maps))


def features(maps: Tensor) -> Tensor:
    """Coarse maps as vectors of length 1, whose distances are those of Hellinger; (B, F)."""
    size = tuple(min(side, _FINEST) for side in maps.shape[1:])
    coarse = _POOL[len(size)](shares(maps).unsqueeze(1), size).flatten(1)
    return F.normalize(coarse.clamp(min=0).sqrt(), dim=1)


def cluster(points: Tensor, smallest: int) -> tuple[Tensor, Tensor]:
    """The cluster of each point (B,), and the centres (k, F); the largest cluster is number 0.

    k is the one of 1 to 4 with the highest mean silhouette, and 1 where none reaches 0.25. Nothing
    is drawn at random: the first centre is the point nearest to the mean, each next one the point
    farthest from those before.

    Args:
        points: (B, F).
        smallest: size of a cluster; with smaller ones a k does not count.

    References:
        Lapuschkin et al. (2019), "Unmasking Clever Hans predictors and assessing what machines
        really learn", arXiv:1902.10178, spectral relevance analysis, which clusters heatmaps;
        Rousseeuw (1987), "Silhouettes", Journal of Computational and Applied Mathematics 20, 53-65.
    """
    best = torch.zeros(len(points), dtype=torch.long)
    clearest = _CLEAR
    for k in range(2, _MOST + 1):
        if len(points) < k * smallest:
            break
        found = _k_means(points, k)
        if int(found.bincount(minlength=k).min()) < smallest:
            continue
        clear = silhouette(points, found)
        if clear > clearest:
            best, clearest = found, clear
    order = best.bincount().argsort(descending=True, stable=True)
    numbers = order.argsort()[best]
    return numbers, _centres(points, numbers, len(order))


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """The centre that each point is nearest to, (B,)."""
    return torch.cdist(points, centres).argmin(1)


def silhouette(points: Tensor, numbers: Tensor) -> float:
    """Mean of (b - a) / max(a, b): a to the own cluster, b to the nearest other one."""
    k = int(numbers.max()) + 1
    member = F.one_hot(numbers, k).to(points.dtype)
    sums, counts = torch.cdist(points, points) @ member, member.sum(0)
    rows = torch.arange(len(points))
    own = sums[rows, numbers] / (counts[numbers] - 1).clamp(min=1)
    others = sums / counts
    others[rows, numbers] = torch.inf
    other = others.amin(1)
    value = (other - own) / torch.maximum(own, other).clamp(min=1e-12)
    return float(torch.where(counts[numbers] > 1, value, 0).mean())


def _k_means(points: Tensor, k: int) -> Tensor:
    first = torch.cdist(points.mean(0, keepdim=True), points).argmin()
    centres = points[first].unsqueeze(0)
    while len(centres) < k:
        farthest = torch.cdist(points, centres).amin(1).argmax()
        centres = torch.cat([centres, points[farthest].unsqueeze(0)])
    numbers = nearest(points, centres)
    for _ in range(_ROUNDS):
        centres = _centres(points, numbers, k)
        moved = nearest(points, centres)
        if torch.equal(moved, numbers):
            break
        numbers = moved
    return numbers


def _centres(points: Tensor, numbers: Tensor, k: int) -> Tensor:
    member = F.one_hot(numbers, k).to(points.dtype)
    return (member.T @ points) / member.sum(0).clamp(min=1).unsqueeze(1)
