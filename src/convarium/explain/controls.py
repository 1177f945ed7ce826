"""The controls beside every number about heatmaps: a random order, an edge detector, intervals.

A number about a heatmap means nothing alone. Beside it stands the same number for an order drawn at
random, and for an edge detector, which sees the input but no network.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from convarium import seeds
from convarium.errors import OptionError, ShapeError
from convarium.explain.attribution import SILENT, Attribution, at_input
from convarium.intervals import Interval, of_mean

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class SampleMean:
    """A mean over samples, with its interval.

    Attributes:
        value: the mean; NaN where no sample counts.
        interval: bootstrap over the samples, widened for few; NaN of a single one.
        n: the samples that count; those without a finite value do not.
    """

    value: float
    interval: Interval
    n: int


@dataclass(frozen=True)
class Comparison:
    """Means over samples of a score and of its controls.

    Attributes:
        score, random, edges: of the heatmap, of a random order, of an edge detector (None where
            there is none).
        over_random, over_edges: by how much the heatmap is better than the control, sample by
            sample; positive is better, whichever way the score points.
    """

    score: SampleMean
    random: SampleMean
    edges: SampleMean | None
    over_random: SampleMean
    over_edges: SampleMean | None


@dataclass(frozen=True, eq=False)
class Controlled:
    """A score a sample, with its controls; what the numbers about heatmaps have in common.

    Attributes:
        score: (B,) of the heatmap; NaN where it cannot be said, as for a map that is constant.
        random: (B,) the same of a random order.
        edges: (B,) the same of an edge detector (`sobel`); None where there is none, as for tokens.
        better: which way the score points.
    """

    score: Tensor
    random: Tensor
    edges: Tensor | None
    better: Better

    def means(self, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
        """Means over the samples, and the advantage over each control, with bootstrap intervals."""

        def mean(values: Tensor | None) -> SampleMean | None:
            return None if values is None else sample_mean(values, confidence, seed)

        sign = 1 if self.better == "higher" else -1
        edges = None if self.edges is None else sign * (self.score - self.edges)
        return Comparison(
            score=sample_mean(self.score, confidence, seed),
            random=sample_mean(self.random, confidence, seed),
            edges=mean(self.edges),
            over_random=sample_mean(sign * (self.score - self.random), confidence, seed),
            over_edges=mean(edges),
        )


def sample_mean(values: Tensor, confidence: float = 0.95, seed: int = 0) -> SampleMean:
    """Mean of the finite values with its bootstrap interval.

    >>> sample_mean(torch.tensor([1.0, 1.0, float("nan")]))
    SampleMean(value=1.0, interval=Interval(low=1.0, high=1.0), n=2)
    """
    numbers = values.detach().double().cpu()
    numbers = numbers[numbers.isfinite()]
    if not len(numbers):
        return SampleMean(math.nan, Interval(math.nan, math.nan), 0)
    finite = numbers.numpy()
    interval = of_mean(finite, confidence=confidence, seed=seed)
    return SampleMean(float(finite.mean()), interval, len(finite))


def sobel(x: Tensor) -> Tensor:
    """An edge detector: the Sobel magnitude of a batch, over all channels.

    Along each axis the difference [-1, 0, 1], smoothed by [1, 2, 1] along the others; edges of the
    input are continued. The result is the root of the sum of squares over axes and channels.

    Shape: (B, C, *S) -> (B, *S)

    >>> sobel(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]))
    tensor([[0., 1., 1., 0.]])
    """
    rank = x.ndim - 2
    numbers = x.detach().float() if x.dtype != torch.float64 else x.detach()
    padded = F.pad(numbers, [1] * (2 * rank), mode="replicate")
    squares = torch.zeros_like(numbers)
    for along in range(rank):
        slope = padded
        for axis in range(rank):
            low, middle, high = (slope.narrow(2 + axis, i, x.shape[2 + axis]) for i in range(3))
            slope = high - low if axis == along else low + 2 * middle + high
        squares += slope.square()
    return squares.sum(1).sqrt()


def sample_keys(x: Tensor) -> list[int]:
    """A number for each sample that depends on its content alone.

    So what is drawn for a sample is the same in every batch, and differs between samples.
    """

    def key(sample: Tensor) -> int:
        content = sample.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return int.from_bytes(hashlib.blake2b(content.tobytes(), digest_size=8).digest(), "little")

    return [key(sample) for sample in x]


def ranks(heat: Tensor, keys: Sequence[int], seed: int) -> Tensor:
    """The rank of each position, 0 for the most relevant; equal values in a random order.

    Args:
        heat: (B, *S).
        keys: of `sample_keys`.
        seed: of the order of equal values.

    Shape: (B, positions)
    """
    flat = heat.flatten(1)
    draws = _permutations(flat.shape[1], keys, seed, "ties").to(flat.device)
    places = flat.gather(1, draws).argsort(stable=True, dim=1, descending=True)
    return _inverse(draws.gather(1, places))


def random_ranks(positions: int, keys: Sequence[int], seed: int) -> Tensor:
    """Ranks of a random order of the positions, (B, positions)."""
    return _permutations(positions, keys, seed, "random order")


def three_orders(x: Tensor, heat: Tensor, seed: int) -> Tensor:
    """Ranks by the heatmap, at random and by edges; without the last for tokens.

    Shape: (orders, B, positions)
    """
    keys = sample_keys(x)
    orders = [ranks(heat, keys, seed), random_ranks(heat[0].numel(), keys, seed).to(heat.device)]
    if not is_tokens(x):
        orders.append(ranks(sobel(x), keys, seed))
    return torch.stack(orders)


def is_tokens(x: Tensor) -> bool:
    """Whether the input is (B, T) token ids."""
    return x.ndim == 2 and not x.is_floating_point()


def first_input(x: Any) -> Tensor:
    """The input that maps belong to, and that is changed: x, or the first of several.

    Raises:
        OptionError: it is no tensor.
    """
    first = x[0] if isinstance(x, tuple) and x else x
    if not isinstance(first, Tensor):
        raise OptionError(f"x (={type(first).__name__}) must be a tensor, or a tuple of tensors.")
    return first.detach()


def check_heat(heat: Any) -> None:
    """Refuse what holds no maps.

    Raises:
        ShapeError: it is neither an attribution nor a tensor.
    """
    if not isinstance(heat, Attribution | Tensor):
        raise ShapeError(f"heat (={type(heat).__name__}) must be an Attribution, or a tensor.")


def heat_of(heat: Any, x: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Signed maps at the input's size, on its device, and which of them say something.

    Values that are not finite are set to 0, so that the rest can be computed. A map says nothing
    that has such values, or is the same everywhere, or whose status says so.

    Raises:
        ShapeError: not one map a sample, or of another size.
    """
    check_heat(heat)
    maps = at_input(heat, size).detach().to(x.device).float()
    if len(maps) != len(x):
        raise ShapeError(f"heat has {len(maps)} maps for {len(x)} samples of x; give one each.")
    given = heat.values if isinstance(heat, Attribution) else heat
    told = torch.cat([_varies(part) for part in own_parts(given.detach(), heat)])
    if isinstance(heat, Attribution):
        told &= torch.tensor([word not in SILENT for word in heat.status], device=told.device)
    return maps.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0), told.to(x.device)


def own_parts(maps: Tensor, heat: Any) -> list[Tensor]:
    """Maps (B, *S) together, or of padded ones each by itself, (1, *S), without what is behind it.

    Args:
        maps: as many, and of the size, as those of the heatmap.
        heat: an attribution, or a tensor, which is never padded.
    """
    extents = heat.extents if isinstance(heat, Attribution) else None
    if extents is None:
        return [maps]
    pairs = zip(torch.split(maps, 1), extents, strict=True)
    return [part[(slice(None), *map(slice, extent.cells))] for part, extent in pairs]


def _varies(maps: Tensor) -> Tensor:
    """Which maps are finite and not the same everywhere, (B,)."""
    flat = maps.flatten(1)
    return flat.isfinite().all(1) & (flat.amax(1) > flat.amin(1))


def shown(heat: Any) -> tuple[Tensor, Tensor]:
    """Maps as displayed, in [0, 1] at the input's size, and which are finite."""
    if isinstance(heat, Attribution):
        return heat.display(), heat.values.isfinite().flatten(1).all(1)
    if not isinstance(heat, Tensor) or not 2 <= heat.ndim <= 4 or not heat.is_floating_point():
        kind = tuple(heat.shape) if isinstance(heat, Tensor) else type(heat).__name__
        raise ShapeError(
            f"heat (={kind}) must be an Attribution, or a tensor of numbers (B, *S) at the "
            "input's size."
        )
    finite = heat.isfinite().flatten(1).all(1)
    maps = heat.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).float().relu()
    highest = maps.flatten(1).amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    return torch.where(highest > 0, maps / highest, torch.zeros_like(maps)), finite


def _permutations(positions: int, keys: Sequence[int], seed: int, purpose: str) -> Tensor:
    drawn = [torch.from_numpy(seeds.permutation(positions, seed, purpose, key)) for key in keys]
    return torch.stack(drawn)


def _inverse(order: Tensor) -> Tensor:
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)
