"""Explanations at the input: gradients, plain, smoothed, integrated or guided, and occlusion.

input x (B, C, *S) -> score y -> dy/dx, or what y loses without a part of x -> sum over channels
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convarium import seeds
from convarium.errors import OptionError, import_extra
from convarium.explain.attribution import Attribution
from convarium.explain.guiding import Guided
from convarium.explain.looking import Forward, Inputs, Look, looking
from convarium.explain.padding import unpadded
from convarium.explain.scored import Scored
from convarium.explain.targets import Target
from convarium.measure.arguments import finite, real, sizes, whole


@unpadded
def input_gradients(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: None = None,
    forward: Forward | None = None,
) -> Attribution:
    """Gradient of the score with respect to the input: what a small change would do.

    `.channels` is dy_c/dx, and `.values` its sum over channels. Arguments as in `grad_cam`, without
    a layer.

    References:
        Simonyan et al. (2014), "Deep Inside Convolutional Networks", arXiv:1312.6034, section 3.
    """
    with looking(model, x, forward) as look:
        scored = Scored(look, target, layer, "input_gradients")
        return scored.result(scored.gradient)


@unpadded
def smooth_grad(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: None = None,
    forward: Forward | None = None,
    batch_size: int = 32,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Attribution:
    """SmoothGrad: the mean gradient around the input, without the flicker of a single one.

    1/n sum_i dy_c/dx (x + e_i), with e_i normal of standard deviation noise (max x - min x). Each
    sample of a batch sees the same e_i. Arguments as in `grad_cam`, without a layer.

    Args:
        batch_size: samples in one pass, all copies together; at least the batch.
        samples: n, noisy copies of each sample.
        noise: as a share of the sample's range; 0.1 to 0.2 is usual.
        seed: of the noise.

    References:
        Smilkov et al. (2017), "SmoothGrad", arXiv:1706.03825.
    """
    whole(1, samples=samples)
    if not 0 <= real(noise) < math.inf:
        raise OptionError(f"noise (={noise!r}) must be 0 or more.")
    with looking(model, x, forward) as look:
        several = look.at_once(batch_size)
        scored = Scored(look, target, layer, "smooth_grad")
        clean = look.inputs[0]
        spread = noise * (clean.flatten(1).amax(1) - clean.flatten(1).amin(1))
        spread = spread.reshape(-1, *[1] * (clean.ndim - 1))
        total = torch.zeros_like(scored.gradient)
        for start in range(0, samples, several):
            drawn = [_normal(clean, seed, i) for i in range(start, min(start + several, samples))]
            rows = torch.cat([clean + spread * e for e in drawn])
            found = scored.gradients(rows)
            total += found.reshape(-1, *total.shape).sum(0)
        return scored.result(total / samples)


@unpadded
def integrated_gradients(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: None = None,
    forward: Forward | None = None,
    batch_size: int = 32,
    baseline: float | Tensor = 0.0,
    steps: int = 50,
) -> Attribution:
    """Integrated gradients: what each number of the input adds to the score of a baseline.

    (x - b) times the mean of dy_c/dx on the line from b to x, by Gauss-Legendre. Its sum is
    y_c(x) - y_c(b), as closely as the steps allow. Computed by captum. Arguments as in `grad_cam`,
    without a layer.

    Args:
        batch_size: samples in one pass, all points together; at least the batch.
        baseline: b, one number or a tensor that x's shape takes; 0 is the mean colour of
            normalised images.
        steps: points on the line.

    Raises:
        OptionError: a baseline that does not fit x.

    References:
        Sundararajan et al. (2017), "Axiomatic Attribution for Deep Networks", arXiv:1703.01365,
        equation 1.
    """
    captum: Any = import_extra("captum.attr", "explain")
    whole(1, steps=steps)
    with looking(model, x, forward) as look:
        several = look.at_once(batch_size)
        scored = Scored(look, target, layer, "integrated_gradients")
        if not scored.connected:
            return scored.result(scored.gradient)
        clean = look.inputs[0]
        wide = clean if clean.dtype == torch.float64 else clean.float()
        start = _blank(baseline, wide)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that x did not ask for gradients
            found = captum.IntegratedGradients(scored.scores).attribute(
                wide.clone(),
                baselines=start.clone(),
                n_steps=steps,
                internal_batch_size=several * look.samples,
            )
        return scored.result(found.detach())


@unpadded
def guided_backpropagation(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: None = None,
    forward: Forward | None = None,
) -> Attribution:
    """Guided backpropagation: the gradient, of which each ReLU lets only what is positive pass.

    Every ReLU and ReLU6 is guided, modules, reused ones and functional calls alike; of other
    activations `.note` says that they were not. It draws fine edges and depends little on the class
    and on trained weights (see `sanity_check`). Arguments as in `grad_cam`, without a layer.

    References:
        Springenberg et al. (2015), "Striving for Simplicity", arXiv:1412.6806.
    """
    # captum's guides the modules `nn.ReLU` alone, and leaves out functional calls without a word.
    guide = Guided()
    with looking(model, x, forward) as look:
        scored = Scored(look, target, layer, "guided_backpropagation", guide)
        return scored.result(scored.gradient, guide.note)


@unpadded
def occlusion(
    model: nn.Module,
    x: Inputs,
    *,
    target: Target = None,
    layer: None = None,
    forward: Forward | None = None,
    batch_size: int = 32,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    baseline: float = 0.0,
) -> Attribution:
    """Occlusion: what the score loses where a window of the input is hidden.

    A window slides over the input, all channels at once; a position has the mean of
    y_c(x) - y_c(x without the window) over the windows that cover it. Works for token ids too, with
    the id of the padding as the baseline. Computed by captum. Arguments as in `grad_cam`, without a
    layer.

    Args:
        batch_size: samples in one pass, all windows together; at least the batch.
        window: sides of the window; None: an eighth of the input's.
        stride: steps of the window; None: half of its sides.
        baseline: what is hidden becomes; 0 is the mean colour of normalised images.

    References:
        Zeiler and Fergus (2014), "Visualizing and Understanding Convolutional Networks",
        arXiv:1311.2901, section 4.2.
    """
    captum: Any = import_extra("captum.attr", "explain")
    hidden = finite(baseline=baseline)
    with looking(model, x, forward) as look, torch.no_grad():
        if not look.inputs[0].is_floating_point() and hidden != int(hidden):
            raise OptionError(f"baseline (={baseline!r}) must be a token id, a whole number.")
        several = look.at_once(batch_size)
        scored = Scored(look, target, layer, "occlusion")
        sides = _sides("window", window, [side // 8 for side in look.size], look)
        steps = _sides("stride", stride, [side // 2 for side in sides], look)
        if any(step > side for step, side in zip(steps, sides, strict=True)):
            raise OptionError(f"stride (={steps}) must not be larger than window (={sides}).")
        all_channels = tuple(look.inputs[0].shape[1 : look.inputs[0].ndim - look.rank])
        found = captum.Occlusion(scored.scores).attribute(
            look.inputs[0].clone(),
            sliding_window_shapes=(*all_channels, *sides),
            strides=(*all_channels, *steps),
            baselines=hidden if look.inputs[0].is_floating_point() else int(hidden),
            perturbations_per_eval=several,
        )
        return scored.result(found[:, 0] if all_channels else found, whole=True)


def _blank(baseline: Any, x: Tensor) -> Tensor:
    """The baseline as an input."""
    try:
        return torch.as_tensor(baseline, dtype=x.dtype, device=x.device).expand_as(x)
    except (RuntimeError, TypeError, ValueError) as error:
        kind = tuple(baseline.shape) if isinstance(baseline, Tensor) else repr(baseline)
        raise OptionError(
            f"baseline (={kind}) must be a number, or a tensor that can be expanded to x, "
            f"{tuple(x.shape)}."
        ) from error


def _normal(x: Tensor, seed: int, number: int) -> Tensor:
    """Standard normal numbers of one sample's shape, a function of seed and number."""
    generator = torch.Generator().manual_seed(seeds.derive(seed, "smooth_grad", number))
    return torch.randn(x.shape[1:], generator=generator).to(x)


def _sides(
    name: str, given: int | tuple[int, ...] | None, default: Sequence[int], look: Look
) -> tuple[int, ...]:
    """A side along each axis: one for all, one each, or the default, which is at least 1."""
    if given is None:
        return tuple(max(1, side) for side in default)
    sides = sizes(given if isinstance(given, tuple | list) else [given] * look.rank)
    fits = len(sides) == look.rank
    if not fits or not all(0 < a <= b for a, b in zip(sides, look.size, strict=True)):
        raise OptionError(f"{name} (={given}) must have sides from 1 to those of x, {look.size}.")
    return sides
