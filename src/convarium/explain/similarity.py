"""How alike two heatmaps are: Spearman's rank correlation, and structural similarity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_AVERAGES = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_WINDOW = 7


def spearman(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of each pair of maps, equal values at their mean rank.

    0 where a map is constant: it has no order that another could share.

    Shape: (B, *S), (B, *S) -> (B,)

    >>> rising = torch.tensor([[1.0, 2.0, 3.0]])
    >>> spearman(rising, rising**3), spearman(rising, -rising)
    (tensor([1.]), tensor([-1.]))
    """
    a, b = (_mean_ranks(maps.flatten(1)) for maps in (first, second))
    spread = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(spread > 0, (a * b).sum(1) / spread, torch.zeros_like(spread)).float()


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """SSIM of each pair of maps in [0, 1], with windows of 7 positions along each axis.

    Smaller maps have windows of their own size. Constants 0.01^2 and 0.03^2.

    Shape: (B, *S), (B, *S) -> (B,)

    References:
        Wang et al. (2004), "Image quality assessment", IEEE Trans. Image Processing 13, eq. 13.
    """
    rank = first.ndim - 1
    windows = [min(_WINDOW, side) for side in first.shape[1:]]
    a, b = (maps.double().unsqueeze(1) for maps in (first, second))

    def mean(values: Tensor) -> Tensor:
        averaged: Tensor = _AVERAGES[rank](values, windows, 1)
        return averaged

    mean_a, mean_b = mean(a), mean(b)
    spread = mean(a * a) + mean(b * b) - mean_a**2 - mean_b**2
    common = mean(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return (light * (2 * common + 9e-4) / (spread + 9e-4)).flatten(1).mean(1).float()


def _mean_ranks(flat: Tensor) -> Tensor:
    """Ranks about their mean, equal values sharing theirs, (B, n)."""
    values = flat.double().contiguous()
    ordered = values.sort(1).values
    below = torch.searchsorted(ordered, values)
    upto = torch.searchsorted(ordered, values, right=True)
    return (below + upto - values.shape[1]).double() / 2
