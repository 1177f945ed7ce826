"""Deletion and insertion: how the score moves as the most relevant positions go, or come.

order of positions -> the first k replaced by the baseline -> score, for each k -> area below
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain.attribution import Attribution, spatial_size
from convarium.explain.controls import (
    Controlled,
    first_input,
    heat_of,
    is_tokens,
    three_orders,
)
from convarium.explain.looking import Forward, Inputs
from convarium.explain.probing import Output, Probe, probing
from convarium.explain.targets import Target
from convarium.measure.arguments import whole

Baseline = float | Literal["blur", "mean"]

_STEPS = 32


@dataclass(frozen=True, eq=False)
class RemovalCurve(Controlled):
    """Scores as positions are removed or inserted; `score` is the area below the curve.

    Attributes:
        fractions: (steps + 1,) the share of positions changed so far, from 0 to 1.
        values: (B, steps + 1) the score there, in the order of the heatmap.
        random_values, edge_values: the same in a random order, and in that of an edge detector.
        empty_maps: samples without a score, because their map says nothing: it is constant, not
            finite, or of a status that says so.
    """

    fractions: Tensor
    values: Tensor
    random_values: Tensor
    edge_values: Tensor | None
    empty_maps: int = 0


def deletion(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    *,
    target: Target = None,
    steps: int | None = None,
    baseline: Baseline = 0.0,
    output: Output = "probability",
    forward: Forward | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> RemovalCurve:
    """Remove the most relevant positions first; a low area is good.

    After step i of `steps`, floor(i n / steps) of the n positions hold the baseline. The area is
    that of the trapezoid rule. Beside it stand the areas for a random order and for the order of
    the Sobel magnitude of the input.

    Args:
        model: any module; it runs in eval mode and is afterwards as before.
        x: (B, C, *S), (B, T) token ids, or a tuple of inputs, of which the first is changed.
        heat: an attribution, or maps (B, *S) at the input's size; signed values are ranked, and
            equal ones come in a seeded random order.
        target: None: what the heatmap explains, for a tensor the predicted class of the whole
            sample; a class; one per sample; or a callable that takes any number of rows.
        steps: None: 32, or one position a step where there are fewer.
        baseline: a number (of token ids: an id), "mean" of each sample and channel, or "blur", a
            Gaussian of a tenth of each side.
        output: "probability" (softmax; sigmoid of a single output) or "score" (the logit).
        forward: takes the place of the model's call, and gives logits (B, classes).
        batch_size: inputs at a time.
        seed: of the random order and of equal values.

    Raises:
        OptionError: an unknown baseline or output, steps or batch_size out of range.
        ShapeError: maps that do not fit the input.

    >>> sums = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> sums[1].weight.data = torch.tensor([[5.0, 3, 1, 1]])
    >>> x, heat = torch.ones(1, 1, 4), torch.tensor([[5.0, 3, 1, 1]])
    >>> deletion(sums, x, heat, output="score").score
    tensor([3.2500])

    References:
        Petsiuk, Das, Saenko (2018), "RISE", arXiv:1806.07421, the causal metrics.
    """
    return _curve(
        model, x, heat, target, steps, baseline, output, forward, batch_size, seed, inserting=False
    )


def insertion(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    *,
    target: Target = None,
    steps: int | None = None,
    baseline: Baseline = "blur",
    output: Output = "probability",
    forward: Forward | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> RemovalCurve:
    """Insert the most relevant positions first, into the baseline; a high area is good.

    All else is as in `deletion`. The blurred baseline lets no edges of the inserted parts appear.

    Raises:
        OptionError: as for `deletion`.
        ShapeError: as for `deletion`.

    >>> sums = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> sums[1].weight.data = torch.tensor([[5.0, 3, 1, 1]])
    >>> x, heat = torch.ones(1, 1, 4), torch.tensor([[5.0, 3, 1, 1]])
    >>> insertion(sums, x, heat, output="score", baseline=0).score
    tensor([6.7500])

    References:
        Petsiuk, Das, Saenko (2018), "RISE", arXiv:1806.07421, the causal metrics.
    """
    return _curve(
        model, x, heat, target, steps, baseline, output, forward, batch_size, seed, inserting=True
    )


def _curve(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    target: Target,
    steps: int | None,
    baseline: Baseline,
    output: Output,
    forward: Forward | None,
    batch_size: int,
    seed: int,
    *,
    inserting: bool,
) -> RemovalCurve:
    first = first_input(x)
    size = spatial_size(first)
    maps, told = heat_of(heat, first, size)
    counts = _counts(math.prod(size), steps).to(first.device)
    ranks = three_orders(first, maps, seed)
    empty = filled(first, baseline)
    with probing(
        model, x, heat, target=target, output=output, forward=forward, batch_size=batch_size
    ) as probe:
        values = _followed(probe, first, empty, ranks, counts, inserting)
    values = values.clone()
    values[0, ~told] = math.nan
    fractions = counts.float() / counts[-1]
    areas = torch.trapezoid(values.double(), fractions.double()).float()
    return RemovalCurve(
        score=areas[0],
        random=areas[1],
        edges=areas[2] if len(areas) > 2 else None,
        better="higher" if inserting else "lower",
        fractions=fractions,
        values=values[0],
        random_values=values[1],
        edge_values=values[2] if len(values) > 2 else None,
        empty_maps=int((~told).sum()),
    )


def _counts(positions: int, steps: int | None) -> Tensor:
    """How many positions are changed after each step, from none to all."""
    chosen = min(_STEPS, positions) if steps is None else whole(1, positions, steps=steps)
    return torch.arange(chosen + 1) * positions // chosen


def _followed(
    probe: Probe, x: Tensor, empty: Tensor, ranks: Tensor, counts: Tensor, inserting: bool
) -> Tensor:
    """Scores of every order, sample and count, (orders, B, counts)."""
    orders, samples, _ = ranks.shape
    begin, end = (empty, x) if inserting else (x, empty)
    inner = counts[1:-1]
    axes = x.shape[1:] if is_tokens(x) else (1, *x.shape[2:])

    def changed(sample: Tensor, version: Tensor) -> Tensor:
        order, step = version // len(inner), version % len(inner)
        gone = ranks[order, sample] < inner[step].unsqueeze(1)
        return torch.where(gone.reshape(-1, *axes), end[sample], begin[sample])

    between = probe.scores(orders * len(inner), changed).reshape(orders, len(inner), samples)
    nothing = probe.of(empty)
    first, last = (nothing, probe.original) if inserting else (probe.original, nothing)
    start, stop = (side.expand(orders, 1, samples) for side in (first, last))
    return torch.cat([start, between, stop], 1).transpose(1, 2)


def filled(x: Tensor, baseline: Baseline) -> Tensor:
    """The input with nothing to see: the baseline at every position.

    Raises:
        OptionError: no such baseline, or one that token ids do not have.
    """
    tokens = is_tokens(x)
    if isinstance(baseline, int | float) and not isinstance(baseline, bool):
        if math.isfinite(baseline) and not (tokens and baseline != int(baseline)):
            return torch.full_like(x, baseline)
    elif baseline == "mean" and not tokens:
        return x.mean(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
    elif baseline == "blur" and not tokens:
        return _blurred(x)
    allowed = "a token id" if tokens else "a number, 'blur' or 'mean'"
    raise OptionError(f"baseline (={baseline!r}) must be {allowed}.")


def _blurred(x: Tensor) -> Tensor:
    """A Gaussian along each axis, of a tenth of the side; the weights inside sum to 1."""
    numbers = x if x.dtype == torch.float64 else x.float()
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        place = torch.arange(side, device=x.device, dtype=numbers.dtype)
        apart = (place.unsqueeze(1) - place) / max(1.0, side / 10)
        weights = (-apart.square() / 2).softmax(1)
        numbers = (numbers.transpose(axis, -1) @ weights.T).transpose(axis, -1)
    return numbers.to(x.dtype)
