"""Heatmaps without gradients: the maps of a layer, weighted by what changes when they are changed.

maps A (B, C, *S) of a layer -> the network without A_k, or with the input seen through A_k
-> scores (C, B) -> weights w (B, C) -> sum_k w_k A_k
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from convarium.errors import OptionError
from convarium.explain.attribution import Attribution
from convarium.explain.cam import Layer, attribution
from convarium.explain.layers import find_layer
from convarium.explain.looking import Forward, Inputs, Look, looking
from convarium.explain.padding import unpadded
from convarium.explain.reading import with_axes
from convarium.explain.replaying import Behind
from convarium.explain.resizing import resized
from convarium.explain.targets import Target
from convarium.measure.arguments import finite


@unpadded
def ablation_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
    batch_size: int = 32,
) -> Attribution:
    """Ablation-CAM: each map weighs what the score loses without it.

    w_k = y_c - y_c(A_k = 0); the map is sum_k w_k A_k. The score is the logit and the weight a
    difference, so that a negative logit does not turn the sign. What lies behind the layer runs
    once for each channel. Where that is affine, such as pooling and one linear layer, w_k is the
    sum over positions of dy_c/dA_k A_k, and a second pass gives all. Arguments as in `grad_cam`.

    Args:
        batch_size: samples in one pass, all changes together; at least the batch.

    References:
        Desai and Ramaswamy (2020), "Ablation-CAM", WACV; here without dividing by y_c.
    """
    with looking(model, x, forward) as look, torch.no_grad():
        several = look.at_once(batch_size)
        found = find_layer(look, layer, target)
        behind = Behind(look, found, target)
        plain = behind.reading()
        if not behind.connected:
            return attribution(plain, "ablation_cam", _combined)
        slope = behind.slope()
        if slope is None:
            behind = behind if several == 1 else Behind(look, found, behind.goal, several)
            weights = _losses(behind, plain.activation, plain.score)
        else:
            weights = (with_axes(slope, look.rank) * plain.activation).flatten(2).sum(2)
        return attribution(replace(plain, gradient=weights), "ablation_cam", _combined)


@unpadded
def score_cam(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: Layer = None,
    forward: Forward | None = None,
    batch_size: int = 32,
    baseline: float = 0.0,
) -> Attribution:
    """Score-CAM: each map weighs the score of the input seen through it.

    H_k: the map A_k at the input's size, from its minimum to its maximum on [0, 1] (0 where it is
    constant). w = softmax_k(y_c(x H_k + b (1 - H_k)) - y_c(b)); the map is sum_k w_k A_k. The
    baseline's score y_c(b) is the same for all k, so that the softmax does not depend on it and it
    is not computed. The network runs once for each channel. Arguments as in `grad_cam`.

    Args:
        batch_size: samples in one pass, all maps together; at least the batch.
        baseline: b, what is hidden becomes; 0 is the mean colour of normalised images.

    Raises:
        OptionError: x holds token ids, which cannot be hidden by degrees, or the baseline is no
            number.

    References:
        Wang et al. (2020), "Score-CAM", arXiv:1910.01279, algorithm 1.
    """
    hidden = finite(baseline=baseline)
    with looking(model, x, forward) as look, torch.no_grad():
        if not look.inputs[0].is_floating_point():
            raise OptionError(
                "x holds token ids, which score_cam cannot hide by degrees; use ablation_cam."
            )
        several = look.at_once(batch_size)
        found = find_layer(look, layer, target)
        behind = Behind(look, found, target)
        plain = behind.reading()
        if not behind.connected:
            return attribution(plain, "score_cam", _combined)
        seen = [
            behind.goal(look.several(rows)).reshape(-1, look.samples)
            for rows in _through(look, plain.activation, several, hidden)
        ]
        scores = torch.cat(seen).T.to(plain.activation.dtype)
        alone = scores.shape[1] == 1  # then there is no other map to move the score from
        moves = scores - (plain.score.unsqueeze(1) if alone else scores[:, :1])
        return attribution(
            replace(plain, gradient=moves), "score_cam", lambda a, w: _combined(a, w.softmax(1))
        )


def _losses(behind: Behind, maps: Tensor, score: Tensor) -> Tensor:
    """What the score loses without each of the maps, (B, C); nothing without an empty one."""
    samples = len(maps)
    losses = maps.new_zeros(maps.shape[:2])
    alive = maps.flatten(2).any(2).any(0).nonzero().flatten()
    for channels in torch.split(alive, behind.several):
        without = behind.scores(functools.partial(_ablated, channels, samples))
        losses[:, channels] = (score - without[: len(channels)]).to(losses.dtype).T
    return losses


def _ablated(channels: Tensor, samples: int, rows: Tensor) -> Tensor:
    """The i-th batch of the rows without the i-th of the channels."""
    for block, channel in zip(torch.split(rows, samples), channels.tolist(), strict=False):
        block[:, channel] = 0
    return rows


def _through(look: Look, maps: Tensor, several: int, baseline: float) -> Iterator[Tensor]:
    """The first input seen through each map: (n B, C, *S) at a time."""
    x = look.inputs[0]
    for some in torch.split(maps, several, dim=1):
        masks = resized(some, look.covered).movedim(1, 0).unsqueeze(2)
        low, high = (end(masks.flatten(2), 2) for end in (torch.amin, torch.amax))
        shape = (*low.shape, *[1] * (masks.ndim - 2))
        low, high = low.reshape(shape), high.reshape(shape)
        masks = torch.where(high > low, (masks - low) / (high - low), 0).to(x.dtype)
        masks = masks[(slice(None),) * 3 + tuple(map(slice, look.size))]
        yield (baseline + (x - baseline) * masks).flatten(0, 1)


def _combined(maps: Tensor, weights: Tensor) -> Tensor:
    """sum_k w_k A_k, for weights (B, C)."""
    return (maps * weights.reshape(*weights.shape, *[1] * (maps.ndim - 2))).sum(1)
