"""Grad-CAM: where a convolutional network sees what speaks for a class.

maps A (B, C, *S) of a layer -> score y -> dy/dA -> mean over positions w (B, C) -> sum_k w_k A_k
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from convarium.explain.attribution import Attribution, describe
from convarium.explain.reading import Reading, read
from convarium.explain.targets import Target


def grad_cam(
    model: nn.Module,
    x: Tensor,
    *,
    target: Target = None,
    layer: str | nn.Module | None = None,
) -> Attribution:
    """Grad-CAM of every sample of a batch, raw and signed.

    With A_k the k-th map of the layer, y_c the logit of class c and Z the number of positions:
    w_k = 1/Z sum_p dy_c/dA_k(p); the map is sum_k w_k A_k. The published ReLU belongs to the
    display: `.display()`.

    The network runs once, in eval mode; only the part behind the layer is differentiated.
    Afterwards mode, gradients, buffers, hooks and random streams are as before.

    Args:
        model: any module that maps (B, C, *S) to logits (B, classes), on any device, frozen or
            not, wrapped or compiled (the original runs), of any floating type.
        x: (B, C, *S), preprocessed as the model needs it; 1 to 3 spatial axes.
        target: None: the predicted class of each sample; an index; one index per sample; or a
            callable from the model's output to one score per sample, (B,).
        layer: dotted name or the module; None means `model.heatmap_layer`. Its output must be
            (B, C, *S), and it must run once per forward pass.

    Raises:
        OptionError: the layer or target does not exist, or the layer does not run exactly once.
        ShapeError: the shape of the input, of the layer's output or of the logits does not fit.

    >>> network = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ... )
    >>> heat = grad_cam(network, torch.ones(5, 1, 8, 8), layer="0", target=1)
    >>> heat.values.shape, heat.display().shape
    (torch.Size([5, 6, 6]), torch.Size([5, 8, 8]))

    References:
        Selvaraju et al. (2017), "Grad-CAM", arXiv:1610.02391, equations 1 and 2.
    """
    reading = read(model, x, target=target, layer=layer)
    return _attribution(reading, _weighted_sum)


def _weighted_sum(reading: Reading) -> Tensor:
    if reading.gradient is None:
        return torch.zeros_like(reading.activation[:, 0])
    positions = tuple(range(2, reading.gradient.ndim))
    weights = reading.gradient.mean(positions, keepdim=True)
    return (weights * reading.activation).sum(1)


def _attribution(reading: Reading, combine: Callable[[Reading], Tensor]) -> Attribution:
    with torch.inference_mode(False), torch.no_grad():
        values = combine(reading).float()
        status = describe(values, reading.gradient, reading.activation.shape[2:])
    return Attribution(
        values=values,
        layer=reading.layer,
        target=reading.target,
        logit=reading.score,
        status=status,
        input_size=reading.input_size,
    )
