"""Heatmaps against regions that people have marked: the pointing game, and energy with its lift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from convarium.errors import OptionError, ShapeError
from convarium.explain.attribution import Attribution
from convarium.explain.controls import Controlled, check_heat, first_input, heat_of, shown, sobel
from convarium.explain.looking import Inputs
from convarium.measure.arguments import real


@dataclass(frozen=True, eq=False)
class PointingGame(Controlled):
    """Hits of the hottest position; `score` is 1 for a hit, 0 for a miss, NaN where not counted.

    Of several hottest positions each counts by its share. `random` is the share of all positions
    that would be a hit, which a position drawn at random has on average.

    Attributes:
        centre: (B,) the same for the centre of the input, the control that photographs need.
        tolerance: how far from the region still is a hit.
        empty_masks: samples not counted, because nothing is marked.
        empty_maps: samples not counted, because their map is constant or not finite.
    """

    centre: Tensor
    tolerance: float
    empty_masks: int
    empty_maps: int


@dataclass(frozen=True, eq=False)
class Energy(Controlled):
    """How much of the positive heat lies inside of a region; `score` is the lift, energy / area.

    A lift of 1 is what heat spread evenly, or at random, has. A region that is everything has
    energy, area and lift 1. NaN where not counted.

    Attributes:
        energy: (B,) the share of the positive heat inside.
        area: (B,) the share of the positions inside.
        empty_masks: samples not counted, because nothing is marked.
        empty_maps: samples not counted, because they have no positive heat, or NaN.
    """

    energy: Tensor
    area: Tensor
    empty_masks: int
    empty_maps: int

    @property
    def lift(self) -> Tensor:
        """(B,) energy / area."""
        return self.score


def pointing_game(
    heat: Attribution | Tensor,
    masks: Tensor,
    *,
    x: Inputs | None = None,
    tolerance: float = 0,
) -> PointingGame:
    """Whether the hottest position lies in the marked region, or at most `tolerance` from it.

    Args:
        heat: an attribution, or maps (B, *S) at the input's size; signed.
        masks: (B, *S) at the input's size: truth values, or 0 elsewhere and another number inside.
        x: (B, C, *S) the input, for the control of the edge detector.
        tolerance: in positions of the input, as the crow flies; 15 in the paper.

    Raises:
        OptionError: a negative tolerance, or a mask of shares.
        ShapeError: masks or maps of another shape.

    >>> found = pointing_game(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[0, 1, 0, 0]]))
    >>> found.score, found.random
    (tensor([0.]), tensor([0.2500]))

    References:
        Zhang et al. (2016), "Top-down neural attention by excitation backprop", arXiv:1608.00507,
        the pointing game.
    """
    if not 0 <= real(tolerance) < math.inf:
        raise OptionError(f"tolerance (={tolerance!r}) must be a number of 0 or more.")
    inside = _regions(heat, masks)
    size = inside.shape[1:]
    maps, told = heat_of(heat, inside, size)
    near = _dilated(inside, tolerance)
    marked = inside.flatten(1).any(1)
    counted = marked & told
    edges = None if x is None else _hits(_edges(x, inside), near)

    def only(values: Tensor) -> Tensor:
        return torch.where(counted, values, math.nan)

    return PointingGame(
        score=only(_hits(maps, near)),
        random=only(near.flatten(1).float().mean(1)),
        edges=None if edges is None else only(edges),
        better="higher",
        centre=only(_hits(_nearness(size, inside.device).expand_as(maps), near)),
        tolerance=float(tolerance),
        empty_masks=int((~marked).sum()),
        empty_maps=int((marked & ~told).sum()),
    )


def energy(heat: Attribution | Tensor, masks: Tensor, *, x: Inputs | None = None) -> Energy:
    """The share of the positive heat in the marked region, beside the region's area.

    energy = sum of heat inside / sum of heat; lift = energy / area. The heat is that of
    `display`. With 80 % of the energy in a region of 80 % of the input nothing is said: lift 1.

    Args:
        heat, masks, x: as for `pointing_game`.

    Raises:
        OptionError: a mask of shares.
        ShapeError: masks or maps of another shape.

    >>> found = energy(torch.tensor([[1.0, 3, -5, 0]]), torch.tensor([[0, 1, 1, 0]]))
    >>> found.energy, found.area, found.lift
    (tensor([0.7500]), tensor([0.5000]), tensor([1.5000]))

    References:
        Wang et al. (2020), "Score-CAM", arXiv:1910.01279, energy-based pointing game.
    """
    inside = _regions(heat, masks)
    maps, finite = shown(heat)
    maps = maps.to(inside.device)
    marked = inside.flatten(1).any(1)
    warm = finite.to(inside.device) & (maps > 0).flatten(1).any(1)
    counted = marked & warm
    area = inside.flatten(1).float().mean(1)

    def only(values: Tensor) -> Tensor:
        return torch.where(counted, values, math.nan)

    found = _share(maps, inside)
    return Energy(
        score=only(found / area),
        random=only(torch.ones_like(area)),
        edges=None if x is None else only(_share(_edges(x, inside), inside) / area),
        better="higher",
        energy=only(found),
        area=area,
        empty_masks=int((~marked).sum()),
        empty_maps=int((marked & ~warm).sum()),
    )


def _regions(heat: Attribution | Tensor, masks: Any) -> Tensor:
    """The masks as truth values, on the device of the maps."""
    check_heat(heat)
    values = heat.values if isinstance(heat, Attribution) else heat
    size = heat.input_size if isinstance(heat, Attribution) else tuple(values.shape[1:])
    wanted = (len(values), *size)
    if not isinstance(masks, Tensor) or tuple(masks.shape) != wanted:
        found = tuple(masks.shape) if isinstance(masks, Tensor) else type(masks).__name__
        raise ShapeError(
            f"masks (={found}) must be {wanted}, one a sample at the input's size; resize with "
            f"F.interpolate(masks[:, None].float(), size={tuple(size)}, mode='nearest-exact')[:, 0]"
            "."
        )
    inside = masks.detach().to(values.device)
    if inside.is_floating_point() and not ((inside == 0) | (inside == 1)).all():
        raise OptionError("masks holds numbers other than 0 and 1; give masks > 0.5.")
    regions: Tensor = inside != 0
    return regions


def _edges(given: Inputs, inside: Tensor) -> Tensor:
    """The edge detector's map of the input."""
    x = first_input(given)
    size = tuple(inside.shape)
    if x.ndim != inside.ndim + 1 or (len(x), *x.shape[2:]) != size:
        raise ShapeError(
            f"x has shape {tuple(x.shape)}; beside masks {size} it must be (B, C, *S), the input."
        )
    return sobel(x.to(inside.device))


def _hits(maps: Tensor, near: Tensor) -> Tensor:
    """The share of the hottest positions that are near, (B,)."""
    flat = maps.flatten(1)
    hottest = flat == flat.amax(1, keepdim=True)
    return (hottest & near.flatten(1)).sum(1) / hottest.sum(1)


def _share(maps: Tensor, inside: Tensor) -> Tensor:
    """The share of the sum that lies inside, (B,); NaN where the sum is 0."""
    flat = maps.flatten(1).double()
    return ((flat * inside.flatten(1)).sum(1) / flat.sum(1)).float()


def _dilated(inside: Tensor, tolerance: float) -> Tensor:
    """Positions at most `tolerance` from the region, in Euclidean distance.

    The squared distance, exact up to the tolerance, an axis after the other.
    """
    reach = math.floor(tolerance)
    if reach == 0:
        return inside
    far = math.inf
    squared = torch.where(inside, 0.0, far)
    for axis in range(1, inside.ndim):
        side, pad = inside.shape[axis], [0, 0] * (inside.ndim - 1 - axis)
        padded = F.pad(squared, [*pad, reach, reach], value=far)
        for step in range(-reach, reach + 1):
            there = padded.narrow(axis, reach + step, side)
            squared = torch.minimum(squared, there + step * step)
    return squared <= tolerance * tolerance


def _nearness(size: tuple[int, ...], device: torch.device) -> Tensor:
    """Highest at the centre of the input; at several positions where a side is even."""
    total = torch.zeros(size, device=device)
    for axis, side in enumerate(size):
        place = torch.arange(side, device=device) - (side - 1) / 2
        total = total - place.square().reshape(-1, *[1] * (len(size) - 1 - axis))
    return total
