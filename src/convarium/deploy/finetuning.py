"""Weights that suffer less from 8-bit numbers: learnt with rounded numbers from the network itself.

samples -> network --------------------------------> outputs --+
        -> copy with rounded weights and inputs -> outputs -----+-> squared error -> gradient

What is rounded passes its gradient on (straight through); what is kept are the unrounded weights,
so that any tool may round them afterwards. No labels are needed. Each number learns at a rate that
goes with its size, since channels of very different sizes are what 8 bits suffer from most.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd
from torch.nn.utils import parametrize

from convarium.deploy.neighbours import LAYERS
from convarium.deploy.sensitivity import EIGHT_BITS, Steps, rounded_input, rounded_weight

_RATE: Final = 3e-2  # of Adam, times the size of each number
_LEAST: Final = 1e-3  # of the mean size in its tensor, that a number counts as
_BATCH: Final = 32


def finetuned(
    network: nn.Module,
    samples: Tensor,
    passes: int,
    *,
    steps: Steps = EIGHT_BITS,
    seed: int = 0,
    until: float = math.inf,
) -> nn.Module:
    """A copy of a network whose outputs change less where its numbers are rounded.

    Args:
        network: with its norms folded; it stays as it is.
        samples: (N, C, *S) training samples, preprocessed.
        passes: over all of them.
        steps: that the numbers are rounded to.
        seed: of the order of the samples.
        until: when, by `time.monotonic`, the learning is broken off.

    References:
        Nagel et al. 2021, arXiv:2106.08295, section 4 (quantisation-aware training); the outputs
        of the network are what is learnt, as in knowledge distillation (section 4.4 there has
        labels instead).
    """
    student = copy.deepcopy(network).eval().requires_grad_(True)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.enable_grad(), rounding(student, steps):
        numbers = [*student.parameters()]
        sizes = [_sizes(each.detach()) for each in numbers]
        optimizer = torch.optim.Adam(numbers, _RATE)
        turns = (torch.randperm(len(samples), generator=generator) for _ in range(passes))
        parts = (some for turn in turns for some in torch.split(turn, _BATCH))
        steps_in_all = max(1, passes * -(-len(samples) // _BATCH))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps_in_all)
        for some in itertools.takewhile(lambda _: time.monotonic() < until, parts):
            x = samples[some].clone()
            with torch.no_grad():
                expected = network(x)
            optimizer.zero_grad()
            torch.autograd.backward(error(student(x), expected))
            _step(optimizer, numbers, sizes)
            schedule.step()
    return student.requires_grad_(False)


def error(outputs: Tensor, expected: Tensor) -> Tensor:
    """Squared error as a share of the outputs' energy."""
    energy = expected.square().mean().clamp(min=torch.finfo(expected.dtype).tiny)
    return (outputs - expected).square().mean() / energy


@contextmanager
def rounding(network: nn.Module, steps: Steps) -> Iterator[None]:
    """Inside, the convolutions and linear layers of a network compute with rounded numbers."""
    layers: list[Any] = [each for each in network.modules() if isinstance(each, LAYERS)]
    handles = []
    try:
        for layer in layers:
            axis = 1 if isinstance(layer, _ConvTransposeNd) else 0
            parametrize.register_parametrization(layer, "weight", _Rounded(axis, steps))
            handles.append(layer.register_forward_pre_hook(_of_input(steps)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers:
            if parametrize.is_parametrized(layer, "weight"):
                unrounded = layer.parametrizations.weight.original.detach().clone()
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
                layer.weight = nn.Parameter(unrounded)  # where that left the rounded ones


class _Rounded(nn.Module):
    """Rounds a weight, and passes the gradient on."""

    def __init__(self, axis: int, steps: Steps) -> None:
        super().__init__()
        self.axis, self.steps = axis, steps

    def forward(self, weight: Tensor) -> Tensor:
        return rounded_weight(weight, self.axis, self.steps)


def _of_input(steps: Steps) -> Any:
    def hook(layer: nn.Module, given: Any) -> Any:
        x, *rest = given
        return (rounded_input(x, steps), *rest)

    return hook


@torch.no_grad()
def _step(
    optimizer: torch.optim.Optimizer, numbers: Sequence[nn.Parameter], sizes: Sequence[Tensor]
) -> None:
    """A step of the optimizer, times the size of each number."""
    before = [each.detach().clone() for each in numbers]
    optimizer.step()
    for each, old, size in zip(numbers, before, sizes, strict=True):
        each.copy_(torch.lerp(old, each, size))


def _sizes(numbers: Tensor) -> Tensor:
    """How large each number of a tensor is: by how much a step may change it.

    So channels that are much smaller than others of their layer learn as quickly as those. Where
    all are 0, as biases begin, they count as a small share of 1.
    """
    found = numbers.abs()
    return found.clamp(min=_LEAST * (float(found.mean()) or 1.0))
