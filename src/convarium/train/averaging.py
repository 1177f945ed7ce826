"""Averaged weights: an exponential moving average that follows the training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of a network's parameters and buffers.

    a <- d a + (1 - d) w after each step, with d = min(decay, (1 + t) / (10 + t)) so that the first
    weights are soon forgotten. Integer buffers are copied.

    Args:
        model: the network whose weights are followed.
        decay: d for large t.

    References:
        Polyak, Juditsky (1992), SIAM J. Control Optim. 30(4); the growing decay is that of
        TensorFlow's ExponentialMovingAverage with `num_updates`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._live = model.state_dict(keep_vars=True)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after step t = `step`, counted from 1."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        averaged: list[Tensor] = []
        live: list[Tensor] = []
        for name, value in self.state.items():
            if value.is_floating_point():
                averaged.append(value)
                live.append(self._live[name])
            else:
                value.copy_(self._live[name])
        torch._foreach_lerp_(averaged, live, weight)
